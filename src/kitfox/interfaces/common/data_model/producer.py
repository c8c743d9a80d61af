"""Who made a result, and whose result goes first."""

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules.producer import ProducerId

__all__ = ["ProducerId", "ProducerPriority"]


@dataobject(package="caikit_data_model.common")
class ProducerPriority(DataObjectBase):
    """Producers in order: where several made the same kind of data, the first one's counts."""

    producers: list[ProducerId]
