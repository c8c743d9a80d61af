"""Annotations for protobuf's narrower numbers, for data objects that are there without numpy.

An author writes `numpy.float32`, and the schema knows that type by its module and name. The
stand-ins here have the same module and name, so they are the same on the wire; in Python they are
plain numbers.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

__all__ = ["Float32", "UInt32", "UInt64"]


def _stand_in(name: str, base: type) -> Any:
    return type(name, (base,), {"__module__": "numpy", "__slots__": ()})


if TYPE_CHECKING:
    Float32: TypeAlias = float
    UInt32: TypeAlias = int
    UInt64: TypeAlias = int
else:
    Float32 = _stand_in("float32", float)
    UInt32 = _stand_in("uint32", int)
    UInt64 = _stand_in("uint64", int)
