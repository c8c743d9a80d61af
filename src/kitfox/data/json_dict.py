"""`JsonDict`: a field that holds any JSON object, on the wire a `google.protobuf.Struct`."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf import struct_pb2

__all__ = ["JsonDict", "JsonValue", "dict_to_struct", "struct_to_dict"]

JsonValue: TypeAlias = int | float | str | bool | list[Any] | dict[str, Any] | None
"""Anything that JSON can write."""

JsonDict: TypeAlias = dict[str, JsonValue]
"""Any JSON object. This alias itself is the annotation; a plain `dict` is not a field type."""

_EXACT = 2**53
"""Up to here every whole number is a double of its own."""


def dict_to_struct(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """A new `Struct` with the content of a dictionary.

    Raises:
        ValueError: A value is none of those that JSON knows, or a key is no text.
    """
    struct = struct_pb2.Struct()
    fill_struct(value, struct)
    return struct


def struct_to_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The content of a `Struct`; whole numbers come back as `int`."""
    return {key: _read_value(item) for key, item in struct.fields.items()}


def fill_struct(value: Mapping[str, Any], struct: struct_pb2.Struct) -> None:
    """Write a dictionary into an empty `Struct`."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a JSON object (dict), got {type(value).__name__}")
    fields = struct.fields
    for key, item in value.items():
        if not isinstance(key, str):
            raise ValueError(f"the keys of a JSON object are text, got {key!r}")
        _fill_value(item, fields[key])
    struct.SetInParent()


def _fill_value(item: Any, value: struct_pb2.Value) -> None:
    if item is None:
        value.null_value = struct_pb2.NULL_VALUE
    elif isinstance(item, bool):
        value.bool_value = item
    elif isinstance(item, int | float):
        value.number_value = item
    elif isinstance(item, str):
        value.string_value = item
    elif isinstance(item, Mapping):
        fill_struct(item, value.struct_value)
    elif isinstance(item, list | tuple):
        values = value.list_value.values
        for entry in item:
            _fill_value(entry, values.add())
        value.list_value.SetInParent()
    elif hasattr(item, "tolist"):  # numpy scalars and arrays
        _fill_value(item.tolist(), value)
    else:
        raise ValueError(f"JSON has no value for {type(item).__name__}")


def _read_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if -_EXACT <= number <= _EXACT and number == int(number) else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return struct_to_dict(value.struct_value)
    if kind == "list_value":
        return [_read_value(item) for item in value.list_value.values]
    return None
