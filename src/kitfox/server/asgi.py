"""The few shapes of ASGI that are used here, and reading a body within a limit."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from kitfox.errors import Cancelled, ResourceExhausted

__all__ = ["Headers", "Message", "Receive", "Scope", "Send", "header", "read_body"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> bytes:
    """The first value of a header (name in lower case), or empty bytes."""
    for key, value in headers:
        if key == name:
            return value
    return b""


async def read_body(receive: Receive, limit: int, *, framing: int = 0) -> bytes:
    """The whole request body.

    Args:
        receive: ASGI's.
        limit: The most bytes to accept.
        framing: Bytes that the protocol adds to what the limit is for.

    Raises:
        ResourceExhausted: The body is larger than `limit`.
        Cancelled: The client went away.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while it sent its request")
        if len(body) > limit + framing:
            raise _too_large(limit)
        return body
    chunks = [body]
    size = len(body)
    while message.get("more_body"):
        if size > limit + framing:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while it sent its request")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
    if size > limit + framing:
        raise _too_large(limit)
    return b"".join(chunks)


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"the request is larger than {limit} bytes (setting server.max_message_size)"
    )
