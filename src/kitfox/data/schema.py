"""What a data object class is made of: frozen records, the one description that all else follows.

`annotations` makes a :class:`Schema` of a class; `descriptors`, the codecs and `oneofs` read it.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto

__all__ = ["Field", "Kind", "Member", "Schema", "Shape", "ValueType"]


class _NoDefault:
    """Stands for the default of a field that has none."""

    def __repr__(self) -> str:
        return "<no default>"


NO_DEFAULT: Any = _NoDefault()
"""The default of a field that has none."""


class Kind(enum.Enum):
    """How a single value is written and checked."""

    TEXT = "text"
    BYTES = "bytes"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TIME = "time"
    STRUCT = "struct"
    ANY = "any"
    ENUM = "enum"
    MESSAGE = "message"


class Shape(enum.Enum):
    """How many values a field holds."""

    ONE = "one"
    LIST = "list"
    ARRAY = "array"
    """A list that is a one-dimensional numpy array in Python."""
    MAP = "map"
    UNION = "union"


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueType:
    """The type of a single value."""

    kind: Kind
    name: str
    """As an author writes it: `int`, `float32`, `Point`."""
    proto: int
    """The type number of protobuf's descriptors."""
    python: type[Any] | None = None
    """The class of a data object or enum; the numpy scalar type of an array's elements."""
    low: int = 0
    """The least integer that fits."""
    high: int = 0
    """The greatest integer that fits."""

    @property
    def scalar(self) -> bool:
        """Whether it is no message: protobuf gives it a zero when it is not set."""
        return self.kind not in (Kind.TIME, Kind.STRUCT, Kind.ANY, Kind.MESSAGE)


def _integer(name: str, proto: int, low: int, high: int) -> ValueType:
    return ValueType(kind=Kind.INT, name=name, proto=proto, low=low, high=high)


TEXT = ValueType(kind=Kind.TEXT, name="str", proto=Proto.TYPE_STRING)
BYTES = ValueType(kind=Kind.BYTES, name="bytes", proto=Proto.TYPE_BYTES)
BOOL = ValueType(kind=Kind.BOOL, name="bool", proto=Proto.TYPE_BOOL)
INT = _integer("int", Proto.TYPE_INT64, -(2**63), 2**63 - 1)
INT32 = _integer("int32", Proto.TYPE_INT32, -(2**31), 2**31 - 1)
INT64 = _integer("int64", Proto.TYPE_INT64, -(2**63), 2**63 - 1)
UINT32 = _integer("uint32", Proto.TYPE_UINT32, 0, 2**32 - 1)
UINT64 = _integer("uint64", Proto.TYPE_UINT64, 0, 2**64 - 1)
FLOAT = ValueType(kind=Kind.FLOAT, name="float", proto=Proto.TYPE_DOUBLE)
FLOAT32 = ValueType(kind=Kind.FLOAT, name="float32", proto=Proto.TYPE_FLOAT)
FLOAT64 = ValueType(kind=Kind.FLOAT, name="float64", proto=Proto.TYPE_DOUBLE)
TIME = ValueType(kind=Kind.TIME, name="datetime", proto=Proto.TYPE_MESSAGE)
STRUCT = ValueType(kind=Kind.STRUCT, name="JsonDict", proto=Proto.TYPE_MESSAGE)
ANY = ValueType(kind=Kind.ANY, name="Any", proto=Proto.TYPE_MESSAGE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One alternative of a union."""

    name: str
    """Of the member in the protobuf oneof."""
    number: int
    value: ValueType
    repeated: bool = False
    """The alternative is a list; protobuf has it in a message with `repeated values = 1`."""
    wrapper: type[Any] | None = None
    """The shared data object class of such a message; none: a nested message is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of a data object."""

    name: str
    shape: Shape
    number: int = 0
    """Of a union: unused, its members have theirs."""
    value: ValueType = TEXT
    """Of the value, the elements, or a map's values; of a union: unused."""
    key: ValueType = TEXT
    """Of a map's keys."""
    members: tuple[Member, ...] = ()
    """The alternatives of a union, as declared."""
    presence: bool = False
    """A proto3 `optional` field."""
    nullable: bool = False
    """`None` is one of its values by annotation."""
    default: Any = NO_DEFAULT
    factory: Callable[[], Any] | None = None
    description: str = ""
    """Of the API document."""

    @property
    def has_default(self) -> bool:
        """Whether the author gave one, be it `None`."""
        return self.default is not NO_DEFAULT or self.factory is not None

    def make_default(self) -> Any:
        """The value of a field that was not given."""
        if self.factory is not None:
            return self.factory()
        return None if self.default is NO_DEFAULT else self.default

    @property
    def type_name(self) -> str:
        """For error messages."""
        if self.shape is Shape.MAP:
            return f"dict[{self.key.name}, {self.value.name}]"
        if self.shape is Shape.UNION:
            return " or ".join(
                f"list[{member.value.name}]" if member.repeated else member.value.name
                for member in self.members
            )
        return self.value.name if self.shape is Shape.ONE else f"list[{self.value.name}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """One data object class."""

    cls: type[Any]
    package: str
    name: str
    """Of the protobuf message, without the package."""
    fields: tuple[Field, ...]

    @property
    def full_name(self) -> str:
        """Of the protobuf message."""
        return f"{self.package}.{self.name}" if self.package else self.name

    @property
    def proto_names(self) -> tuple[str, ...]:
        """The names of the protobuf fields; a union is there with its members."""
        names: list[str] = []
        for field in self.fields:
            if field.shape is Shape.UNION:
                names.extend(member.name for member in field.members)
            else:
                names.append(field.name)
        return tuple(names)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnumSchema:
    """One enum class."""

    cls: type[enum.Enum]
    package: str
    name: str
    numbers: dict[str, int]
    """By name, in the order of the protobuf enum, with the placeholder if one was needed."""
    names: dict[int, str]
    """By number; of several names of one number, the last."""

    @property
    def full_name(self) -> str:
        """Of the protobuf enum."""
        return f"{self.package}.{self.name}" if self.package else self.name


def is_overridden(cls: type[Any], method: str) -> bool:
    """Whether an author has written a method of `DataObjectBase` anew."""
    owner = next(parent for parent in cls.__mro__ if method in parent.__dict__)
    return "_is_base" not in owner.__dict__


def schema_of(cls: object) -> Schema | None:
    """The schema of a data object class; none if it is something else."""
    schema = getattr(cls, "_schema", None) if isinstance(cls, type) else None
    return schema if isinstance(schema, Schema) else None


def enum_schema_of(cls: object) -> EnumSchema | None:
    """The schema of an enum that was made a data object; none if it is something else."""
    schema = cls.__dict__.get("_schema_") if isinstance(cls, type) else None
    return schema if isinstance(schema, EnumSchema) else None
