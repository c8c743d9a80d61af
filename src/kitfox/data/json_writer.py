"""Objects -> JSON: a function written for one class that makes what msgspec then writes.

The result is valid JSON whatever the values: not-a-number and the infinities are written as the
texts that protobuf's JSON has for them.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from kitfox.data.oneofs import chooser, member_slot, unwrap_sequence, value_slot
from kitfox.data.schema import (
    Field,
    Kind,
    Schema,
    Shape,
    ValueType,
    enum_schema_of,
    is_overridden,
)
from kitfox.data.source import Source
from kitfox.data.timestamps import format_datetime
from kitfox.data.values import (
    FieldValueError,
    as_bool,
    as_bytes,
    as_enum,
    as_float,
    as_int,
    as_list,
    as_text,
)

__all__ = ["Plain", "make_plain_writer"]

Plain = Callable[[Any], dict[str, Any]]
"""Object to what JSON writes: dictionaries, lists, text, numbers; bytes for base64."""


def make_plain_writer(schema: Schema, nested: Callable[[type[Any]], Plain]) -> Plain:
    """The function that makes of an object a dictionary for msgspec to write.

    Args:
        schema: Of the class.
        nested: Gives the function of another class.
    """
    code = _PlainCode(schema, nested)
    for field in schema.fields:
        code.add(field)
    function: Plain = code.finish()
    return function


class _PlainCode:
    """Writes the lines of the function: a dictionary display for the fields between two unions."""

    def __init__(self, schema: Schema, nested: Callable[[type[Any]], Plain]) -> None:
        self.source = Source("def plain(self):")
        self._schema = schema
        self._nested = nested
        self._items: list[str] = []
        self._began = False

    def add(self, field: Field) -> None:
        if field.shape is Shape.UNION:
            self._flush()
            self._add_union(field)
        else:
            self._items.append(f"{field.name!r}: {self._expression(field)}")

    def finish(self) -> Any:
        if self._began:
            self._flush()
            self.source.add("return result")
        else:
            self.source.add(f"return {{{', '.join(self._items)}}}")
        return self.source.function(f"{self._schema.full_name} plain")

    def _flush(self) -> None:
        """Write down the fields that have gathered."""
        if self._items or not self._began:
            operator = "|=" if self._began else "="
            self.source.add(f"result {operator} {{{', '.join(self._items)}}}")
        self._items, self._began = [], True

    def _expression(self, field: Field) -> str:
        """The value of a field that is no union; `None` where it has none."""
        value = f"(value := self.{field.name})"
        if field.shape is Shape.ONE:
            ordinary, converted = self._value(field.value, "value")
            if not ordinary:
                return f"None if {value} is None else {converted}"
            test = ordinary.replace("value", value, 1)
            return f"value if {test} or value is None else {converted}"
        if field.shape is Shape.MAP:
            key, item = self._item(field.key, "key"), self._item(field.value, "item")
            return f"None if {value} is None else {{{key}: {item} for key, item in value.items()}}"
        return f"None if {value} is None else {self._listing(field.value)}"

    def _listing(self, value: ValueType) -> str:
        convert = self.source.name(as_list, "as_list")
        items = f"(value if value.__class__ is list else {convert}(value))"
        return f"[{self._item(value, 'item')} for item in {items}]"

    def _add_union(self, field: Field) -> None:
        add = self.source.add
        choose = self.source.name(chooser(field), "choose")
        add(f"value = self.{value_slot(field.name)}")
        add("if value is not None:")
        add(f"member = self.{member_slot(field.name)} or {choose}(value)", depth=2)
        for index, member in enumerate(field.members):
            add(f"{'elif' if index else 'if'} member == {member.name!r}:", depth=2)
            if member.repeated:
                add(f"value = {self.source.name(unwrap_sequence, 'unwrap')}(value)", depth=3)
                values = self._listing(member.value)
                add(f"result[{member.name!r}] = {{'values': {values}}}", depth=3)
            else:
                if member.value.kind is Kind.INT:
                    add("if value is True or value is False: value = int(value)", depth=3)
                add(f"result[{member.name!r}] = {self._item(member.value, 'value')}", depth=3)
        add(f"else: raise {self.source.name(FieldValueError, 'error')}", depth=2)

    def _item(self, value: ValueType, text: str) -> str:
        """The expression for a value that is not to be `None`."""
        ordinary, converted = self._value(value, text)
        return f"({text} if {ordinary} else {converted})" if ordinary else converted

    def _value(self, value: ValueType, text: str) -> tuple[str, str]:
        """The test for a value that can be written as it is, and the conversion of others."""
        name = self.source.name
        match value.kind:
            case Kind.TEXT:
                return f"{text}.__class__ is str", f"{name(as_text, 'as_text')}({text})"
            case Kind.BYTES:
                return f"{text}.__class__ is bytes", f"{name(as_bytes, 'as_bytes')}({text})"
            case Kind.BOOL:
                return f"{text}.__class__ is bool", f"{name(as_bool, 'as_bool')}({text})"
            case Kind.INT:
                test = f"{text}.__class__ is int and {value.low} <= {text} <= {value.high}"
                return test, f"{name(as_int, 'as_int')}({text}, {name(value, 'type')})"
            case Kind.FLOAT:
                test = f"{text}.__class__ is float and {text} - {text} == 0.0"
                return test, f"{name(_real, 'real')}({text}, {name(value, 'type')})"
            case Kind.TIME:
                return "", f"{name(format_datetime, 'time')}({text})"
            case Kind.STRUCT:
                return "", f"{name(_struct, 'struct')}({text})"
            case Kind.ANY:
                return "", f"{name(_any, 'any')}({text})"
            case Kind.ENUM:
                return "", f"{name(_enum_writer(value.python), 'enum')}({text})"
            case Kind.MESSAGE:
                return "", self._message(value, text)

    def _message(self, value: ValueType, text: str) -> str:
        cls = self.source.name(value.python, "cls")
        own = value.python is self._schema.cls and not is_overridden(self._schema.cls, "to_dict")
        plain = "plain" if own else self.source.name(self._nested(value.python), "plain")  # type: ignore[arg-type] # a message has its class
        refuse = self.source.name(_refuse, "refuse")
        test = f"{text}.__class__ is {cls} or isinstance({text}, {cls})"
        return f"{plain}({text} if {test} else {refuse}())"


def plain_of_dict(value: Any) -> dict[str, Any]:
    """What JSON writes of an object whose author wrote its `to_dict`."""
    result: dict[str, Any] = _entry(value.to_dict())
    return result


def _entry(value: Any) -> Any:
    """What JSON writes of something in such a dictionary."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, datetime):
        return format_datetime(value)
    if isinstance(value, Mapping):
        return {str(key): _entry(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_entry(item) for item in value]
    return _free(value)


def _refuse() -> Any:
    raise FieldValueError


def _real(value: Any, value_type: ValueType) -> float | str:
    number = as_float(value, value_type)
    if math.isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _struct(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise FieldValueError
    return {as_text(key): _free(item) for key, item in value.items()}


def _free(value: Any) -> Any:
    if value is None or value.__class__ in (bool, int):
        return value
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _real(value, _FREE_NUMBER)
    if isinstance(value, Mapping):
        return _struct(value)
    if isinstance(value, list | tuple):
        return [_free(item) for item in value]
    if hasattr(value, "tolist"):
        return _free(value.tolist())
    raise FieldValueError


_FREE_NUMBER = ValueType(kind=Kind.FLOAT, name="float", proto=1)


def _any(value: Any) -> Any:
    from google.protobuf import json_format

    return json_format.MessageToDict(value)


def _enum_writer(cls: Any) -> Callable[[Any], str | int]:
    schema = enum_schema_of(cls)
    names = {} if schema is None else schema.names

    def write(value: Any) -> str | int:
        number = value._value_ if value.__class__ is cls else as_enum(value, cls)
        return names.get(number, number)

    return write
