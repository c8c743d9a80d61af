"""REST's answers: JSON, text, and what a failed call is told.

Only here are HTTP's numbers. Error bodies have the shapes that caikit's clients parse:
`{"details", "code", "id"}`, with `additional_info` for a body that does not fit its schema; and
`{"detail"}` for a request that is refused before any method looks at it.
"""

import math
from typing import Any

import msgspec

from kitfox.errors import (
    Cancelled,
    Code,
    FieldError,
    KitfoxError,
    ResourceExhausted,
    ValidationError,
)
from kitfox.models import UploadTooLarge
from kitfox.server.asgi import BodyTooLarge, BodyTooSlow, HeaderDict, Send
from kitfox.server.compression import accepts_gzip, gzipped

__all__ = [
    "HTTP_STATUS",
    "PLAIN_HEADERS",
    "HeaderList",
    "HeadersTooLarge",
    "LargeAnswer",
    "Refusal",
    "failure_content",
    "send_body",
    "send_detail",
    "send_failure",
    "send_packed",
    "send_text",
]

HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.DATA_LOSS: 500,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_TRY_AGAIN = {429, 503}
_CONTENT_TYPE = (b"content-type", b"application/json")
_MOST_SHOWN = 256

PLAIN_HEADERS = 2
"""How many headers an answer has that is no file: its type, and the request's id."""

_encode = msgspec.json.Encoder(enc_hook=str).encode

HeaderList = list[tuple[bytes, bytes]]


class HeadersTooLarge(ResourceExhausted):
    """A request whose headers are too large, or too many."""


class Refusal(KitfoxError):
    """A request that is refused for its form: by its type, its method, its parts.

    Args:
        status: HTTP's number.
        detail: What was wrong.
        headers: That tell what would be right.
    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, status: int, detail: str, headers: HeaderList | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or []


async def send_body(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """Sends an answer that is there as a whole."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_packed(send: Send, headers: HeaderList, body: bytes, *, pack: bool) -> None:
    """Sends a large answer, which a client gets compressed if it takes that."""
    headers.append((b"vary", b"accept-encoding"))
    if pack:
        headers.append((b"content-encoding", b"gzip"))
        body = await gzipped(body)
    await send_body(send, 200, headers, body)


async def send_text(
    send: Send, status: int, text: str, kind: str = "text/plain", *, request_id: bytes = b""
) -> None:
    """Sends a text answer."""
    headers = [(b"content-type", f"{kind}; charset=utf-8".encode())]
    if request_id:
        headers.append((b"x-request-id", request_id))
    await send_body(send, status, headers, text.encode())


async def send_detail(
    send: Send, status: int, text: str, allow: str = "", *, request_id: bytes = b""
) -> None:
    """Sends the short error body of a request that met no method."""
    headers = [_CONTENT_TYPE]
    if allow:
        headers.append((b"allow", allow.encode()))
    if request_id:
        headers.append((b"x-request-id", request_id))
    await send_body(send, status, headers, _encode({"detail": text}))


async def send_failure(send: Send, failure: KitfoxError, request_id: str) -> None:
    """Sends what a failed call is told."""
    headers = [_CONTENT_TYPE, (b"x-request-id", request_id.encode())]
    if isinstance(failure, Refusal):
        headers += failure.headers
        await send_body(send, failure.status, headers, _encode({"detail": failure.message}))
        return
    content = failure_content(failure, request_id)
    if content["code"] in _TRY_AGAIN:
        headers.append((b"retry-after", b"%d" % _pause(failure)))
    await send_body(send, content["code"], headers, _encode(content))


def _pause(failure: KitfoxError) -> int:
    """For how many seconds a client is to wait before it tries again."""
    seconds = failure.retry_after if isinstance(failure, ResourceExhausted) else None
    return 1 if seconds is None else max(1, math.ceil(seconds))


# Failures for which HTTP has a number of its own.
_STATUS_BY_CLASS = {
    ValidationError: 422,
    BodyTooLarge: 413,
    UploadTooLarge: 413,
    BodyTooSlow: 408,
    HeadersTooLarge: 431,
}


def failure_content(failure: KitfoxError, request_id: str) -> dict[str, Any]:
    """The body of a failed call's answer; its `code` is the status."""
    content: dict[str, Any] = {"details": failure.message}
    if isinstance(failure, ValidationError):
        content["additional_info"] = [_field_content(item) for item in failure.fields]
    content["code"] = _STATUS_BY_CLASS.get(type(failure)) or HTTP_STATUS[failure.code]
    content["id"] = request_id
    return content


def _field_content(item: FieldError) -> dict[str, Any]:
    return {
        "type": item.kind,
        "loc": list(item.short_path),
        "msg": item.message,
        "input": _shown(item.value),
    }


def _shown(value: object) -> object:
    """A value as it may be repeated to its sender: as it is, if it is short."""
    match value:
        case str():
            return value[:_MOST_SHOWN]
        case None | bool() | float():
            return value
        case int():
            return value if abs(value) < 1 << 64 else str(value)[:_MOST_SHOWN]
        case _:
            return None


class LargeAnswer:
    """A large answer, as far as it has been sent.

    Args:
        send: ASGI's.
        headers: The answer's, but for its length.
        size: Of the body.
    """

    def __init__(self, send: Send, headers: HeaderList, *, size: int) -> None:
        self.is_started = False
        self._send = send
        self._headers = headers
        self._left = size

    def may_pack(self, request: HeaderDict) -> bool:
        """Whether it may be compressed: it is no file, and its client takes that."""
        if len(self._headers) != PLAIN_HEADERS:
            return False
        self._headers.append((b"vary", b"accept-encoding"))
        return accepts_gzip(request.get(b"accept-encoding", b""))

    async def pack(self, body: bytes) -> bytes:
        """The body, compressed."""
        packed = await gzipped(body)
        self._headers.append((b"content-encoding", b"gzip"))
        self._left = len(packed)
        return packed

    async def send(self, piece: bytes) -> None:
        """Sends a piece of the body, before the first one the headers."""
        try:
            if not self.is_started:
                self._headers.append((b"content-length", b"%d" % self._left))
                self.is_started = True
                await self._send(
                    {"type": "http.response.start", "status": 200, "headers": self._headers}
                )
            self._left -= len(piece)
            await self._send(
                {"type": "http.response.body", "body": piece, "more_body": self._left > 0}
            )
        except Exception as err:
            # Whatever class it is: each ASGI server has its own for a client that is gone.
            raise Cancelled("the client went away") from err
