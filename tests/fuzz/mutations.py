"""Wrong turns: bytes, protobuf messages and JSON values that are nearly what they should be."""

import contextlib
import random
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

__all__ = ["mutate_bytes", "mutate_json", "mutate_message", "varint", "write_json"]

_NASTY = (
    b"",
    b"\0",
    b"\xff" * 10,
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{}",
    b"[]",
    b'"',
    b",",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"\r\n\r\n",
    b"\x1f\x8b\x08\0",
    b"\x80\0\0\0\0",
    b"\0\xff\xff\xff\xff",
)

# Bytes.


def mutate_bytes(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """The data with one to four changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_CHANGES)(data, chance, other)
    return data


def _flip(data: bytes, chance: random.Random, other: bytes) -> bytes:
    if not data:
        return data
    place = chance.randrange(len(data))
    return b"%b%c%b" % (data[:place], data[place] ^ 1 << chance.randrange(8), data[place + 1 :])


def _insert(data: bytes, chance: random.Random, other: bytes) -> bytes:
    place = chance.randint(0, len(data))
    new = chance.choice(_NASTY) if chance.random() < 0.7 else chance.randbytes(chance.randrange(9))
    return data[:place] + new + data[place:]


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 1, 2, 4, 8, 32, 1000)))


def _delete(data: bytes, chance: random.Random, other: bytes) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random, other: bytes) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[start:end] * chance.choice((2, 2, 3, 50)) + data[end:]


def _truncate(data: bytes, chance: random.Random, other: bytes) -> bytes:
    return data[: chance.randint(0, len(data))]


def _splice(data: bytes, chance: random.Random, other: bytes) -> bytes:
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


_Change: TypeAlias = Callable[[bytes, random.Random, bytes], bytes]
_CHANGES: tuple[_Change, ...] = (_flip, _flip, _insert, _delete, _repeat, _truncate, _splice)

# Protobuf.


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """The outermost fields of a valid message: number, wire type, what follows the tag."""
    found, place = [], 0
    while place < len(data):
        tag, start = _read_varint(data, place)
        kind = tag & 7
        if kind == 0:
            _, place = _read_varint(data, start)
        elif kind == 2:
            size, content = _read_varint(data, start)
            start, place = content, content + size
        else:
            place = start + (8 if kind == 1 else 4)
        found.append((tag >> 3, kind, data[start:place]))
    return found


def _joined(fields: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(
        varint(number << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content
        for number, kind, content in fields
    )


def mutate_message(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """A valid message with one change in its structure, here or further inside."""
    try:
        fields = _fields(data)
    except IndexError:  # text, taken for a message
        return mutate_bytes(data, chance)
    if not fields:
        return _new_field(chance)
    place = chance.randrange(len(fields))
    number, kind, content = fields[place]
    if kind == 2 and content and depth < 8 and chance.random() < 0.6:
        fields[place] = (number, kind, mutate_message(content, chance, depth + 1))
        return _joined(fields)
    match chance.randrange(9):
        case 0:
            fields[place] = (chance.choice((0, 1, 2, 3, 15, 16, 2**28, 2**29 - 1)), kind, content)
        case 1:
            fields[place] = (number, chance.randrange(8), content)
        case 2:
            fields.insert(place, fields[chance.randrange(len(fields))])
        case 3:
            del fields[place]
        case 4:
            fields[place] = (number, kind, mutate_bytes(content, chance, data))
        case 5:
            chance.shuffle(fields)
        case 6:
            return _joined(fields[:place]) + _new_field(chance) + _joined(fields[place:])
        case 7:
            fields[place] = (number, 2, _nested(number, chance.choice((10, 99, 100, 101, 3000))))
        case _:
            more = chance.choice((-1, 1, 2**20, 2**31, 2**32, 2**63 - 1))
            wrong = varint(max(0, len(content) + more))
            head, tail = _joined(fields[:place]), _joined(fields[place + 1 :])
            return head + varint(number << 3 | 2) + wrong + content + tail
    return _joined(fields)


def _new_field(chance: random.Random) -> bytes:
    number = chance.choice((1, 2, 3, 4, 19, 1000, 2**29 - 1))
    match chance.randrange(6):
        case 0:
            return varint(number << 3) + b"\xff" * chance.choice((9, 10, 11)) + b"\x01"
        case 1:
            inner = b"\x08\x01" * chance.randrange(3)
            return varint(number << 3 | 3) + inner + varint(number << 3 | 4)
        case 2:  # groups without end
            return varint(number << 3 | 3) * chance.choice((1, 50, 200, 5000))
        case 3:
            return varint(number << 3 | 2) + varint(4) + b"\xf0\x28\x8c\x28"
        case 4:
            return varint(number << 3 | 1) + chance.randbytes(8)
        case _:
            return varint(number << 3 | 2) + varint(chance.choice((0, 1, 3))) + b"abc"


def _nested(number: int, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = varint(number << 3 | 2) + varint(len(data)) + data
    return data


# JSON. What Python's values cannot say stands as raw text.

_Raw = msgspec.Raw
_CONFUSED: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, "", "1", "-1", "x", "RED", "true", "null", "2024"),
    *("NaN", "Infinity", "1e5", "AAEC", "AAE", "====", "a" * 300, "\0", "\u2028", "Grüße"),
    *("2024-02-29T12:34:56Z", "2023-02-29T12:34:56Z", "9999-12-31T23:59:60+23:59", "1.0"),
    *(2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 1e308, -0.0, 5e-324),
    *([], {}, [[]], [{}], [None], {"": None}, {"x": 1, "y": 2}, ["a", 1, None, {}]),
    *({"data": []}, {"values": [1]}, {"seconds": 1, "nanos": 2}, {"key": 1, "value": 2}),
)
_CONFUSED_TEXT = (
    *(b"1e400", b"-1e400", b"1E-500", b"NaN", b"Infinity", b"-Infinity", b"-0", b"1.0", b"01"),
    *(b"1" + b"0" * 30, b"1" + b"0" * 400, b"1" + b"0" * 5000, b"0." + b"1" * 5000, b"+1", b".5"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b'"\n"'),
    *(b'"\\x"', b"nul", b"tru", b"'a'", b"undefined", b"[1,]", b'{"a":1,}', b'{"a":1,"a":2}'),
    *(b"{1:2}", b"//x", b'"', b"{", b"[", b"]", b"}", b"", b" ", b"1 2", b"\xef\xbb\xbf1"),
)
_DEPTHS = (5, 19, 20, 21, 100, 990, 3000, 20000)
_NAMES = ("", "x", "unknown", "inputs", "parameters", "model_id", "__class__", "data", "leafName")


def write_json(value: Any, chance: random.Random) -> bytes:
    """JSON text, now and then laid out in another way."""
    data = msgspec.json.encode(value)
    if chance.random() < 0.05:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return b" \r\n\t" + msgspec.json.format(data, indent=3) + b"\n"
    return data


def mutate_json(value: Any, chance: random.Random) -> Any:
    """The value with one to three changes somewhere inside; the given one stays as it is."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        value = _mutated(value, chance, 0)
    return value


def _mutated(value: Any, chance: random.Random, depth: int) -> Any:
    deeper = chance.random() < 0.75 or depth == 0
    if isinstance(value, dict) and value and deeper:
        if chance.random() < 0.2:
            return _other_keys(value, chance)
        name = chance.choice(list(value))
        return {**value, name: _mutated(value[name], chance, depth + 1)}
    if isinstance(value, list) and value and deeper:
        place = chance.randrange(len(value))
        return [*value[:place], _mutated(value[place], chance, depth + 1), *value[place + 1 :]]
    return _confused(value, chance)


def _other_keys(value: dict[str, Any], chance: random.Random) -> Any:
    changed = dict(value)
    name = chance.choice(list(changed))
    match chance.randrange(5):
        case 0:
            del changed[name]
        case 1:
            changed[chance.choice(_NAMES)] = changed.pop(name)
        case 2:
            changed[chance.choice(_NAMES)] = chance.choice(_CONFUSED)
        case 3:
            twice = msgspec.json.encode({name: changed[name]})[:-1]
            rest = msgspec.json.encode(changed)[1:]
            return _Raw(twice + b"," + rest)
        case _:
            changed[name.upper()] = changed.pop(name)
    return changed


def _confused(value: Any, chance: random.Random) -> Any:
    match chance.randrange(12):
        case 0:
            depth, kind = chance.choice(_DEPTHS), chance.choice((b"[]", b'{"a":}'))
            inner, outer = kind[:-1], kind[-1:]
            return _Raw(inner * depth + b"1" + outer * depth)
        case 1:
            return [value] * chance.choice((1, 2, 500))
        case 2:
            return {chance.choice(_NAMES): value}
        case 3:
            return value[0] if isinstance(value, list) and value else str(value)[:500]
        case 4 | 5 | 6:
            return _Raw(chance.choice(_CONFUSED_TEXT))
        case _:
            return chance.choice(_CONFUSED)
