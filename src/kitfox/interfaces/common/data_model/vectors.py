"""Vectors of numbers, such as embeddings, that keep the width of their numbers on the wire.

A module gives `Vector1D.from_vector(numbers)`: an array of `float32` travels in four bytes a
number, one of `float64` and a list in eight. numpy is not needed; an array is known by its `dtype`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from kitfox.data import DataObjectBase, FieldNumber, OneofField, dataobject
from kitfox.interfaces.scalars import Float32

__all__ = [
    "ListOfVector1D",
    "NpFloat32Sequence",
    "NpFloat64Sequence",
    "PyFloatSequence",
    "Vector1D",
]

_PACKAGE = "caikit_data_model.common"

if TYPE_CHECKING:  # a list or an array, whichever the author has
    _Numbers: TypeAlias = Any
    _Float32Numbers: TypeAlias = Any
else:
    _Numbers = list[float]
    _Float32Numbers = list[Float32]


def _as_list(values: Any) -> Any:
    return values.tolist() if hasattr(values, "tolist") else values


def _equal(self: Any, other: Any) -> Any:
    """Equality of sequences: a list and an array with the same numbers are equal."""
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _as_list(self.values) == _as_list(other.values)


@dataobject(package=_PACKAGE)
class PyFloatSequence(DataObjectBase):
    """The numbers of a list."""

    values: Annotated[_Numbers, FieldNumber(1)]

    __eq__ = _equal


@dataobject(package=_PACKAGE)
class NpFloat32Sequence(DataObjectBase):
    """The numbers of an array of `float32`. An array stays one; from the wire comes a list."""

    values: Annotated[_Float32Numbers, FieldNumber(1)]

    __eq__ = _equal


@dataobject(package=_PACKAGE)
class NpFloat64Sequence(DataObjectBase):
    """The numbers of an array of `float64`. An array stays one; from the wire comes a list."""

    values: Annotated[_Numbers, FieldNumber(1)]

    __eq__ = _equal


@dataobject(package=_PACKAGE)
class Vector1D(DataObjectBase):
    """A vector of numbers of one width."""

    data: (
        Annotated[PyFloatSequence, OneofField("data_pyfloatsequence")]
        | Annotated[NpFloat32Sequence, OneofField("data_npfloat32sequence")]
        | Annotated[NpFloat64Sequence, OneofField("data_npfloat64sequence")]
    )

    @classmethod
    def from_vector(cls, vector: Iterable[float]) -> Self:
        """The vector of an array (of numpy, or with its `dtype`, `shape` and `tolist`) or a list.

        An array is not copied. An array of another type than `float32` and `float64` is written
        as the list of its numbers.

        Raises:
            TypeError: It is a text, a mapping, or not iterable.
            ValueError: It is an array of no or several dimensions.
        """
        return cls(data=_sequence_of(vector))

    def to_dict(self) -> dict[str, Any]:
        """The numbers as `{"data": {"values": [...]}}`, whatever their width."""
        data: DataObjectBase | None = self.data  # unset when nothing was given
        return {"data": None if data is None else data.to_dict()}


@dataobject(package=_PACKAGE)
class ListOfVector1D(DataObjectBase):
    """Several vectors, such as the embeddings of several texts."""

    vectors: Annotated[list[Vector1D], FieldNumber(1)]


def _sequence_of(vector: Any) -> PyFloatSequence | NpFloat32Sequence | NpFloat64Sequence:
    """The sequence that keeps the width of a vector's numbers."""
    if isinstance(vector, str | bytes | bytearray | Mapping):
        raise TypeError(f"expected a vector of numbers, got {type(vector).__name__}")
    if not hasattr(vector, "dtype"):
        return PyFloatSequence(values=vector if isinstance(vector, list) else list(vector))
    shape = tuple(vector.shape)
    if len(shape) != 1:
        raise ValueError(f"expected a vector of one dimension, got an array of shape {shape}")
    name = getattr(vector.dtype, "name", str(vector.dtype))  # "float32", torch's "torch.float32"
    match name.rpartition(".")[2]:
        case "float32":
            return NpFloat32Sequence(values=vector)
        case "float64":
            return NpFloat64Sequence(values=vector)
        case _:
            return PyFloatSequence(values=vector.tolist())
