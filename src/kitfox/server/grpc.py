"""gRPC over ASGI: frames in, a handler's answer out, the outcome in the trailers.

Written from the protocol's own description (`PROTOCOL-HTTP2.md` of grpc). A call is one HTTP
request: each message is a five-byte frame head (compressed flag, length) and its bytes; the
status travels in HTTP trailers, or in the only header block when nothing else was sent.
"""

import asyncio
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kitfox import logs
from kitfox.data import codec_of
from kitfox.errors import (
    Code,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    KitfoxError,
    ResourceExhausted,
)
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import Headers, Receive, Scope, Send, read_body
from kitfox.server.failure import as_kitfox_error
from kitfox.services.methods import Context, Handler, Method

__all__ = ["GrpcMethod", "unimplemented"]

log = logs.channel("GRPC")

_HEADERS = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip")]
_START = {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
_OK_TRAILERS = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}
_EMPTY_BODY = {"type": "http.response.body", "body": b"", "more_body": False}
_FRAME_HEAD = struct.Struct(">BI")
_TIMEOUT_UNITS = {
    b"H": 3600.0,
    b"M": 60.0,
    b"S": 1.0,
    b"m": 1e-3,
    b"u": 1e-6,
    b"n": 1e-9,
}


def is_grpc(content_type: bytes) -> bool:
    """Whether a request with this content type speaks gRPC with protobuf messages."""
    return content_type == b"application/grpc" or content_type.startswith(
        (b"application/grpc+proto", b"application/grpc;")
    )


class GrpcMethod:
    """One unary method as a gRPC endpoint.

    Args:
        method: The row of the method table.
        handler: What does its work.
        limit: The most bytes of a message, compressed or not.
        metrics: Counts the calls.
    """

    def __init__(
        self, method: Method, handler: Handler, *, limit: int, metrics: CallMetrics
    ) -> None:
        self._method = method
        self._decode = codec_of(method.request).decode_fields
        self._encode = codec_of(method.response).encode
        self._handler = handler
        self._limit = limit
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = time.perf_counter()
        headers = scope["headers"]
        model_id = timeout = encoding = request_id = b""
        for key, value in headers:
            if key == b"mm-model-id":
                model_id = value
            elif key == b"grpc-timeout":
                timeout = value
            elif key == b"grpc-encoding":
                encoding = value
            elif key == b"x-request-id":
                request_id = value
        context = Context(
            model_id=model_id.decode("latin-1"), request_id=request_id.decode("latin-1")
        )
        context.metadata = _LazyMetadata(headers)
        try:
            body = await read_body(receive, self._limit, framing=_FRAME_HEAD.size)
            fields = self._decode(_unframe(body, encoding, self._limit))
            if timeout:
                result = await self._before(_seconds(timeout), fields, context)
            else:
                result = await self._handler(fields, context)
            payload = self._serialize(result)
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            failure = as_kitfox_error(err, context, self._method.path)
            self._metrics.count(self._method.name, failure.code, context.model_id, started)
            await send_status(send, failure.code, failure.message)
            return
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        await send(_START)
        await send(
            {
                "type": "http.response.body",
                "body": b"".join((_FRAME_HEAD.pack(0, len(payload)), payload)),
                "more_body": False,
            }
        )
        await send(_OK_TRAILERS)

    async def _before(self, seconds: float, fields: dict[str, Any], context: Context) -> Any:
        """The handler's answer, or DEADLINE_EXCEEDED when it does not come in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._handler(fields, context)
        except TimeoutError as err:
            raise DeadlineExceeded(
                f"the caller's deadline of {seconds:g} s passed before the answer was there"
            ) from err

    def _serialize(self, result: Any) -> bytes:
        try:
            return self._encode(result)
        except (TypeError, ValueError, AttributeError) as err:
            log.error(
                "%s: the result does not fit %s: %s",
                self._method.name,
                self._method.response.__name__,
                err,
                extra={"log_code": "<KFX30020E>"},
            )
            raise Internal("Could not serialize response") from err


async def unimplemented(send: Send, path: str) -> None:
    """Answers a call of a method that is not in the table."""
    await send_status(send, Code.UNIMPLEMENTED, f"Method not found: {path}")


async def send_status(send: Send, code: Code, message: str) -> None:
    """Ends a call before any message was sent: status and message in the only header block."""
    headers = [*_HEADERS, (b"grpc-status", str(int(code)).encode())]
    if message:
        headers.append((b"grpc-message", quote(message, safe=_UNQUOTED).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send(_EMPTY_BODY)


# Everything printable but the percent sign travels as it is.
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def _unframe(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The single message of a unary request."""
    if len(body) < _FRAME_HEAD.size:
        raise InvalidArgument(
            f"the request has {len(body)} bytes: expected one gRPC message with its 5-byte head"
        )
    compressed, size = _FRAME_HEAD.unpack_from(body)
    if size != len(body) - _FRAME_HEAD.size:
        raise InvalidArgument(
            f"the message's head announces {size} bytes, but "
            f"{len(body) - _FRAME_HEAD.size} follow: expected exactly one message"
        )
    message = body[_FRAME_HEAD.size :]
    if not compressed:
        return message
    if compressed != 1:
        raise InvalidArgument(f"compressed flag {compressed}: expected 0 or 1")
    if encoding != b"gzip":
        name = encoding.decode("latin-1") or "none"
        raise KitfoxError(
            f"message compression {name!r} is not supported: expected gzip or identity",
            code=Code.UNIMPLEMENTED,
        )
    return _gunzip(message, limit)


def _gunzip(message: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(message, limit + 1)
    except zlib.error as err:
        raise InvalidArgument(f"the message is not valid gzip: {err}") from err
    if len(plain) > limit:
        raise ResourceExhausted(
            f"the message has more than {limit} bytes when decompressed "
            "(setting server.max_message_size)"
        )
    if not stream.eof:
        raise InvalidArgument("the message's gzip data ends too early")
    return plain


def _seconds(timeout: bytes) -> float:
    unit = _TIMEOUT_UNITS.get(timeout[-1:])
    digits = timeout[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise InvalidArgument(
            f"grpc-timeout {timeout.decode('latin-1')!r}: expected up to 8 digits and "
            "one of H M S m u n"
        )
    return int(digits) * unit


class _LazyMetadata(Mapping[str, str]):
    """The request's headers as a mapping, made only when somebody looks."""

    __slots__ = ("_headers", "_values")

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._values: dict[str, str] | None = None

    def _read(self) -> dict[str, str]:
        if self._values is None:
            self._values = {
                key.decode("latin-1"): value.decode("latin-1") for key, value in self._headers
            }
        return self._values

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Any:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
