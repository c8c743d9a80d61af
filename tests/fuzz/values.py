"""Valid values of any message class: what mutations start from."""

import random
from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["fill", "json_value", "text"]

_TEXTS = (
    "",
    "a",
    "World",
    "Grüße",
    "日本語",
    "\U0001f98a",
    "a b\tc\n",
    '"\\/',
    "\u2028",
    "null",
    "1",
)
_INTS = (0, 1, -1, 7, 127, 128, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63))
_REALS = (0.0, -0.0, 1.0, -1.5, 1e-300, 1e300, 0.1, 3.4e38, 1e-45)
_DEEPEST = 4

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def text(chance: random.Random) -> str:
    """Some text."""
    return chance.choice(_TEXTS) * chance.choice((1, 1, 1, 2, 40))


def json_value(chance: random.Random, depth: int = 0) -> Any:
    """Some JSON value."""
    kind = chance.randrange(8 if depth < _DEEPEST else 6)
    match kind:
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice(_INTS)
        case 3:
            return chance.choice(_REALS)
        case 4 | 5:
            return text(chance)
        case 6:
            return [json_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            return {text(chance): json_value(chance, depth + 1) for _ in range(chance.randrange(4))}


def fill(message: Message, chance: random.Random, depth: int = 0) -> None:
    """Sets a message's fields, most of them, to valid values."""
    target: Any = message
    if isinstance(message, timestamp_pb2.Timestamp):
        target.seconds = chance.choice((0, 1, -1, 1_700_000_000, -62135596800, 253402300799))
        target.nanos = chance.choice((0, 1000, 999_999_000))
        return
    if isinstance(message, struct_pb2.Struct):
        target.update({text(chance): json_value(chance) for _ in range(chance.randrange(4))})
        return
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        # JSON has no value for an enum that is not set.
        optional = field.enum_type is None or field.is_repeated
        if depth and optional and (depth > _DEEPEST or chance.random() < 0.3):
            continue
        _set(target, field, chance, depth)


def _set(target: Any, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    if not field.is_repeated:
        if field.message_type is not None:
            getattr(target, field.name).SetInParent()
            fill(getattr(target, field.name), chance, depth + 1)
        else:
            setattr(target, field.name, _scalar(field, chance))
        return
    values = getattr(target, field.name)
    entry = field.message_type
    # An empty list is one that is missing, where a list is required.
    for _ in range(chance.randrange(0 if depth else 1, 4)):
        if entry is not None and entry.GetOptions().map_entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            if value.message_type is not None:
                fill(values[_scalar(key, chance)], chance, depth + 1)
            else:
                values[_scalar(key, chance)] = _scalar(value, chance)
        elif entry is not None:
            fill(values.add(), chance, depth + 1)
        else:
            values.append(_scalar(field, chance))


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    kind = field.type
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        value = chance.choice(_INTS)
        return value if low <= value <= high else chance.randint(low, high)
    if kind in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        real = chance.choice(_REALS)
        return real if kind == FieldDescriptor.TYPE_DOUBLE else min(real, 3e38)
    if kind == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if kind == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.choice((0, 1, 3, 20)))
    if field.enum_type is not None:
        # The placeholder is there for protobuf only; JSON has no such value.
        values = [value for value in field.enum_type.values if value.name != "PLACEHOLDER_UNSET"]
        return chance.choice(values).number
    return text(chance)
