"""JSON -> single values: what JSON a type takes, by the rules of requests or of protobuf's JSON.

A *request* (the body of a REST call) takes what people and their tools write: numbers as text,
`"yes"` for true, dates without a zone. *protobuf's JSON* is the mapping of the protobuf
documentation. Neither changes a value silently: what does not fit its type is refused.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kitfox.data.schema import EnumSchema, Kind, ValueType, enum_schema_of
from kitfox.data.timestamps import parse_datetime
from kitfox.data.values import FLOAT32_MAX

__all__ = ["Refusal", "read_scalar"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TRUTH = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_URL_SAFE = str.maketrans("-_", "+/")


class Refusal(ValueError):  # not an error by itself, the reader makes one of it
    """A value that its type does not take.

    Args:
        kind: As in `FieldError.kind`.
        message: What was wrong and what was expected.
        path: Where inside the value.
    """

    def __init__(self, kind: str, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.path = path


def read_scalar(value: Any, value_type: ValueType, *, protobuf: bool) -> Any:
    """The Python value of a type that is no data object.

    Args:
        value: Parsed JSON.
        value_type: What is expected.
        protobuf: By the rules of protobuf's JSON, not those of requests.

    Raises:
        Refusal: It cannot be accepted.
    """
    match value_type.kind:
        case Kind.TEXT:
            return _text(value)
        case Kind.INT:
            return _whole(value, value_type)
        case Kind.FLOAT:
            return _real(value, value_type)
        case Kind.BOOL:
            return _bool(value, protobuf=protobuf)
        case Kind.BYTES:
            return _bytes(value, protobuf=protobuf)
        case Kind.TIME:
            return _time(value, protobuf=protobuf)
        case Kind.STRUCT:
            return _struct(value)
        case Kind.ENUM:
            return _enum(value, value_type, protobuf=protobuf)
        case _:
            return _any(value)


def shown(value: Any) -> str:
    """What a value is in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text {value!r}" if len(value) <= 40 else f"text {value[:37]!r}..."
    if isinstance(value, int | float):
        text = repr(value) if isinstance(value, float) or abs(value) < 10**40 else "a huge number"
        return f"the number {text}"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    return type(value).__name__


def _refuse(expected: str, value: Any) -> Refusal:
    return Refusal("type", f"expected {expected}, got {shown(value)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse("text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refusal("utf8", "the text holds half of a surrogate pair") from None
    return value


def _whole(value: Any, value_type: ValueType) -> int:
    if isinstance(value, bool):
        raise _refuse("a whole number", value)
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise _refuse("a whole number", value)
        number = int(value)
    elif isinstance(value, float):
        if not math.isfinite(value) or not value.is_integer():
            raise _refuse("a whole number", value)
        number = int(value)
    elif isinstance(value, int):
        number = value
    else:
        raise _refuse("a whole number", value)
    if not value_type.low <= number <= value_type.high:
        raise Refusal(
            "range",
            f"{shown(number)} is out of range for {value_type.name} "
            f"({value_type.low} to {value_type.high})",
        )
    return number


def _real(value: Any, value_type: ValueType) -> float:
    if isinstance(value, bool):
        raise _refuse("a number", value)
    if isinstance(value, str):
        if value in _NON_FINITE:
            return _NON_FINITE[value]
        if not _NUMBER.fullmatch(value):
            raise _refuse("a number", value)
        number = float(value)
        overflow = math.isinf(number)
    elif isinstance(value, float):
        number, overflow = value, False
    elif isinstance(value, int):
        try:
            number, overflow = float(value), False
        except OverflowError:
            number, overflow = math.inf, True
    else:
        raise _refuse("a number", value)
    if overflow or (
        value_type.name == "float32" and math.isfinite(number) and abs(number) > FLOAT32_MAX
    ):
        raise Refusal("range", f"{shown(value)} is out of range for {value_type.name}")
    return number


def _bool(value: Any, *, protobuf: bool) -> bool:
    if isinstance(value, bool):
        return value
    if not protobuf:
        if isinstance(value, int | float) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
    raise _refuse("true or false", value)


def _bytes(value: Any, *, protobuf: bool) -> bytes:
    if not isinstance(value, str):
        raise _refuse("base64 text", value)
    text = value
    if protobuf:
        text = text.translate(_URL_SAFE).rstrip("=")
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refuse("base64 text", value) from None


def is_base64(value: str) -> bool:
    """Whether text is what a base64 encoder writes for at least one byte."""
    if not value or len(value) % 4:
        return False
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)) == value.encode()
    except (binascii.Error, ValueError):
        return False


def _time(value: Any, *, protobuf: bool) -> datetime:
    if isinstance(value, str):
        try:
            return parse_datetime(value, zone_needed=protobuf)
        except ValueError as error:
            raise Refusal("type", f"{shown(value)} is no point in time: {error}") from None
    if isinstance(value, int | float) and not isinstance(value, bool) and not protobuf:
        try:
            return _EPOCH + timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise Refusal(
                "range", f"{shown(value)} seconds after 1970 are outside the years 1 to 9999"
            ) from None
    raise _refuse("a date and time such as 2024-02-29T12:34:56Z", value)


def _struct(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse("an object", value)
    return {_text(key): _free(item, (key,)) for key, item in value.items()}


def _free(value: Any, path: tuple[str | int, ...]) -> Any:
    """A value inside a free-form object, copied; refused is what JSON cannot write."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        try:
            return _text(value)
        except Refusal as refusal:
            raise Refusal(refusal.kind, refusal.message, path) from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refusal("range", "a free-form object cannot hold NaN or Infinity", path)
        return value
    if isinstance(value, Mapping):
        return {str(key): _free(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_free(item, (*path, index)) for index, item in enumerate(value)]
    raise Refusal("type", f"JSON has no value for {type(value).__name__}", path)


def _enum(value: Any, value_type: ValueType, *, protobuf: bool) -> Any:
    schema: EnumSchema | None = enum_schema_of(value_type.python)
    assert schema is not None  # noqa: S101 # the kind says so
    if isinstance(value, str) and value in schema.numbers:
        number = schema.numbers[value]
    elif isinstance(value, int | float) and not isinstance(value, bool) and value in schema.names:
        number = int(value)
        if not protobuf and not _is_member(schema, number):
            raise _unknown(value, schema)
    else:
        raise _unknown(value, schema)
    return schema.cls(number) if not protobuf and _is_member(schema, number) else number


def _is_member(schema: EnumSchema, number: int) -> bool:
    """Whether the author's enum has the number; it lacks the placeholder's."""
    return number in schema.cls._value2member_map_


def _unknown(value: Any, schema: EnumSchema) -> Refusal:
    names = ", ".join(f"{member.name} ({member.value})" for member in schema.cls)
    return Refusal("enum", f"expected one of {names}, got {shown(value)}")


def _any(value: Any) -> Any:
    from google.protobuf import json_format
    from google.protobuf.any_pb2 import Any as AnyMessage

    if not isinstance(value, Mapping):
        raise _refuse('an object with an "@type"', value)
    try:
        return json_format.ParseDict(dict(value), AnyMessage())
    except json_format.ParseError as error:
        raise Refusal("type", str(error)) from None
