"""Reads annotations: from what an author wrote behind the colon to the records of `schema`.

Everything that cannot be served is found here, when the class is defined, and the error names
class and field and says what is possible.
"""

import datetime
import enum
import keyword
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto

from kitfox.data import schema as known
from kitfox.data.json_dict import JsonDict
from kitfox.data.schema import (
    NO_DEFAULT,
    Field,
    Kind,
    Member,
    Shape,
    ValueType,
    enum_schema_of,
    schema_of,
)

__all__ = ["FieldDraft", "read_fields"]

_POSSIBLE = (
    "str, int, float, bool, bytes, datetime.datetime, JsonDict, typing.Any, numpy's int32, int64, "
    "uint32, uint64, float32 and float64, data objects and enums with @dataobject, and of these "
    "list[T], dict[str or int, T], Optional[T] and Union[A, B, ...]"
)
_PLAIN: dict[Any, ValueType] = {
    str: known.TEXT,
    int: known.INT,
    float: known.FLOAT,
    bool: known.BOOL,
    bytes: known.BYTES,
    datetime.datetime: known.TIME,
    Any: known.ANY,
}
_NUMPY = {
    item.name: item
    for item in (
        known.INT32,
        known.INT64,
        known.UINT32,
        known.UINT64,
        known.FLOAT32,
        known.FLOAT64,
    )
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LAST_NUMBER = 2**29 - 1
_RESERVED_NUMBERS = range(19_000, 20_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldDraft:
    """What a class body says of one field."""

    name: str
    annotation: Any
    default: Any = NO_DEFAULT
    factory: Callable[[], Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Markers:
    """What `Annotated` adds to a type."""

    number: int | None = None
    oneof_name: str | None = None
    description: str = ""


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Reads the fields of one class in order; knows what numbers and names are taken."""

    cls_name: str
    namespaces: tuple[dict[str, Any], dict[str, Any]]
    reserved: frozenset[str]
    shared_sequences: Mapping[str, type[Any]]
    numbers: dict[int, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self, draft: FieldDraft, *, presence: bool | None) -> Field:
        """The field that a draft describes.

        Args:
            draft: What the class says of it.
            presence: Whether it is a proto3 `optional` field; none: by annotation and default.
        """
        self._check_name(draft.name)
        annotation = self._resolve(draft)
        bare, markers = _peel(annotation)
        alternatives = _alternatives(bare)
        nullable = type(None) in alternatives
        alternatives = [item for item in alternatives if item is not type(None)]
        if not alternatives:
            raise self._unservable(draft.name, annotation, "it has only None as its value")
        inner, inner_markers = _peel(alternatives[0])
        shape, value, key, number = Shape.UNION, known.TEXT, known.TEXT, 0
        members: tuple[Member, ...] = ()
        if len(alternatives) > 1 or inner_markers.oneof_name or markers.oneof_name:
            members = self._members(draft.name, alternatives, markers)
        else:
            shape, value, key = self._single(draft.name, inner, annotation)
            chosen = inner_markers.number if markers.number is None else markers.number
            number = self._take(draft.name, chosen)
        has_default = draft.default is not NO_DEFAULT or draft.factory is not None
        wanted = _is_optional(_named(annotation)) or has_default if presence is None else presence
        return Field(
            name=draft.name,
            shape=shape,
            number=number,
            value=value,
            key=key,
            members=members,
            presence=wanted and shape is Shape.ONE,
            nullable=nullable,
            default=draft.default,
            factory=draft.factory,
            description=markers.description or inner_markers.description,
        )

    def _check_name(self, name: str) -> None:
        if name in self.reserved:
            raise TypeError(
                f"{self.cls_name}.{name}: the name {name!r} is taken by a method or attribute of "
                "every data object; choose another"
            )
        if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name.startswith("__"):
            raise TypeError(
                f"{self.cls_name}.{name}: a field name is made of ASCII letters, digits and "
                "underscores, does not begin with a digit or two underscores, and is no keyword"
            )

    def _resolve(self, draft: FieldDraft) -> Any:
        """The annotation with all that is written as text in it evaluated."""
        if type(draft.annotation) is type:
            return draft.annotation
        holder = types.SimpleNamespace(__annotations__={draft.name: draft.annotation})
        try:
            return typing.get_type_hints(holder, *self.namespaces, include_extras=True)[draft.name]
        except NameError as error:
            raise TypeError(
                f"{self.cls_name}.{draft.name}: {error}; define the class above this one (only a "
                "class's own name may be used ahead, as text)"
            ) from None
        except (TypeError, SyntaxError, AttributeError) as error:
            raise self._unservable(draft.name, draft.annotation, str(error)) from None

    def _unservable(self, name: str, annotation: Any, why: str) -> TypeError:
        text = annotation if isinstance(annotation, str) else _show(annotation)
        return TypeError(
            f"{self.cls_name}.{name}: {text} cannot be a field: {why}; possible are {_POSSIBLE}"
        )

    def _take(self, name: str, number: int | None) -> int:
        """Reserve the number of a protobuf field; without one, the next by count."""
        if number is None:
            number = len(self.numbers) + 1
        if number in self.numbers:
            raise TypeError(
                f"{self.cls_name}.{name}: field number {number} is taken by "
                f"{self.numbers[number]!r}; give one of them another with FieldNumber"
            )
        if not 1 <= number <= _LAST_NUMBER or number in _RESERVED_NUMBERS:
            raise TypeError(
                f"{self.cls_name}.{name}: field number {number} is outside 1 to {_LAST_NUMBER} or "
                "within 19000 to 19999, which protobuf keeps for itself"
            )
        if name in self.names:
            raise TypeError(f"{self.cls_name}.{name}: two protobuf fields have this name")
        self.numbers[number] = name
        self.names.add(name)
        return number

    def _single(self, name: str, bare: Any, annotation: Any) -> tuple[Shape, ValueType, ValueType]:
        """Shape, type of the values and type of the keys of a field that is no union."""
        value = value_type(bare)
        if value is not None:
            return Shape.ONE, value, known.TEXT
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is list and len(arguments) == 1:
            return Shape.LIST, self._value(name, arguments[0], annotation), known.TEXT
        if origin is dict and len(arguments) == 2:
            key = self._value(name, arguments[0], annotation)
            if key.kind not in (Kind.TEXT, Kind.INT):
                raise self._unservable(name, annotation, "the keys of a map are str or int")
            return Shape.MAP, self._value(name, arguments[1], annotation), key
        element = _array_element(bare)
        if element is not None:
            value = replace(self._value(name, element, annotation), python=element)
            return Shape.ARRAY, value, known.TEXT
        raise self._unservable(name, annotation, _reason(bare))

    def _value(self, name: str, annotation: Any, whole: Any) -> ValueType:
        bare, _ = _peel(annotation)
        value = value_type(bare)
        if value is not None:
            return value
        raise self._unservable(name, whole, _reason(bare))

    def _members(
        self, field: str, alternatives: Iterable[Any], markers: _Markers
    ) -> tuple[Member, ...]:
        """The members of a union."""
        if field in self.names:
            raise TypeError(f"{self.cls_name}.{field}: two protobuf fields have this name")
        self.names.add(field)
        members = []
        for annotation in alternatives:
            bare, own = _peel(annotation)
            number = own.number if own.number is not None else markers.number
            name = own.oneof_name or markers.oneof_name
            members.append(self._member(field, bare, name, number))
        return tuple(members)

    def _member(self, name: str, bare: Any, chosen: str | None, number: int | None) -> Member:
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is list and bare != JsonDict:
            value = self._value(name, arguments[0], bare)
            wrapper = self.shared_sequences.get(value.name) if self.shared_sequences else None
            if self.shared_sequences and wrapper is None:
                shared = ", ".join(self.shared_sequences)
                raise self._unservable(name, bare, f"in a union, lists of these only: {shared}")
            member_name = chosen or f"{name}_{value.name.lower()}_sequence"
            taken = self._take(member_name, number)
            return Member(
                name=member_name, number=taken, value=value, repeated=True, wrapper=wrapper
            )
        value = self._value(name, bare, bare)
        member_name = chosen or f"{name}_{value.name.lower()}"
        return Member(name=member_name, number=self._take(member_name, number), value=value)


def read_fields(
    cls_name: str,
    drafts: Iterable[FieldDraft],
    *,
    namespaces: tuple[dict[str, Any], dict[str, Any]],
    reserved: frozenset[str],
    shared_sequences: Mapping[str, type[Any]],
    optional: frozenset[str] | None,
) -> tuple[Field, ...]:
    """The fields of a class, in the order of the drafts.

    Args:
        cls_name: For error messages.
        drafts: What the class body and its parents say.
        namespaces: Globals and locals in which annotations written as text are evaluated.
        reserved: Names that no field may have.
        shared_sequences: Where not empty, lists in unions use these classes (by element name).
        optional: The fields with proto3 presence; none: those with a default or `Optional`.

    Raises:
        TypeError: A field cannot be served.
    """
    reader = _Reader(
        cls_name=cls_name,
        namespaces=namespaces,
        reserved=reserved,
        shared_sequences=shared_sequences,
    )
    return tuple(
        reader.read(draft, presence=None if optional is None else draft.name in optional)
        for draft in drafts
    )


def value_type(bare: Any) -> ValueType | None:
    """The type of a single value, or none if an annotation is not that of one."""
    if bare == JsonDict:
        return known.STRUCT
    try:
        plain = _PLAIN.get(bare)
    except TypeError:  # not hashable
        return None
    if plain is not None:
        return plain
    if not isinstance(bare, type):
        return None
    schema = schema_of(bare)
    if schema is not None:
        return ValueType(kind=Kind.MESSAGE, name=schema.name, proto=Proto.TYPE_MESSAGE, python=bare)
    enum_schema = enum_schema_of(bare)
    if enum_schema is not None:
        return ValueType(kind=Kind.ENUM, name=enum_schema.name, proto=Proto.TYPE_ENUM, python=bare)
    return _NUMPY.get(bare.__name__) if bare.__module__ == "numpy" else None


def _reason(bare: Any) -> str:
    """Why a type is not served, and what to write instead."""
    if bare is dict or typing.get_origin(bare) is dict:
        return "for any JSON object write JsonDict; maps hold single values"
    if bare is list or typing.get_origin(bare) is list:
        return "a list needs the type of its elements, and lists do not hold lists or maps"
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return f"put @dataobject above the enum {bare.__name__}"
    if isinstance(bare, type) and hasattr(bare, "get_proto_class"):
        return f"put @dataobject above the class {bare.__name__}"
    return f"{_show(bare)} has no protobuf type"


def _show(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _is_optional(annotation: Any) -> bool:
    return _is_union(annotation) and type(None) in typing.get_args(annotation)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, or the one type that it is."""
    annotation = _named(annotation)
    if not _is_union(annotation):
        return [annotation]
    result: list[Any] = []
    for item in typing.get_args(annotation):
        inner, markers = _peel(item)
        nested = _alternatives(inner) if markers == _Markers() else [item]
        result.extend(entry for entry in nested if entry not in result)
    return result


def _peel(annotation: Any) -> tuple[Any, _Markers]:
    """An annotation without `Annotated`, and what that said. Markers are known by class name."""
    number: int | None = None
    oneof_name: str | None = None
    description = ""
    annotation = _named(annotation)
    while typing.get_origin(annotation) is typing.Annotated:
        for marker in annotation.__metadata__:
            kind = type(marker).__name__
            if kind == "FieldNumber":
                number = int(marker)
            elif kind == "OneofField":
                oneof_name = str(marker)
            elif kind == "Doc":
                description = str(marker.documentation)
        annotation = _named(annotation.__origin__)
    return annotation, _Markers(number=number, oneof_name=oneof_name, description=description)


def _named(annotation: Any) -> Any:
    """What a name stands for that was given by a `type` statement, as numpy's `NDArray` was."""
    while True:
        origin = typing.get_origin(annotation)
        if type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif type(origin).__name__ == "TypeAliasType":
            annotation = origin.__value__[typing.get_args(annotation)]
        else:
            return annotation


def _array_element(bare: Any) -> Any:
    """The element type of `numpy.typing.NDArray[T]`, or none."""
    origin = typing.get_origin(bare)
    if getattr(origin, "__module__", "") != "numpy" or origin.__name__ != "ndarray":
        return None
    return typing.get_args(typing.get_args(bare)[1])[0]
