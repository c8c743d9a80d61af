"""What the modules here are trained with."""

from kitfox.data import DataObjectBase, dataobject

__all__ = ["Row"]


@dataobject(package="kitfox.tests.trainers")
class Row(DataObjectBase):
    """One line of training data."""

    word: str
    number: int
