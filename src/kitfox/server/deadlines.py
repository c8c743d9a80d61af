"""How long a caller waits, as its request's headers say."""

from collections.abc import Mapping

from kitfox.errors import InvalidArgument

__all__ = ["grpc_seconds", "timeout_of"]

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_DIGITS = 8
_MOST_SECONDS = 1e9


def grpc_seconds(timeout: bytes) -> float:
    """The seconds of a header `grpc-timeout`, such as `250m`.

    Raises:
        InvalidArgument: It cannot be read.
    """
    unit = _UNITS.get(timeout[-1:])
    digits = timeout[:-1]
    if unit is None or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise InvalidArgument(
            f"grpc-timeout {timeout.decode('latin-1')!r}: expected up to 8 digits and "
            "one of H M S m u n"
        )
    return int(digits) * unit


def timeout_of(headers: Mapping[bytes, bytes]) -> float | None:
    """How many seconds a REST caller waits; None when it does not say.

    It says so by `request-timeout`, in seconds, or by `grpc-timeout`, as in gRPC.

    Raises:
        InvalidArgument: The header cannot be read.
    """
    value = headers.get(b"request-timeout")
    if value is None:
        value = headers.get(b"grpc-timeout")
        return None if value is None else grpc_seconds(value)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise InvalidArgument(
            f"request-timeout {value.decode('latin-1')!r}: expected seconds, such as 2.5"
        )
    return seconds
