"""What a client is told when its request breaks a limit of the engine, whichever engine it is.

Each sentence names the limit, its value and its setting.
"""

from collections.abc import Sequence

from kitfox.server.options import Options

__all__ = [
    "NOT_HTTP",
    "PATH_NOT_TEXT",
    "excess",
    "headers_too_large",
    "headers_too_slow",
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
