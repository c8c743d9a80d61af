"""Example values of request bodies, made from types, so that each request can be tried at once."""

import enum
import sys
from collections.abc import Callable, Iterable
from typing import Any

from kitfox.data import S3Path
from kitfox.data.enums import PLACEHOLDER
from kitfox.data.schema import (
    NO_DEFAULT,
    EnumSchema,
    Field,
    Kind,
    Shape,
    ValueType,
    enum_schema_of,
    schema_of,
)

__all__ = ["NOTHING", "example_of", "json_default"]

NOTHING: Any = NO_DEFAULT
"""The example of what has none."""

_MOST_DEPTH = 5
_SIMPLE: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: lambda name: name.replace("_", " "),
    Kind.BYTES: lambda _: "SGVsbG8=",
    Kind.BOOL: lambda _: True,
    Kind.INT: lambda _: 1,
    Kind.FLOAT: lambda _: 0.5,
    Kind.TIME: lambda _: "2026-01-31T12:00:00Z",
    Kind.STRUCT: lambda _: {"key": "value"},
}
# What a caller leaves out: the server refuses a place in a store for a training's result.
_LEFT_OUT = (S3Path,)


def example_of(field: Field, inside: tuple[type[Any], ...] = ()) -> Any:
    """A value of a field as a request has it in JSON, or `NOTHING`.

    Args:
        field: Of a data object.
        inside: The data objects around it; none of them comes again.
    """
    default = json_default(field.default)
    if default is not NOTHING and default not in (None, "", [], {}):
        return default
    if field.shape is Shape.UNION:
        options = (
            _listed(_value(member.value, field.name, inside))
            if member.repeated
            else _value(member.value, field.name, inside)
            for member in field.members
        )
        return next((value for value in options if value is not NOTHING), NOTHING)
    value = _value(field.value, field.name, inside)
    if field.shape is Shape.MAP and value is not NOTHING:
        return {"1" if field.key.kind is Kind.INT else "key": value}
    return value if field.shape is Shape.ONE else _listed(value)


def json_default(default: Any) -> Any:
    """A default as JSON shows it, or `NOTHING` where it cannot."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(default, numpy.generic):
        default = default.item()
    if isinstance(default, enum.Enum):
        return default.name
    if isinstance(default, float):
        finite = default - default == 0
        return default if finite else NOTHING
    if isinstance(default, list | tuple):
        items = [json_default(item) for item in default]
        return items if all(item is not NOTHING for item in items) else NOTHING
    return default if default is None or isinstance(default, str | bool | int) else NOTHING


def _listed(value: Any) -> Any:
    return value if value is NOTHING else [value]


def _value(value: ValueType, name: str, inside: tuple[type[Any], ...]) -> Any:
    if value.kind is Kind.ENUM:
        enumeration = enum_schema_of(value.python)
        return NOTHING if enumeration is None else _name(enumeration)
    if value.kind is Kind.MESSAGE:
        return _object(value.python, inside)
    make = _SIMPLE.get(value.kind)
    return NOTHING if make is None else make(name)


def _name(enumeration: EnumSchema) -> str:
    names: Iterable[str] = enumeration.numbers
    return next((name for name in names if not name.endswith(PLACEHOLDER)), next(iter(names)))


def _object(cls: type[Any] | None, inside: tuple[type[Any], ...]) -> Any:
    schema = schema_of(cls)
    if schema is None or len(inside) >= _MOST_DEPTH or schema.cls in (*inside, *_LEFT_OUT):
        return NOTHING
    path = (*inside, schema.cls)
    fields = {field.name: example_of(field, path) for field in schema.fields}
    return {name: value for name, value in fields.items() if value is not NOTHING}
