"""Who made a result: the name and version of a module, as a data object."""

from kitfox.data import DataObjectBase, dataobject

__all__ = ["ProducerId"]


@dataobject(package="caikit_data_model.common")
class ProducerId(DataObjectBase):
    """The name and version of what produced a piece of data.

    Every module has its own as `PRODUCER_ID`:

        Prediction(text=text, producer_id=self.PRODUCER_ID)
    """

    name: str
    version: str

    def __add__(self, other: "ProducerId") -> "ProducerId":
        """One id for data that two producers made together; versions do not add up."""
        return ProducerId(name=f"{self.name} & {other.name}", version="0.0.0")
