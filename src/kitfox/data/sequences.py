"""The messages that hold the lists of unions in requests: `IntSequence` and its likes."""

from kitfox.data.definition import dataobject
from kitfox.data.objects import DataObjectBase

__all__ = ["SEQUENCES", "BoolSequence", "FloatSequence", "IntSequence", "StrSequence"]

PACKAGE = "caikit_data_model.common"


@dataobject(PACKAGE)
class IntSequence(DataObjectBase):
    """Whole numbers."""

    values: list[int]


@dataobject(PACKAGE)
class FloatSequence(DataObjectBase):
    """Numbers."""

    values: list[float]


@dataobject(PACKAGE)
class StrSequence(DataObjectBase):
    """Texts."""

    values: list[str]


@dataobject(PACKAGE)
class BoolSequence(DataObjectBase):
    """Truth values."""

    values: list[bool]


SEQUENCES = {
    "int": IntSequence,
    "float": FloatSequence,
    "str": StrSequence,
    "bool": BoolSequence,
}
"""By the name of the element type."""
