"""gRPC-Web: the gRPC endpoints for clients that cannot speak HTTP/2 trailers, such as browsers.

Written from the protocol's own description (`PROTOCOL-WEB.md` of grpc). A request is one of gRPC
under another content type, as base64 text if the client wants it so; in the answer the trailers are
the last frame of the body. So an endpoint of gRPC answers behind two converters, one before its
`receive` and one behind its `send`.
"""

import binascii
import re
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from kitfox.errors import InvalidArgument
from kitfox.server.asgi import BY_NAME, Message, Receive, Scope, Send, header

__all__ = ["grpc_web", "is_grpc_web"]

Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_BINARY = (b"application/grpc-web", b"application/grpc-web+proto")
_TEXT = (b"application/grpc-web-text", b"application/grpc-web-text+proto")
_TRAILERS = 0x80
# What of an answer's headers is the outcome, when nothing else was sent.
_OUTCOME = (b"grpc-status", b"grpc-message", b"grpc-status-details-bin")
_CHUNK = re.compile(rb"[^=]*={1,2}|[^=]+")


def is_grpc_web(content_type: bytes) -> bool:
    """Whether a request with this content type speaks gRPC-Web with protobuf messages."""
    return _bare(content_type) in (*_BINARY, *_TEXT)


async def grpc_web(endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a gRPC-Web request by an endpoint that speaks gRPC.

    Args:
        endpoint: The gRPC endpoint.
        scope: ASGI's, of the request; its content type is one of gRPC-Web.
        receive: ASGI's.
        send: ASGI's.
    """
    is_text = _bare(header(scope["headers"], b"content-type")) in _TEXT
    answer = _Answer(send, text=_wants_text(header(scope["headers"], b"accept"), is_text))
    # The length is that of the text.
    replaced = (b"content-type", b"content-length") if is_text else (b"content-type",)
    headers = [(key, value) for key, value in scope["headers"] if key not in replaced]
    headers.append((b"content-type", b"application/grpc+proto"))
    requests = _TextRequest(receive) if is_text else receive
    changed = {**scope, "headers": headers, BY_NAME: dict(headers)}
    await endpoint(changed, requests, answer)


def _bare(content_type: bytes) -> bytes:
    """The type without parameters."""
    return content_type.partition(b";")[0].strip().lower()


def _wants_text(accept: bytes, is_text: bool) -> bool:
    """Whether the answer shall be text: as the client accepts it, otherwise as it sent."""
    accepted = [_bare(item) for item in accept.split(b",")]
    if any(item in _TEXT for item in accepted):
        return True
    return is_text and not any(item in _BINARY for item in accepted)


class _TextRequest:
    """A `receive` that decodes base64, of which each chunk may have a padding of its own."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._rest = b""

    async def __call__(self) -> Message:
        event = await self._receive()
        if event["type"] != "http.request":
            return event
        text = self._rest + event.get("body", b"")
        more = event.get("more_body", False)
        whole = len(text) - len(text) % 4 if more else len(text)
        self._rest = text[whole:]
        return {**event, "body": _decoded(text[:whole])}


def _decoded(text: bytes) -> bytes:
    chunks = _CHUNK.findall(text)
    try:
        return b"".join(binascii.a2b_base64(chunk, strict_mode=True) for chunk in chunks)
    except binascii.Error as err:
        raise InvalidArgument(f"the request's text is not base64: {err}") from err


class _Answer:
    """A `send` that puts the trailers of an answer into its body, as the last frame.

    The outcome goes there as well when there are no messages, though the protocol would allow it in
    the headers: a page of another origin sees the body whatever headers are exposed to it.
    """

    def __init__(self, send: Send, *, text: bool) -> None:
        self._send = send
        self._text = text
        self._is_grpc = True
        self._has_trailers = False
        self._trailers: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                await self._start(message)
            case "http.response.body":
                await self._body(message)
            case "http.response.trailers":
                self._trailers.extend(message["headers"])
                if not message.get("more_trailers"):
                    await self._write(self._frame(), more=False)
            case _:
                await self._send(message)

    async def _start(self, message: Message) -> None:
        headers: list[tuple[bytes, bytes]] = list(message["headers"])
        self._has_trailers = message.get("trailers", False)
        self._is_grpc = header(headers, b"content-type").startswith(b"application/grpc")
        if self._is_grpc:
            self._trailers = [item for item in headers if item[0] in _OUTCOME]
            held = (b"content-type", *_OUTCOME)
            headers = [item for item in headers if item[0] not in held]
            kind = _TEXT if self._text else _BINARY
            headers.append((b"content-type", kind[1]))
        await self._send({"type": message["type"], "status": message["status"], "headers": headers})

    async def _body(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._is_grpc:  # refused before it came to gRPC
            await self._send(message)
        elif more or self._has_trailers:
            if body:
                await self._write(body, more=True)
        else:
            await self._write(body + self._frame(), more=False)

    def _frame(self) -> bytes:
        block = b"".join(b"%b: %b\r\n" % item for item in self._trailers)
        return struct.pack(">BI", _TRAILERS, len(block)) + block

    async def _write(self, data: bytes, *, more: bool) -> None:
        if self._text:
            data = b64encode(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
