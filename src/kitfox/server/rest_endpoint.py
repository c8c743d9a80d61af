"""What REST's endpoints share: reading a request, writing a result, telling failures apart."""

import time
from functools import partial
from typing import Any, Generic, TypeVar

from kitfox import logs
from kitfox.config import Server
from kitfox.data import DataObjectBase, codec_of
from kitfox.errors import InvalidArgument, KitfoxError
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import (
    BodyTooLarge,
    HeaderDict,
    Receive,
    Scope,
    is_request_id,
    read_body,
)
from kitfox.server.calls import Call, Calls
from kitfox.server.compression import gunzip
from kitfox.server.conversions import QUICK
from kitfox.server.deadlines import timeout_of
from kitfox.server.failure import as_kitfox_error, serialize
from kitfox.server.media_types import JSON, is_form, is_gzip
from kitfox.server.rest_bodies import BodyReader
from kitfox.services.methods import BodyStyle, Context, Method, Route

__all__ = ["RestEndpoint"]

HandlerT = TypeVar("HandlerT")

log = logs.channel("REST")


class RestEndpoint(Generic[HandlerT]):
    """What endpoints of all call shapes share: reading a request, and telling failures apart.

    Args:
        method: The row of the method table; it has a route.
        handler: What does its work.
        settings: Where the limits are.
        calls: Keeps the calls in flight.
        metrics: Counts the calls.
    """

    def __init__(
        self,
        method: Method,
        handler: HandlerT,
        *,
        settings: Server,
        calls: Calls,
        metrics: CallMetrics,
    ) -> None:
        assert method.route is not None, method.name  # noqa: S101 -- the table's own promise
        self._method = method
        self._handler = handler
        self._route: Route = method.route
        self._reader = BodyReader(method, method.route, max_depth=settings.max_json_depth)
        self._encode = codec_of(method.response).encode_json
        self._settings = settings
        self._limit = settings.max_message_size
        self._digits = len(str(self._limit))
        self._quick = min(QUICK, self._limit)
        self._calls = calls
        self._metrics = metrics

    def _context(self, scope: Scope, headers: HeaderDict) -> Context:
        request_id = headers.get(b"x-request-id")
        if request_id is None or not is_request_id(request_id):
            return Context(metadata=scope["headers"])
        return Context(request_id=request_id.decode(), metadata=scope["headers"])

    def _set_deadline(self, context: Context, headers: HeaderDict) -> None:
        if (seconds := timeout_of(headers)) is not None:
            context.deadline = time.monotonic() + seconds

    async def _read(
        self, scope: Scope, headers: HeaderDict, receive: Receive, call: Call
    ) -> dict[str, Any]:
        """The fields of a request that is no stream."""
        if self._route.style is BodyStyle.QUERY:
            call.receive = receive
            return self._reader.read_query(scope["query_string"])
        kind = headers.get(b"content-type", b"")
        in_form = kind != JSON and is_form(kind)
        length = headers.get(b"content-length")
        if length is not None and len(length) >= self._digits:
            self._check_length(length)
        packed = b"content-encoding" in headers and is_gzip(headers[b"content-encoding"])
        call.body_seconds = self._settings.request_seconds
        message = await receive()
        body = message.get("body", b"")
        if not body or message.get("more_body") or len(body) > self._quick:
            body = await read_body(message, receive, self._limit, room=self._calls.body_room)
        call.receive = receive
        if packed:
            body = await gunzip(body, self._settings.max_decompressed_size)
        if len(body) > QUICK:
            read = partial(self._read_form, kind) if in_form else self._reader.read
            return await self._calls.conversions.run(read, body, call.context)
        if in_form:
            return self._reader.read_form(body, kind, call.context)
        return self._reader.read(body, call.context)

    def _read_form(self, kind: bytes, body: bytes, context: Context) -> dict[str, Any]:
        return self._reader.read_form(body, kind, context)

    def _check_length(self, length: bytes) -> None:
        """Refuses a body by what it is announced to be."""
        if not length.isdigit():
            raise InvalidArgument("content-length: expected a number of bytes")
        if len(length) > self._digits or int(length) > self._limit:
            raise BodyTooLarge("the request", self._limit, "server.max_message_size")

    def _failure(self, err: Exception, context: Context, started: float) -> KitfoxError:
        failure = as_kitfox_error(err, context, self._method.name)
        self._metrics.count(self._method.name, failure.code, context.model_id, started)
        return failure

    def _serialize(self, result: DataObjectBase) -> bytes:
        return serialize(self._encode, result, self._method.name)
