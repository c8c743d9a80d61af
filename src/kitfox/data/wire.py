"""Protobuf bytes that protobuf refused: finds the field at fault, which protobuf does not tell."""

from collections.abc import Iterator
from typing import Any

from kitfox.errors import ValidationError

__all__ = ["locate_wire_error"]

Path = tuple[str | int, ...]

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_TYPE_STRING, _TYPE_MESSAGE = 9, 11
_MOST_DEPTH = 100


class _Fault(Exception):
    """What is wrong, and where."""

    def __init__(self, path: Path, message: str, kind: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.kind = kind


def locate_wire_error(descriptor: Any, data: Any, reason: str) -> ValidationError:
    """The error for bytes that are no message of a type.

    Args:
        descriptor: Of the message type.
        data: What was to be parsed.
        reason: What protobuf said, for the case that nothing is found here.
    """
    if not isinstance(data, bytes):
        message = f"expected bytes, got {type(data).__name__}"
        return ValidationError.at((), message, kind="type")
    fault = _Fault((), reason, "protobuf")
    try:
        _scan(descriptor, memoryview(data), (), 0)
    except _Fault as found:
        fault = found
    message = f"{fault.message}; the bytes are no valid {descriptor.full_name}"
    return ValidationError.at(fault.path, message, kind=fault.kind)


def _scan(descriptor: Any, data: memoryview, path: Path, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise _Fault(path[:10], f"nested more than {_MOST_DEPTH} deep", "depth")
    counts: dict[int, int] = {}
    for number, wire, content in _records(data, path):
        field = descriptor.fields_by_number.get(number)
        if field is None or wire != _BYTES or content is None:
            continue
        where: Path = (*path, field.name)
        if field.is_repeated:
            index = counts[number] = counts.get(number, -1) + 1
            where = (*where, index)
        if field.type == _TYPE_STRING:
            try:
                bytes(content).decode()
            except UnicodeDecodeError as error:
                raise _Fault(where, f"the text is not UTF-8: {error}", "utf8") from None
        elif field.type == _TYPE_MESSAGE:
            _scan(field.message_type, content, where, depth + 1)


def _records(data: memoryview, path: Path) -> Iterator[tuple[int, int, memoryview | None]]:
    """Field number, wire type and content (of those with a length) of each record."""
    position, groups = 0, []
    while position < len(data):
        tag, position = _varint(data, position, path)
        number, wire = tag >> 3, tag & 7
        if number == 0 or wire > _FIXED32:
            raise _broken(path, f"a tag is wrong at byte {position}")
        content = None
        if wire == _VARINT:
            _, position = _varint(data, position, path)
        elif wire == _BYTES:
            size, position = _varint(data, position, path)
            content = data[position : position + size]
            position += size
        elif wire == _GROUP:
            groups.append(number)
        elif wire == _END_GROUP:
            if not groups or groups.pop() != number:
                raise _broken(path, f"a group ends that did not begin at {position}")
        else:
            position += 8 if wire == _FIXED64 else 4
        if position > len(data):
            raise _broken(path, "the bytes end in the middle of a field")
        if not groups:
            yield number, wire, content
    if groups:
        raise _broken(path, "the bytes end in the middle of a group")


def _varint(data: memoryview, position: int, path: Path) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise _broken(path, "the bytes end in the middle of a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise _broken(path, f"a number is longer than ten bytes at byte {position}")


def _broken(path: Path, why: str) -> _Fault:
    return _Fault(path, why, "protobuf")
