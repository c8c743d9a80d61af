"""gRPC over ASGI: frames in, a handler's answers out, the outcome in the trailers.

Written from the protocol's own description (`PROTOCOL-HTTP2.md` of grpc). A call is one HTTP
request; the status travels in HTTP trailers, or in the only header block when nothing else was
sent.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kitfox.config import Server
from kitfox.data import codec_of
from kitfox.errors import Cancelled, Code, KitfoxError
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import (
    Message,
    Receive,
    Scope,
    Send,
    given_request_id,
    header_dict,
    is_request_id,
    read_body,
)
from kitfox.server.calls import Call, Calls
from kitfox.server.conversions import QUICK, QUICK_TO_UNPACK
from kitfox.server.deadlines import grpc_seconds
from kitfox.server.failure import as_kitfox_error, serialize
from kitfox.server.framing import (
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    frame,
    frame_compressed,
    read_messages,
    unframe,
)
from kitfox.server.grpc_status import (
    CONTENT_TYPE,
    EMPTY_BODY,
    HEADERS,
    detail_headers,
    send_status,
    status_headers,
)
from kitfox.server.grpc_web import grpc_web, is_grpc_web
from kitfox.server.large_answers import LARGE, LargeAnswers, Outflow
from kitfox.server.quick_calls import QuickCall, QuickWay
from kitfox.server.reply import SENT, Reply, ReplyForm, deliver_with, takes_any_thread
from kitfox.services.methods import (
    Context,
    Encode,
    Finished,
    FinishingHandler,
    GrpcContext,
    Handler,
    Method,
    Purpose,
    StreamHandler,
)

if TYPE_CHECKING:
    from kitfox.server._express import Held
    from kitfox.server.express import Express

__all__ = [
    "GrpcMethod",
    "GrpcStreamMethod",
    "grpc_endpoint",
    "is_grpc",
]

HandlerT = TypeVar("HandlerT")

_START = {"type": "http.response.start", "status": 200, "headers": HEADERS, "trailers": True}
_OK_TRAILERS = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}
_GZIP = (b"grpc-encoding", b"gzip")
_ACCEPT_ENCODING = b"grpc-accept-encoding"


def is_grpc(content_type: bytes) -> bool:
    """Whether a request with this content type speaks gRPC with protobuf messages."""
    return content_type == CONTENT_TYPE or content_type.startswith(
        (b"application/grpc+proto", b"application/grpc;")
    )


def grpc_endpoint(
    method: Method,
    handler: Handler | StreamHandler,
    *,
    settings: Server,
    calls: Calls,
    metrics: CallMetrics,
) -> "GrpcMethod | GrpcStreamMethod":
    """The endpoint of a method, with streams or without."""
    kind: Any = GrpcStreamMethod if method.is_streaming else GrpcMethod
    made: GrpcMethod | GrpcStreamMethod = kind(
        method, handler, settings=settings, calls=calls, metrics=metrics
    )
    return made


class _Head:
    """What a request's headers say."""

    __slots__ = ("context", "encoding", "headers", "is_grpc", "request_id")

    def __init__(self, scope: Scope) -> None:
        found = self.headers = header_dict(scope)
        kind = found.get(b"content-type", b"")
        self.is_grpc = kind == CONTENT_TYPE or is_grpc(kind)
        self.encoding = found.get(b"grpc-encoding", b"")
        request_id = found.get(b"x-request-id", b"")
        self.request_id = request_id if request_id and is_request_id(request_id) else b""
        self.context = GrpcContext(
            model_id=found.get(b"mm-model-id", b"").decode("latin-1"),
            request_id=self.request_id.decode(),
            metadata=scope["headers"],
        )

    def set_deadline(self) -> None:
        """Gives the context its deadline, counted from now.

        Raises:
            InvalidArgument: The header cannot be read.
        """
        timeout = self.headers.get(b"grpc-timeout")
        if timeout:
            self.context.deadline = time.monotonic() + grpc_seconds(timeout)

    @property
    def compresses(self) -> bool:
        """Whether to compress the answer: the client compressed its request, and would read it."""
        return self.encoding == b"gzip" and b"gzip" in self.headers.get(_ACCEPT_ENCODING, b"")

    def answer_headers(self, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """The headers of the answer: the request's id goes back to a client that sent one."""
        headers = [*HEADERS, *more]
        if self.request_id:
            headers.append((b"x-request-id", self.request_id))
        return headers


class _Endpoint(Generic[HandlerT]):
    """What endpoints of all call shapes share.

    Args:
        method: The row of the method table.
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
        self._method = method
        self._handler = handler
        self._decode = codec_of(method.request).decode_fields
        self._encode = codec_of(method.response).encode
        self._settings = settings
        self._body_seconds = settings.request_seconds
        self._quick = min(QUICK, settings.max_message_size + FRAME_HEAD_SIZE)
        self._calls = calls
        self._metrics = metrics

    async def _body(self, message: Message, receive: Receive) -> bytes:
        """The body of a request that is no stream, when its first piece is not all of it."""
        limit, room = self._settings.max_message_size, self._calls.body_room
        return await read_body(message, receive, limit, framing=FRAME_HEAD_SIZE, room=room)

    def _read(self, body: bytes, encoding: bytes) -> dict[str, Any]:
        """The fields of a body's only message."""
        return self._decode(unframe(body, encoding, self._settings))

    def _failure(self, err: Exception, head: _Head) -> KitfoxError:
        return as_kitfox_error(err, head.context, self._method.path)

    def _count(self, code: Code, head: _Head, started: float) -> None:
        self._metrics.count(self._method.name, code, head.context.model_id, started)


class GrpcMethod(_Endpoint[Handler]):
    """A method without streams as a gRPC endpoint."""

    def __init__(
        self,
        method: Method,
        handler: Handler,
        *,
        settings: Server,
        calls: Calls,
        metrics: CallMetrics,
    ) -> None:
        super().__init__(method, handler, settings=settings, calls=calls, metrics=metrics)
        # Where results are made in threads.
        made: object = handler
        finishing = made if isinstance(made, FinishingHandler) else None
        self._finished = finishing.finished if finishing else None
        self._reply_form = ReplyForm(
            encode=self._encode,
            most=LARGE,
            messages=_small_answer,
            count=partial(self._count, Code.OK),
        )
        self.quick: QuickWay | None = (
            QuickWay(
                answer=self,
                read=self._read_quick,
                most=self._quick,
                handler=finishing,
                form=self._reply_form,
                calls=calls,
            )
            if finishing
            else None
        )
        """The way of its quick calls, if there can be any."""

    def begin(self, scope: Scope, held: "Held", express: "Express") -> bool:
        """Begins a call in any thread, if it may be a quick one."""
        way, head = self.quick, _Head(scope)
        if way is None or not head.is_grpc or head.headers.get(b"te") != b"trailers":
            return False
        return QuickCall(way, scope, held, express, context=head.context, known=head).begin()

    def _read_quick(self, body: bytes, context: Context) -> dict[str, Any]:
        return self._read(body, b"")

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, resumed: QuickCall | None = None
    ) -> None:
        """Answers one request, or what is left to do of a quick call."""
        started = time.perf_counter() if resumed is None else resumed.started
        head: _Head = _Head(scope) if resumed is None else resumed.known
        if not head.is_grpc:
            await _answer_other(self, head, scope, receive, send)
            return
        context, answer = head.context, None
        reply: Reply[_Head] | None = None
        try:
            if b"grpc-timeout" in head.headers:
                head.set_deadline()
            with self._calls.open(context, again=resumed is not None) as call:
                if resumed is not None:
                    resumed.leave()
                    call.receive = receive
                    result = resumed.outcome()
                else:
                    fields = await self._fields(head, receive, call)
                    if self._finished is None or head.encoding or not takes_any_thread(send):
                        result = await self._handler(fields, context)
                    else:
                        reply = Reply(self._reply_form, deliver_with(send), call, head, started)
                        result = await self._finished(fields, context, reply.finish)
                        if result is SENT:
                            return
                    del fields
                if isinstance(result, Finished):
                    payload = result.payload or b""
                else:
                    payload = serialize(self._encode, result, self._method.name)
                if len(payload) > LARGE:
                    # What it was made of is not kept as long as it is sent.
                    del result
                    answer = _Answer(send, head, [])
                    await answer.send_large(payload, self._calls.large_answers, receive)
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            payload = b""  # not kept while nobody takes what is sent now
            if reply is not None and not reply.claim():
                await reply.over()
                return
            failure = self._failure(err, head)
            self._count(failure.code, head, started)
            details = detail_headers(failure, context.request_id)
            if answer is not None:
                await answer.end(failure.code, failure.message, details)
                return
            headers = head.answer_headers(*details)
            await send_status(send, failure.code, failure.message, headers)
            return
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        if answer is not None:
            await answer.end(Code.OK, "")
            return
        packed = bool(head.encoding) and head.compresses
        for message in (_packed_answer if packed else _small_answer)(head, payload):
            await send(message)

    async def _fields(self, head: _Head, receive: Receive, call: Call) -> dict[str, Any]:
        """What a request says."""
        call.body_seconds = self._body_seconds
        message = await receive()
        body = message.get("body", b"")
        quick = body and not message.get("more_body") and len(body) <= self._quick
        if quick and head.encoding != b"gzip":
            call.receive = receive
            return self._decode(unframe(body, head.encoding, self._settings))
        body = await self._body(message, receive)
        call.receive = receive
        if len(body) <= (QUICK_TO_UNPACK if head.encoding else QUICK):
            return self._read(body, head.encoding)
        return await self._calls.conversions.run(self._read, body, head.encoding)


def _start(head: _Head) -> Message:
    return {**_START, "headers": head.answer_headers()} if head.request_id else _START


def _small_answer(head: _Head, payload: bytes) -> tuple[Message, Message, Message]:
    """An answer that went well, not compressed."""
    body = FRAME_HEAD.pack(0, len(payload)) + payload
    message = {"type": "http.response.body", "body": body, "more_body": False}
    return _start(head), message, _OK_TRAILERS


def _packed_answer(head: _Head, payload: bytes) -> tuple[Message, Message, Message]:
    start = {**_START, "headers": head.answer_headers(_GZIP)}
    body = frame_compressed(payload)
    return start, {"type": "http.response.body", "body": body, "more_body": False}, _OK_TRAILERS


class GrpcStreamMethod(_Endpoint[StreamHandler]):
    """A method with a stream of requests, of responses, or of both as a gRPC endpoint."""

    def __init__(
        self,
        method: Method,
        handler: StreamHandler,
        *,
        settings: Server,
        calls: Calls,
        metrics: CallMetrics,
    ) -> None:
        super().__init__(method, handler, settings=settings, calls=calls, metrics=metrics)
        both = method.input_streaming and method.output_streaming
        both = both and method.purpose is Purpose.INFERENCE
        # Clients of such calls wait for it before they send.
        self._acknowledgement = [(b"acknowledgement", b"ok")] if both else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        started = time.perf_counter()
        head = _Head(scope)
        if not head.is_grpc:
            await _answer_other(self, head, scope, receive, send)
            return
        answer = _Answer(send, head, self._acknowledgement)
        outflow = Outflow(self._calls.large_answers, receive)
        try:
            head.set_deadline()
            with self._calls.open(head.context) as call:
                if self._acknowledgement:
                    await answer.start()
                    # An ASGI server holds the headers back until there is something of the body.
                    await answer.send(b"")
                await self._run(head, receive, call, answer, outflow)
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            failure = self._failure(err, head)
            self._count(failure.code, head, started)
            details = detail_headers(failure, head.context.request_id)
            await answer.end(failure.code, failure.message, details)
            return
        finally:
            outflow.close()
        self._count(Code.OK, head, started)
        await answer.end(Code.OK, "")

    async def _run(
        self, head: _Head, receive: Receive, call: Call, answer: "_Answer", outflow: Outflow
    ) -> None:
        requests = self._requests(head, receive, call)
        encode = self._compressed if head.compresses else self._framed
        batches = self._handler(requests, head.context, decode=self._decode, encode=encode)
        async with aclosing(requests), aclosing(batches):
            async for batch in batches:
                await outflow.send(b"".join(batch), answer.send)

    def _requests(self, head: _Head, receive: Receive, call: Call) -> AsyncGenerator[bytes, None]:
        if not self._method.input_streaming:
            return self._request(head, receive, call)
        return read_messages(
            receive,
            encoding=head.encoding,
            settings=self._settings,
            room=self._calls.body_room,
            on_end=partial(setattr, call, "receive", receive),
        )

    async def _request(
        self, head: _Head, receive: Receive, call: Call
    ) -> AsyncGenerator[bytes, None]:
        call.body_seconds = self._body_seconds
        body = await self._body(await receive(), receive)
        call.receive = receive
        if head.encoding and len(body) > QUICK_TO_UNPACK:
            yield await asyncio.to_thread(unframe, body, head.encoding, self._settings)
        else:
            yield unframe(body, head.encoding, self._settings)

    @property
    def _framed(self) -> Encode:
        encode = self._encode
        return lambda result: frame(encode(result))

    @property
    def _compressed(self) -> Encode:
        encode = self._encode
        return lambda result: frame_compressed(encode(result))


class _Answer:
    """The answer to one call with streams, as far as it has been sent."""

    def __init__(self, send: Send, head: _Head, metadata: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._head = head
        self._metadata = metadata
        self._started = False

    async def send_large(self, payload: bytes, large: LargeAnswers, receive: Receive) -> None:
        """Sends a large message piece by piece."""
        if self._head.compresses:
            await large.send(payload, self.send, receive=receive, pack=_packed)
        else:
            head = FRAME_HEAD.pack(0, len(payload))
            await large.send(payload, self.send, receive=receive, head=head)

    async def start(self) -> None:
        """Sends the headers."""
        self._started = True
        more = [*self._metadata, _GZIP] if self._head.compresses else self._metadata
        await self._deliver({**_START, "headers": self._head.answer_headers(*more)})

    async def send(self, frames: bytes) -> None:
        """Sends messages that are ready together."""
        if not self._started:
            await self.start()
        await self._deliver({"type": "http.response.body", "body": frames, "more_body": True})

    async def _deliver(self, message: Message) -> None:
        try:
            await self._send(message)
        except Exception as err:
            # Whatever class it is: each ASGI server has its own for a client that is gone.
            raise Cancelled("the client went away") from err

    async def end(
        self, code: Code, message: str, details: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Sends the outcome; in vain if nobody is there to read it."""
        with suppress(Exception):
            if not self._started:
                headers = self._head.answer_headers(*details)
                await send_status(self._send, code, message, headers)
                return
            await self._send(EMPTY_BODY)
            trailers = {
                "type": "http.response.trailers",
                "headers": [*status_headers(code, message), *details],
            }
            await self._send({**trailers, "more_trailers": False})


async def _packed(payload: bytes) -> bytes:
    return await asyncio.to_thread(frame_compressed, payload)


async def _answer_other(
    endpoint: "GrpcMethod | GrpcStreamMethod",
    head: _Head,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answers a request that is not of gRPC itself: of gRPC-Web, or refused."""
    if is_grpc_web(head.headers.get(b"content-type", b"")):
        await grpc_web(endpoint, scope, receive, send)
        return
    headers = given_request_id(scope["headers"])
    await send({"type": "http.response.start", "status": 415, "headers": headers})
    await send(EMPTY_BODY)
