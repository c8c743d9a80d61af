"""What a client is told when its request breaks a limit of the engine, whichever engine it is.

Each sentence names the limit, its value and its setting.
"""

from base64 import b64encode
from collections.abc import Sequence

from kitfox.errors import ResourceExhausted
from kitfox.server.error_details import status_details
from kitfox.server.options import Options

__all__ = [
    "NOT_HTTP",
    "PATH_NOT_TEXT",
    "excess",
    "headers_too_large",
    "headers_too_slow",
    "holds_too_much",
    "retry_details",
    "stood_still",
    "too_many_headers",
]

NOT_HTTP = "the request is not valid HTTP"
PATH_NOT_TEXT = "the request's path is not UTF-8"


def headers_too_large(most: int) -> str:
    """For headers that are too large together."""
    return (
        f"the request's headers take more than {most} bytes together "
        "(setting server.max_header_size)"
    )


def too_many_headers(most: int) -> str:
    """For too many headers."""
    return f"the request has more than {most} headers (setting server.max_headers)"


def headers_too_slow(options: Options) -> str:
    """For headers that trickle."""
    return (
        f"the request's headers took more than {options.header_seconds:g} s to come "
        "(setting server.header_seconds)"
    )


def stood_still(options: Options) -> str:
    """For a request without a byte in either direction for too long."""
    return (
        f"nothing was sent or received for {options.stream_seconds:g} s "
        "(setting server.stream_idle_seconds)"
    )


def holds_too_much(options: Options) -> str:
    """For any request, while the engine holds too much for other ones."""
    return (
        f"the server holds more than {options.max_engine_bytes} bytes for its clients "
        "(setting server.max_engine_size)"
    )


def retry_details(text: str, seconds: int) -> str:
    """What else a gRPC call is told when it may be tried again, as `grpc-status-details-bin`.

    The id of the request is not in it: where this is made, it is not known.
    """
    details = status_details(ResourceExhausted(text, retry_after=seconds), "") or b""
    return b64encode(details).rstrip(b"=").decode()


def excess(path: str | bytes, headers: Sequence[tuple[bytes, bytes]], size: int, count: int) -> str:
    """Which limit a request's path and headers break, in a sentence; empty if none.

    Args:
        path: The request's.
        headers: The request's.
        size: The most bytes that they may take together.
        count: The most headers that there may be.
    """
    taken = len(path)
    for name, value in headers:
        taken += len(name) + len(value)
    if taken > size:
        return headers_too_large(size)
    return too_many_headers(count) if len(headers) > count else ""
