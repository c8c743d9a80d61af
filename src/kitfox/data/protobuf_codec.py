"""Object <-> protobuf message: functions written for one class and compiled once.

`make_reader` gives the function that makes an object of a message, `make_filler` the one that
writes an object into an empty message. Both know the names and types of all fields, so nothing is
looked up per call but the values themselves.
"""

from collections.abc import Callable
from typing import Any

from kitfox.data.json_dict import fill_struct, struct_to_dict
from kitfox.data.oneofs import chooser, member_slot, unwrap_sequence, value_slot
from kitfox.data.schema import Field, Kind, Schema, Shape, ValueType, is_overridden
from kitfox.data.source import Source, default_expression
from kitfox.data.timestamps import fill_timestamp, proto_to_datetime
from kitfox.data.values import (
    FLOAT32_MAX,
    FieldValueError,
    as_bool,
    as_enum,
    as_float,
    as_int,
    as_list,
)

__all__ = ["Fill", "Read", "ReadFields", "make_field_reader", "make_filler", "make_reader"]

Read = Callable[[Any], Any]
"""Message to object."""
ReadFields = Callable[[Any], dict[str, Any]]
"""Message to the fields that were set."""
Fill = Callable[[Any, Any], None]
"""Object into message."""


def make_reader(schema: Schema, nested: Callable[[type[Any]], Read]) -> Read:
    """The function that makes an object of a message.

    Args:
        schema: Of the class.
        nested: Gives the reader of another class.
    """
    own = "" if is_overridden(schema.cls, "from_proto") else "read"
    code = _ReadCode(schema, nested, "def read(message):", own=own)
    source = code.source
    new, cls = source.name(object.__new__, "new"), source.name(schema.cls, "cls")
    source.add(f"self = {new}({cls})")
    for field in schema.fields:
        code.add_attribute(field)
    if hasattr(schema.cls, "__post_init__"):
        source.add("self.__post_init__()")
    source.add("return self")
    function: Read = source.function(f"{schema.full_name} read")
    return function


def make_field_reader(schema: Schema, nested: Callable[[type[Any]], Read]) -> ReadFields:
    """The function that makes a dictionary of those fields of a message that a caller set.

    Plain scalars are always in it, since protobuf cannot tell zero from unset.
    """
    code = _ReadCode(schema, nested, "def read_fields(message):", own="")
    code.source.add("fields = {}")
    for field in schema.fields:
        code.add_item(field)
    code.source.add("return fields")
    function: ReadFields = code.source.function(f"{schema.full_name} read fields")
    return function


def make_filler(schema: Schema, nested: Callable[[type[Any]], Fill]) -> Fill:
    """The function that writes an object into an empty message.

    It raises a plain `TypeError`, `ValueError` or the like for a value of a wrong type; the
    caller finds out where.
    """
    code = _FillCode(schema, nested)
    for field in schema.fields:
        code.add(field)
    function: Fill = code.source.function(f"{schema.full_name} fill")
    return function


class _ReadCode:
    """Writes the lines that read fields.

    Args:
        schema: Of the class.
        nested: Gives the reader of another class.
        head: The first line of the function.
        own: The name of the function, if it also reads what is of its class inside.
    """

    def __init__(
        self, schema: Schema, nested: Callable[[type[Any]], Read], head: str, *, own: str
    ) -> None:
        self.source = Source(head)
        self._schema = schema
        self._nested = nested
        self._own = own

    def add_attribute(self, field: Field) -> None:
        """Set the attribute, or the slots of the union, from the message."""
        add, default = self.source.add, default_expression(self.source, field)
        if field.shape is Shape.UNION:
            value, member = value_slot(field.name), member_slot(field.name)
            add(f"member = message.WhichOneof({field.name!r})")
            add(f"if member is None: self.{value} = {default}; self.{member} = None")
            add("else:")
            add(f"self.{member} = member", depth=2)
            self._add_members(field, f"self.{value}", 2)
            return
        value = self._expression(field)
        if _has_presence(field):
            value = f"{value} if message.HasField({field.name!r}) else {default}"
        add(f"self.{field.name} = {value}")

    def add_item(self, field: Field) -> None:
        """Put the field into the dictionary if it was set."""
        add, target = self.source.add, f"fields[{field.name!r}]"
        if field.shape is Shape.UNION:
            add(f"member = message.WhichOneof({field.name!r})")
            add("if member is not None:")
            self._add_members(field, target, 2)
            return
        condition = ""
        if field.shape is not Shape.ONE:
            condition = f"if message.{field.name}: "
        elif _has_presence(field):
            condition = f"if message.HasField({field.name!r}): "
        add(f"{condition}{target} = {self._expression(field)}")

    def _add_members(self, field: Field, target: str, depth: int) -> None:
        for index, member in enumerate(field.members):
            word = "elif" if index else "if"
            text = f"message.{member.name}"
            value = (
                self._listing(member.value, f"{text}.values")
                if member.repeated
                else self._value(member.value, text)
            )
            self.source.add(f"{word} member == {member.name!r}: {target} = {value}", depth=depth)

    def _expression(self, field: Field) -> str:
        text = f"message.{field.name}"
        if field.shape is Shape.ONE:
            return self._value(field.value, text)
        if field.shape is Shape.MAP:
            if field.value.kind is Kind.MESSAGE:  # items() would copy each message
                return f"{{key: {self._value(field.value, f'{text}[key]')} for key in {text}}}"
            return f"{{key: {self._value(field.value, 'item')} for key, item in {text}.items()}}"
        if field.shape is Shape.ARRAY:
            return f"{self.source.name(_array_maker(field.value), 'array')}({text})"
        return self._listing(field.value, text)

    def _listing(self, value: ValueType, text: str) -> str:
        item = self._value(value, "item")
        return f"{text}[:]" if item == "item" else f"[{item} for item in {text}]"

    def _value(self, value: ValueType, text: str) -> str:
        """The expression that makes the Python value of the protobuf value `text`."""
        name = self.source.name
        if value.kind is Kind.TIME:
            return f"{name(proto_to_datetime, 'time')}({text})"
        if value.kind is Kind.STRUCT:
            return f"{name(struct_to_dict, 'struct')}({text})"
        if value.kind is Kind.ANY:
            return f"{name(_copied, 'copied')}({text})"
        if value.kind is Kind.MESSAGE and value.python is not None:
            if self._own and value.python is self._schema.cls:
                return f"{self._own}({text})"
            return f"{name(self._nested(value.python), 'read')}({text})"
        return text


class _FillCode:
    """Writes the lines of a filler."""

    def __init__(self, schema: Schema, nested: Callable[[type[Any]], Fill]) -> None:
        self.source = Source("def fill(self, message):")
        self._schema = schema
        self._nested = nested

    def add(self, field: Field) -> None:
        slot = value_slot(field.name) if field.shape is Shape.UNION else field.name
        self.source.add(f"value = self.{slot}")
        self.source.add("if value is not None:")
        if field.shape is Shape.UNION:
            self._add_union(field)
        elif field.shape is Shape.MAP:
            self._add_map(field)
        elif field.shape is Shape.ONE:
            self._add_one(field.value, f"message.{field.name}", 2)
        else:
            self._add_list(field.value, f"message.{field.name}", 2)

    def _add_one(self, value: ValueType, target: str, depth: int) -> None:
        add = self.source.add
        filler = self._filler(value)
        if value.kind is Kind.MESSAGE:
            self._add_check(value, "value", depth)
            add(f"part = {target}", depth=depth)
            add("part.SetInParent()", depth=depth)
            add(f"{filler}(value, part)", depth=depth)
        elif filler:
            add(f"{filler}(value, {target})", depth=depth)
        elif value.kind is Kind.INT:  # protobuf before 7 takes True for 1
            convert, kind = self.source.name(as_int, "as_int"), self.source.name(value, "type")
            other = f"{convert}(value, {kind})"
            add(f"{target} = value if value.__class__ is int else {other}", depth=depth)
        else:
            add(f"{target} = {self._scalar(value, 'value')}", depth=depth)

    def _add_list(self, value: ValueType, target: str, depth: int) -> None:
        add = self.source.add
        convert = self.source.name(as_list, "as_list")
        add(f"if value.__class__ is not list: value = {convert}(value)", depth=depth)
        filler = self._filler(value)
        if not filler:
            item = self._scalar(value, "item")
            values = "value" if item == "item" else f"[{item} for item in value]"
            add(f"{target}.extend({values})", depth=depth)
            return
        add(f"append = {target}.add", depth=depth)
        add("for item in value:", depth=depth)
        if value.kind is Kind.MESSAGE:
            self._add_check(value, "item", depth + 1)
        add(f"{filler}(item, append())", depth=depth + 1)

    def _add_map(self, field: Field) -> None:
        add, filler = self.source.add, self._filler(field.value)
        add(f"target = message.{field.name}", depth=2)
        add("for key, item in value.items():", depth=2)
        if field.value.kind is Kind.MESSAGE:
            self._add_check(field.value, "item", 3)
        if filler:
            add(f"{filler}(item, target[key])", depth=3)
        else:
            add(f"target[key] = {self._scalar(field.value, 'item')}", depth=3)

    def _add_union(self, field: Field) -> None:
        choose = self.source.name(chooser(field), "choose")
        self.source.add(f"member = self.{member_slot(field.name)} or {choose}(value)", depth=2)
        for index, member in enumerate(field.members):
            word = "elif" if index else "if"
            self.source.add(f"{word} member == {member.name!r}:", depth=2)
            target = f"message.{member.name}"
            if member.repeated:
                self.source.add(f"{target}.SetInParent()", depth=3)
                unwrapped = self.source.name(unwrap_sequence, "unwrap")
                self.source.add(f"value = {unwrapped}(value)", depth=3)
                self._add_list(member.value, f"{target}.values", 3)
            else:
                if member.value.kind is Kind.INT:  # to the author of a union, True is one
                    self.source.add(
                        "if value is True or value is False: value = int(value)", depth=3
                    )
                self._add_one(member.value, target, 3)
        error = self.source.name(FieldValueError, "error")
        self.source.add(f"else: raise {error}", depth=2)

    def _add_check(self, value: ValueType, text: str, depth: int) -> None:
        """The line that refuses what is no object of the class."""
        cls = self.source.name(value.python, "cls")
        error = self.source.name(FieldValueError, "error")
        self.source.add(
            f"if {text}.__class__ is not {cls} and not isinstance({text}, {cls}): raise {error}",
            depth=depth,
        )

    def _filler(self, value: ValueType) -> str:
        """The name of the function that fills a message of this type; empty for scalars."""
        name = self.source.name
        if value.kind is Kind.TIME:
            return name(fill_timestamp, "fill_time")
        if value.kind is Kind.STRUCT:
            return name(fill_struct, "fill_struct")
        if value.kind is Kind.ANY:
            return name(_copy_into, "copy")
        if value.kind is Kind.MESSAGE and value.python is not None:
            if value.python is self._schema.cls and not is_overridden(value.python, "fill_proto"):
                return "fill"
            return name(self._nested(value.python), "fill")
        return ""

    def _scalar(self, value: ValueType, text: str) -> str:
        """The expression that makes of the Python value `text` what protobuf takes."""
        name = self.source.name
        if value.kind is Kind.BOOL:
            return f"({text} if {text}.__class__ is bool else {name(as_bool, 'as_bool')}({text}))"
        if value.kind is Kind.ENUM:
            cls = name(value.python, "cls")
            convert = name(as_enum, "as_enum")
            return f"({text}.value if {text}.__class__ is {cls} else {convert}({text}, {cls}))"
        if value.name == "float32":
            convert, kind = name(as_float, "as_float"), name(value, "type")
            return (
                f"({text} if {text}.__class__ is float and {-FLOAT32_MAX} <= {text} <= "
                f"{FLOAT32_MAX} else {convert}({text}, {kind}))"
            )
        return text


def _has_presence(field: Field) -> bool:
    return field.shape is Shape.ONE and (field.presence or not field.value.scalar)


def _array_maker(value: ValueType) -> Callable[[Any], Any]:
    def make(values: Any) -> Any:
        import numpy as np

        return np.fromiter(values, value.python, len(values))

    return make


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _copy_into(value: Any, message: Any) -> None:
    message.CopyFrom(value)
    message.SetInParent()
