"""Objects -> dictionaries: what `to_dict` and `to_json` show of an object."""

from collections.abc import Mapping
from typing import Any

from kitfox.data.construction import member_of
from kitfox.data.oneofs import unwrap_sequence, value_slot
from kitfox.data.schema import Kind, Schema, Shape, ValueType, enum_schema_of, schema_of

__all__ = ["to_dict"]


def to_dict(schema: Schema, value: Any) -> dict[str, Any]:
    """All fields of an object by name, nested ones too; bytes and datetimes stay what they are.

    A union is there under the name of the member that is set. Values are not checked.

    Raises:
        KeyError: A number that an enum does not have.
    """
    result: dict[str, Any] = {}
    for field in schema.fields:
        if field.shape is not Shape.UNION:
            content = getattr(value, field.name)
            result[field.name] = _field(field.shape, field.value, content)
            continue
        name = member_of(value, field)
        content = getattr(value, value_slot(field.name))
        for member in field.members:
            if member.name == name and member.repeated:
                items = _field(Shape.LIST, member.value, unwrap_sequence(content))
                result[name] = {"values": items}
            elif member.name == name:
                result[name] = _value(member.value, content)
    return result


def _field(shape: Shape, value_type: ValueType, content: Any) -> Any:
    if content is None or shape is Shape.ONE:
        return _value(value_type, content)
    if shape is Shape.MAP and isinstance(content, Mapping):
        return {key: _value(value_type, item) for key, item in content.items()}
    if hasattr(content, "tolist"):
        return content.tolist()
    if isinstance(content, list | tuple):
        return [_value(value_type, item) for item in content]
    return content


def _value(value_type: ValueType, content: Any) -> Any:
    if content is None:
        return None
    if value_type.kind is Kind.MESSAGE:
        return content.to_dict() if schema_of(type(content)) is not None else content
    if value_type.kind is Kind.ENUM:
        enum_schema = enum_schema_of(value_type.python)
        if enum_schema is not None:
            return enum_schema.names[getattr(content, "value", content)]
    if value_type.kind is Kind.TEXT and isinstance(content, bytes):
        return content.decode(errors="replace")  # a text field takes bytes that are UTF-8
    return content
