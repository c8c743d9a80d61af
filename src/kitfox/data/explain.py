"""Finds out where: walks an object or a message after compiled code has failed on it.

The compiled code does not carry paths along; these functions repeat its work slowly, field by
field, and name the one at fault.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kitfox.data.json_dict import dict_to_struct
from kitfox.data.oneofs import choose_member, member_slot, unwrap_sequence, value_slot
from kitfox.data.schema import Field, Kind, Schema, Shape, ValueType, schema_of
from kitfox.data.timestamps import datetime_to_proto, proto_to_datetime
from kitfox.data.values import FieldValueError, as_list, check
from kitfox.errors import FieldError, ValidationError

__all__ = ["explain_object", "locate_message_error"]

Path = tuple[str | int, ...]
_ERRORS = (TypeError, ValueError, AttributeError, OverflowError)


def explain_object(schema: Schema, value: Any, error: Exception) -> FieldValueError:
    """The error that names the path in an object that could not be written."""
    if isinstance(error, RecursionError):
        return FieldValueError(f"{schema.name}: the object is nested too deeply or contains itself")
    for path, message in _object_faults(schema, value, ()):
        where = str(FieldError(path=path, message=message))
        return FieldValueError(f"{schema.name}.{where}" if path else f"{schema.name}: {where}")
    return FieldValueError(f"{schema.name}: {error}")


def locate_message_error(schema: Schema, message: Any, error: Exception) -> ValidationError:
    """The error that names the path in a message of which no object could be made."""
    if isinstance(error, RecursionError):
        return ValidationError.at((), "the message is nested too deeply", kind="depth")
    path, reason = _message_fault(schema, message, (), str(error))
    return ValidationError.at(path, reason, kind="invalid")


def _object_faults(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, schema.cls):
        yield path, f"expected {schema.name}, got {type(value).__name__}"
        return
    for field in schema.fields:
        slot = value_slot(field.name) if field.shape is Shape.UNION else field.name
        try:
            content = getattr(value, slot)
        except AttributeError:
            yield (*path, field.name), "it was never set"
            continue
        if content is not None:
            yield from _field_faults(field, value, content, (*path, field.name))


def _field_faults(field: Field, owner: Any, content: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if field.shape is Shape.ONE:
        yield from _value_faults(field.value, content, path)
    elif field.shape is Shape.UNION:
        yield from _union_faults(field, owner, content, path)
    elif field.shape is Shape.MAP:
        if not isinstance(content, Mapping):
            yield path, f"expected a dict, got {type(content).__name__}"
            return
        for key, item in content.items():
            yield from _value_faults(field.key, key, (*path, f"key {key!r}"))
            yield from _value_faults(field.value, item, (*path, str(key)))
    else:
        yield from _list_faults(field.value, content, path)


def _list_faults(value_type: ValueType, content: Any, path: Path) -> Iterator[tuple[Path, str]]:
    try:
        items = as_list(content)
    except FieldValueError as error:
        yield path, str(error)
        return
    for index, item in enumerate(items):
        yield from _value_faults(value_type, item, (*path, index))


def _union_faults(field: Field, owner: Any, content: Any, path: Path) -> Iterator[tuple[Path, str]]:
    name = getattr(owner, member_slot(field.name), None)
    member = next((item for item in field.members if item.name == name), None)
    member = member or choose_member(field, content)
    if member is None:
        yield path, f"expected {field.type_name}, got {type(content).__name__}"
    elif member.repeated:
        yield from _list_faults(member.value, unwrap_sequence(content), path)
    else:
        yield from _value_faults(member.value, content, path)


def _value_faults(value_type: ValueType, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if value_type.kind is Kind.MESSAGE:
        schema = schema_of(value_type.python)
        if schema is not None:
            yield from _object_faults(schema, value, path)
        return
    try:
        check(value, value_type)
        if value_type.kind is Kind.STRUCT:
            dict_to_struct(value)
        elif value_type.kind is Kind.TIME:
            datetime_to_proto(value)
    except _ERRORS as error:
        yield path, str(error)


def _message_fault(schema: Schema, message: Any, path: Path, reason: str) -> tuple[Path, str]:
    """The innermost part of a message that fails by itself."""
    for value_type, part, where in _parts(schema, message):
        try:
            _read_part(value_type, part)
        except (TypeError, ValueError) as error:
            below = schema_of(value_type.python)
            if below is None:
                return (*path, *where), str(error)
            return _message_fault(below, part, (*path, *where), str(error))
    return path, reason


def _parts(schema: Schema, message: Any) -> Iterator[tuple[ValueType, Any, Path]]:
    """The messages inside a message, with where they are."""
    for field in schema.fields:
        if field.shape is Shape.UNION:
            name = message.WhichOneof(field.name)
            for member in field.members:
                if member.name == name and not member.value.scalar:
                    content = getattr(message, name)
                    items = content.values if member.repeated else [content]
                    for index, item in enumerate(items):
                        yield member.value, item, ((name, index) if member.repeated else (name,))
        elif field.value.scalar:
            continue
        elif field.shape is Shape.ONE:
            if message.HasField(field.name):
                yield field.value, getattr(message, field.name), (field.name,)
        elif field.shape is Shape.MAP:
            for key in getattr(message, field.name):
                yield field.value, getattr(message, field.name)[key], (field.name, str(key))
        else:
            for index, item in enumerate(getattr(message, field.name)):
                yield field.value, item, (field.name, index)


def _read_part(value_type: ValueType, part: Any) -> None:
    from kitfox.data.codec import codec_of

    if value_type.kind is Kind.TIME:
        proto_to_datetime(part)
    elif value_type.kind is Kind.MESSAGE and value_type.python is not None:
        codec_of(value_type.python).read(part)
