"""Points in time: `datetime` in Python, `google.protobuf.Timestamp` and RFC 3339 text outside.

Inside Kitfox every `datetime` that came from a message or from JSON is aware and in UTC. One
without a time zone, as an author may make it, is taken to be in UTC.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

from google.protobuf import timestamp_pb2

__all__ = ["datetime_to_proto", "format_datetime", "parse_datetime", "proto_to_datetime"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
_NANOS = 1_000_000_000

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)


def datetime_to_proto(value: datetime) -> timestamp_pb2.Timestamp:
    """A new `Timestamp` for a point in time."""
    message = timestamp_pb2.Timestamp()
    fill_timestamp(value, message)
    return message


def fill_timestamp(value: datetime, message: timestamp_pb2.Timestamp) -> None:
    """Write a point in time into an empty `Timestamp`."""
    if not isinstance(value, datetime):
        raise TypeError(f"expected datetime, got {type(value).__name__}")
    since = _utc(value) - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1000
    message.SetInParent()


def proto_to_datetime(message: timestamp_pb2.Timestamp) -> datetime:
    """The point in time of a `Timestamp`, aware, in UTC; nanoseconds are cut to microseconds.

    Raises:
        ValueError: It lies outside the years 1 to 9999.
    """
    seconds, nanos = message.seconds, message.nanos
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND or not 0 <= nanos < _NANOS:
        raise ValueError(f"seconds={seconds}, nanos={nanos} is outside the years 1 to 9999")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def format_datetime(value: datetime) -> str:
    """RFC 3339 with `Z`, with 0, 3 or 6 digits of fraction, as protobuf's JSON writes it."""
    value = _utc(value)
    text = value.replace(tzinfo=None).isoformat(timespec="seconds")
    micros = value.microsecond
    if not micros:
        return f"{text}Z"
    return f"{text}.{micros:06d}Z" if micros % 1000 else f"{text}.{micros // 1000:03d}Z"


def parse_datetime(text: str, *, zone_needed: bool = False) -> datetime:
    """Read RFC 3339 text.

    Args:
        text: Date, or date and time with an offset, with `Z`, or without either (UTC).
        zone_needed: Refuse what protobuf's JSON refuses: no time, or no offset.

    Raises:
        ValueError: It is no such text, or no such day or hour exists.
    """
    match = _RFC3339.fullmatch(text)
    if match is None or (zone_needed and match[8] is None):
        raise ValueError("expected a date and time such as 2024-02-29T12:34:56.789Z")
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    if match[4] is None:
        return datetime(year, month, day, tzinfo=UTC)
    micros = int((match[7] or "")[:6].ljust(6, "0"))
    zone = _zone(match[8])
    moment = datetime(
        year, month, day, int(match[4]), int(match[5]), int(match[6]), micros, tzinfo=zone
    )
    return _utc(moment)


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text} is no offset from UTC")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from None
