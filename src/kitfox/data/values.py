"""Single values: what Python value a field's type takes, and the sentence when it does not.

The generated code of the codecs handles the ordinary value of each type by itself and calls the
functions here for the others (numpy scalars, enum numbers, `bytes` for text).
"""

import enum
import math
import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from kitfox.data.schema import Kind, ValueType

__all__ = ["FieldValueError", "as_list"]

FLOAT32_MAX = 3.4028235677973362e38
"""The greatest number that is rounded to a finite one in single precision."""

_INT32 = range(-(2**31), 2**31)


class FieldValueError(TypeError, ValueError):
    """A data object holds a value that its field's type does not take.

    Raised when the object is written; the message names the path: `points[3].x: expected float,
    got str`.
    """


def as_list(value: Any) -> Any:
    """The elements of what an author gave for a list: a list, a tuple, an array, an iterator."""
    if isinstance(value, str | bytes | bytearray | Mapping):
        raise FieldValueError(f"expected a list, got {type(value).__name__}")
    if hasattr(value, "tolist"):
        value = value.tolist()
    try:
        return list(value)
    except TypeError:
        raise FieldValueError(f"expected a list, got {type(value).__name__}") from None


def as_text(value: Any) -> str:
    """Text; bytes when they are UTF-8."""
    if isinstance(value, str):
        value.encode()
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise FieldValueError("expected str, got bytes that are not UTF-8") from None
    raise _mismatch("str", value)


def as_bytes(value: Any) -> bytes:
    """Bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise _mismatch("bytes", value)


def as_bool(value: Any) -> bool:
    """A bool, or numpy's."""
    if isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise _mismatch("bool", value)


def as_int(value: Any, value_type: ValueType) -> int:
    """An integer, or what stands for one (numpy's), within the type's range."""
    if isinstance(value, bool):
        raise _mismatch("int", value)
    try:
        number = operator.index(value)
    except TypeError:
        raise _mismatch("int", value) from None
    if not value_type.low <= number <= value_type.high:
        raise FieldValueError(
            f"{number} is out of range for {value_type.name} "
            f"({value_type.low} to {value_type.high})"
        )
    return number


def as_float(value: Any, value_type: ValueType) -> float:
    """A float, or what stands for one (an integer, numpy's), within the type's range."""
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        if not hasattr(value, "__index__"):
            raise _mismatch("float", value)
        value = operator.index(value)
    try:
        number = float(value)
    except OverflowError:
        raise FieldValueError(f"{value} is out of range for {value_type.name}") from None
    except TypeError:  # an array of several elements
        raise _mismatch("float", value) from None
    if value_type.name == "float32" and math.isfinite(number) and abs(number) > FLOAT32_MAX:
        raise FieldValueError(f"{number} is out of range for float32")
    return number


def as_enum(value: Any, cls: type[Any]) -> int:
    """The number of a member, or a number (known or not, as protobuf's enums are open)."""
    if isinstance(value, cls):
        number = value.value
    elif isinstance(value, enum.Enum | bool | str | bytes):
        raise _mismatch(cls.__name__, value)
    else:
        number = value
    try:
        number = operator.index(number)
    except TypeError:
        raise _mismatch(cls.__name__, value) from None
    if number not in _INT32:
        raise FieldValueError(f"{number} is out of range for the enum {cls.__name__}")
    return int(number)


def check(value: Any, value_type: ValueType) -> None:
    """Raise the error of a single value that is no message of a data object.

    Raises:
        FieldValueError: It is not of the type.
    """
    kind = value_type.kind
    try:
        if kind is Kind.TEXT:
            as_text(value)
        elif kind is Kind.BYTES:
            as_bytes(value)
        elif kind is Kind.BOOL:
            as_bool(value)
        elif kind is Kind.INT:
            as_int(value, value_type)
        elif kind is Kind.FLOAT:
            as_float(value, value_type)
        elif kind is Kind.ENUM and value_type.python is not None:
            as_enum(value, value_type.python)
        elif kind is Kind.TIME and not isinstance(value, datetime):
            raise _mismatch("datetime", value)
        elif kind is Kind.STRUCT and not isinstance(value, Mapping):
            raise _mismatch("a JSON object (dict)", value)
        elif kind is Kind.ANY and not isinstance(value, AnyMessage):
            raise _mismatch("a google.protobuf.Any message", value)
    except UnicodeEncodeError:
        raise FieldValueError(
            "the text holds half of a surrogate pair, which is no character"
        ) from None


def _mismatch(expected: str, value: Any) -> FieldValueError:
    return FieldValueError(f"expected {expected}, got {type(value).__name__}")
