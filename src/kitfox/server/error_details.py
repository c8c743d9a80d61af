"""What a client's program may read of a failure: `google.rpc.Status` with details.

They are the fields at fault, or the time after which to try again, and travel in the trailer
`grpc-status-details-bin`. The few messages are written here by hand, so that no generated code
takes the names of Google's error model in protobuf's pool, which a library may need for itself.
"""

from collections.abc import Iterator

from kitfox.errors import FieldError, KitfoxError, ResourceExhausted, ValidationError

__all__ = ["status_details"]

_TYPE = "type.googleapis.com/google.rpc."
# Clients drop a call whose headers are larger than 8 KiB; in base64 this is half of that.
_MOST_BYTES = 3072


def status_details(failure: KitfoxError, request_id: str) -> bytes | None:
    """The serialized `google.rpc.Status` of a failure; None where it would tell nothing new.

    It tells of a `ValidationError` which fields are wrong (`google.rpc.BadRequest`), of a limit
    that was reached when to try again (`google.rpc.RetryInfo`), and the id that the log knows the
    request by (`google.rpc.RequestInfo`). Fields that would make it too large for a trailer are
    left out, the last ones first.

    Args:
        failure: What the client is told.
        request_id: Of the call.
    """
    status = _number(1, failure.code) + _text(2, failure.message)
    info = _detail("RequestInfo", _text(1, request_id))
    if isinstance(failure, ResourceExhausted) and failure.retry_after is not None:
        return status + _detail("RetryInfo", _bytes(1, _duration(failure.retry_after))) + info
    if not isinstance(failure, ValidationError):
        return None
    room = _MOST_BYTES - len(status) - len(info)
    violations = _fitting(failure.fields, room)
    if not violations:
        return None
    return status + _detail("BadRequest", violations) + info


def _fitting(fields: tuple[FieldError, ...], room: int) -> bytes:
    """The violations of those fields that have a path, as many as there is room for."""
    result = b""
    for violation in _violations(fields):
        if len(_detail("BadRequest", result + violation)) > room:
            break
        result += violation
    return result


def _violations(fields: tuple[FieldError, ...]) -> Iterator[bytes]:
    for field in fields:
        if field.path:
            reason = field.kind.upper().replace("-", "_").replace(" ", "_")
            parts = _text(1, field.where) + _text(2, field.message) + _text(3, reason)
            yield _bytes(1, parts)


def _duration(seconds: float) -> bytes:
    """A `google.protobuf.Duration`."""
    whole, part = divmod(round(seconds * 1000), 1000)
    return _number(1, whole) + _number(2, part * 1_000_000)


def _detail(name: str, message: bytes) -> bytes:
    """One of a status's details, a `google.protobuf.Any`."""
    return _bytes(3, _text(1, _TYPE + name) + _bytes(2, message))


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode("utf-8", "replace"))


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
