"""The few shapes of ASGI that are used here, and reading a body within its limits."""

import random
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from kitfox.errors import TRY_AGAIN_SECONDS, Cancelled, DeadlineExceeded, ResourceExhausted
from kitfox.server.pieces import Pieces

__all__ = [
    "BY_NAME",
    "BodyRoom",
    "BodyTooLarge",
    "BodyTooSlow",
    "Endpoint",
    "HeaderDict",
    "Headers",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "given_request_id",
    "header",
    "header_dict",
    "is_request_id",
    "read_body",
    "request_id_of",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
HeaderDict: TypeAlias = dict[bytes, bytes]
Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""What answers a request."""

BY_NAME = "kitfox.headers"
"""Where a scope keeps its headers by name, once somebody has gone through them."""

_LONGEST_REQUEST_ID = 128


class BodyTooLarge(ResourceExhausted):
    """A request that is larger than it may be.

    Args:
        what: The thing that is too large, such as `the request`.
        limit: The most bytes.
        setting: What changes it.
    """

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(f"{what} is larger than {limit} bytes (setting {setting})")


class BodyTooSlow(DeadlineExceeded):
    """A request whose body did not come in in time.

    Args:
        seconds: The time that there was.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the body of the request did not come in within {seconds:g} s "
            "(setting server.request_seconds)"
        )


class BodyRoom:
    """The room for bodies that come in or go out piece by piece, all clients' together.

    Args:
        limit: The most bytes.
        refusal: What there is too much of, and the setting.
    """

    def __init__(
        self,
        limit: int,
        *,
        refusal: str = "bytes of requests are being collected and no more are taken "
        "(setting server.max_buffered_size)",
    ) -> None:
        self._limit = limit
        self._refusal = refusal
        self._held = 0

    def take(self, size: int) -> None:
        """Takes room for a piece.

        Raises:
            ResourceExhausted: There is none.
        """
        if self._held + size > self._limit:
            raise ResourceExhausted(
                f"{self._limit} {self._refusal}; try again later", TRY_AGAIN_SECONDS
            )
        self._held += size

    def give_back(self, size: int) -> None:
        """Gives it back: the body is complete, or given up."""
        self._held -= size


def header(headers: Headers, name: bytes) -> bytes:
    """The first value of a header (name in lower case), or empty bytes."""
    for key, value in headers:
        if key == name:
            return value
    return b""


def header_dict(scope: Scope) -> HeaderDict:
    """A request's headers by name (in lower case); of a name that is repeated, the last value."""
    found: HeaderDict | None = scope.get(BY_NAME)
    return dict(scope["headers"]) if found is None else found


def is_request_id(value: bytes) -> bool:
    """Whether a client's `x-request-id` is used: 1 to 128 printable ASCII characters, no spaces."""
    if not 0 < len(value) <= _LONGEST_REQUEST_ID or not value.isascii():
        return False
    return value.isalnum() or (value.decode().isprintable() and b" " not in value)


def request_id_of(scope: Scope) -> bytes:
    """The id of a request: what the client sent as `x-request-id`, or one that is made."""
    value = header(scope["headers"], b"x-request-id")
    return value if is_request_id(value) else b"%032x" % random.getrandbits(128)


def given_request_id(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The header by which a client that named its request has the name back, if it did."""
    value = header(headers, b"x-request-id")
    return [(b"x-request-id", value)] if is_request_id(value) else []


async def read_body(
    message: Message,
    receive: Receive,
    limit: int,
    *,
    framing: int = 0,
    room: BodyRoom | None = None,
) -> bytes:
    """The whole request body.

    Args:
        message: What `receive` gave first. Mostly that is all, and who looks at it before saves a
            coroutine.
        receive: ASGI's.
        limit: The most bytes to accept.
        framing: Bytes that the protocol adds to what the limit is for.
        room: Where the pieces of a body that comes in pieces are counted.

    Raises:
        BodyTooLarge: The body is larger than `limit`.
        ResourceExhausted: The bodies of all clients together are too large.
        Cancelled: The client went away.
    """
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        return await _collect(body, receive, limit + framing, limit, room or BodyRoom(limit << 1))
    if message["type"] == "http.disconnect":
        raise Cancelled("the client went away while it sent its request")
    if len(body) > limit + framing:
        raise BodyTooLarge("the request", limit, "server.max_message_size")
    return body


async def _collect(first: bytes, receive: Receive, most: int, limit: int, room: BodyRoom) -> bytes:
    """A body that comes in pieces; however small they are, they take no more room than it."""
    collected = Pieces()
    message: Message = {"body": first, "more_body": True}
    held = 0
    try:
        while True:
            piece: bytes = message.get("body", b"")
            if collected.size + len(piece) > most:
                raise BodyTooLarge("the request", limit, "server.max_message_size")
            room.take(len(piece))
            held += len(piece)
            collected.add(piece)
            if not message.get("more_body"):
                return collected.take()
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Cancelled("the client went away while it sent its request")
    finally:
        room.give_back(held)
