"""Unions: which member of the protobuf oneof a Python value belongs to."""

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from kitfox.data.schema import Field, Kind, Member, ValueType

__all__ = ["choose_member", "chooser", "member_slot", "unwrap_sequence", "value_slot"]


def value_slot(field: str) -> str:
    """The slot of an object that holds the value of a union."""
    return f"_value_of_{field}"


def member_slot(field: str) -> str:
    """The slot that holds the name of the member that was set by name; none: by the value."""
    return f"_member_of_{field}"


def choose_member(field: Field, value: Any) -> Member | None:
    """The member that fits a value.

    Tried are bools, then integers, then the rest as declared, so that `True` goes to a bool and
    `3` to an integer where there is one. A list goes to the list with elements of its first
    element's type, an empty one to the first list.
    """
    sequences = [member for member in field.members if member.repeated]
    if sequences and _is_listing(value):
        return _choose_sequence(sequences, value)
    for member in sorted(field.members, key=_rank):
        if not member.repeated and fits(member.value, value):
            return member
    return None


def chooser(field: Field) -> Callable[[Any], str | None]:
    """The function that gives the name of the member that fits a value, or none."""

    def choose(value: Any) -> str | None:
        member = choose_member(field, value)
        return None if member is None else member.name

    return choose


def unwrap_sequence(value: Any) -> Any:
    """The list inside a message such as `IntSequence`, or the list itself."""
    return value.values if hasattr(value, "get_proto_class") else value


def fits(value_type: ValueType, value: Any) -> bool:
    """Whether a value can be written as a type, as far as can be told without looking inside."""
    match value_type.kind:
        case Kind.TEXT:
            return isinstance(value, str) or (isinstance(value, bytes) and _is_utf8(value))
        case Kind.BYTES:
            return isinstance(value, bytes | bytearray | memoryview)
        case Kind.BOOL:
            return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
        case Kind.INT:
            return _is_integer(value) and value_type.low <= value <= value_type.high
        case Kind.FLOAT:
            return isinstance(value, float) or _is_integer(value) or hasattr(value, "__float__")
        case Kind.TIME:
            return isinstance(value, datetime)
        case Kind.STRUCT:
            return isinstance(value, Mapping)
        case Kind.ANY:
            return isinstance(value, AnyMessage)
        case Kind.ENUM:
            return isinstance(value, _class(value_type)) or _is_integer(value)
        case Kind.MESSAGE:
            return isinstance(value, _class(value_type))


def _class(value_type: ValueType) -> type[Any]:
    return value_type.python or object


def _rank(member: Member) -> int:
    return {Kind.BOOL: 0, Kind.INT: 1}.get(member.value.kind, 2)


def _is_integer(value: Any) -> bool:
    if isinstance(value, int):
        return True
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_listing(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping)


def _choose_sequence(sequences: list[Member], value: Any) -> Member | None:
    first = next(iter(value), None)
    if first is None:
        return sequences[0]
    for member in sequences:
        if type(first).__name__ == member.value.name:
            return member
    return next(
        (member for member in sorted(sequences, key=_rank) if fits(member.value, first)), None
    )
