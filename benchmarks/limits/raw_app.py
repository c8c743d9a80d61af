"""An ASGI application without any work: prepared bytes, so the limit of what lies below Kitfox."""

from collections.abc import Awaitable, Callable
from typing import Any

from kitfox.server import _status

MESSAGES = 500

GRPC = [(b"content-type", b"application/grpc")]
JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
TRAILERS = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}


def framed(text: bytes) -> bytes:
    """A message with the text in field 1, as gRPC sends it."""
    message = b"\n" + bytes([len(text)]) + text
    return b"\0" + len(message).to_bytes(4, "big") + message


HELLO = framed(b"Hello World")
GREETINGS = [framed(b"Hello World %d" % number) for number in range(MESSAGES)]
SENT = [b'data: {"greeting":"Hello World %d"}\n\n' % number for number in range(MESSAGES)]

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """Answers a call, or a stream with one `send` a message."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    rest, many = scope["path"].startswith("/api"), "reet" in scope["path"]
    headers = (EVENTS if many else JSON) if rest else GRPC
    await send(
        {"type": "http.response.start", "status": 200, "headers": headers, "trailers": not rest}
    )
    if many:
        for part in SENT if rest else GREETINGS:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        body = b'{"greeting":"Hello World"}' if rest else HELLO
        await send({"type": "http.response.body", "body": body, "more_body": False})
    if not rest:
        await send(TRAILERS)


async def lifespan(receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """Start and stop."""
    await receive()
    _status.report_ready({})
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
