"""REST: a method of the table as an HTTP endpoint.

A request's body or query becomes the fields of the method (`rest_bodies`), its handler's result a
JSON answer, a file, a stream of events (`rest_streams`) or a download (`rest_downloads`); what goes
wrong becomes a status and a body (`answers`).
"""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kitfox.config import Server
from kitfox.errors import Code
from kitfox.metrics import CallMetrics
from kitfox.server.answers import (
    PLAIN_HEADERS,
    HeaderList,
    LargeAnswer,
    Refusal,
    send_failure,
    send_packed,
)
from kitfox.server.asgi import Message, Receive, Scope, Send, header_dict
from kitfox.server.calls import Calls
from kitfox.server.compression import WORTH_COMPRESSING, accepts_gzip
from kitfox.server.file_answers import file_answer
from kitfox.server.large_answers import LARGE
from kitfox.server.media_types import JSON, choose
from kitfox.server.quick_calls import QuickCall, QuickWay
from kitfox.server.reply import SENT, Reply, ReplyForm, deliver_with, takes_any_thread
from kitfox.server.rest_downloads import RestDownloadMethod
from kitfox.server.rest_endpoint import RestEndpoint, log
from kitfox.server.rest_streams import RestStreamMethod
from kitfox.server.rest_uploads import RestUploadMethod
from kitfox.services.methods import (
    BodyStyle,
    Context,
    Finished,
    FinishingHandler,
    Handler,
    Method,
    StreamHandler,
)

if TYPE_CHECKING:
    from kitfox.server._express import Held
    from kitfox.server.express import Express

__all__ = [
    "RestDownloadMethod",
    "RestMethod",
    "RestStreamMethod",
    "rest_endpoint",
]

_CONTENT_TYPE = (b"content-type", JSON)
_ANYTHING = (None, b"*/*", JSON)


def rest_endpoint(
    method: Method,
    handler: Handler | StreamHandler,
    *,
    settings: Server,
    calls: Calls,
    metrics: CallMetrics,
) -> "RestMethod | RestStreamMethod | RestDownloadMethod":
    """The endpoint of a method that has a route, with streams or without."""
    kind: Any = RestStreamMethod if method.is_streaming else RestMethod
    kind = RestDownloadMethod if method.is_download else kind
    kind = RestUploadMethod if method.is_upload else kind
    made: RestMethod | RestStreamMethod | RestDownloadMethod = kind(
        method, handler, settings=settings, calls=calls, metrics=metrics
    )
    return made


class RestMethod(RestEndpoint[Handler]):
    """A method without streams as a REST endpoint."""

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
            most=WORTH_COMPRESSING - 1,
            messages=_small_answer,
            count=self._count,
        )
        quick = finishing if self._route.style is BodyStyle.INFERENCE else None
        self.quick: QuickWay | None = (
            QuickWay(
                answer=self,
                read=self._reader.read,
                most=self._quick,
                handler=quick,
                form=self._reply_form,
                calls=calls,
            )
            if quick
            else None
        )
        """The way of its quick calls, if there can be any."""
        self._is_file = method.response.supports_file_operations

    def begin(self, scope: Scope, held: "Held", express: "Express") -> bool:
        """Begins a call in any thread, if it may be a quick one."""
        way, headers = self.quick, header_dict(scope)
        if (
            way is None
            or headers.get(b"content-type") != JSON
            or headers.get(b"accept") not in _ANYTHING
        ):
            return False
        context = self._context(scope, headers)
        return QuickCall(way, scope, held, express, context=context, known=context).begin()

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, resumed: QuickCall | None = None
    ) -> None:
        """Answers one request, or what is left to do of a quick call."""
        started = time.perf_counter() if resumed is None else resumed.started
        headers = header_dict(scope)
        context = self._context(scope, headers) if resumed is None else resumed.context
        answer_headers, payload = [_CONTENT_TYPE], b""
        large: LargeAnswer | None = None
        reply: Reply[Context] | None = None
        try:
            if headers.get(b"accept") not in _ANYTHING:
                self._check_accept(headers[b"accept"])
            if b"request-timeout" in headers or b"grpc-timeout" in headers:
                self._set_deadline(context, headers)
            with self._calls.open(context, again=resumed is not None) as call:
                if resumed is not None:
                    resumed.leave()
                    call.receive = receive
                    result = resumed.outcome()
                else:
                    fields = await self._read(scope, headers, receive, call)
                    if self._finished is None or not takes_any_thread(send):
                        result = await self._handler(fields, context)
                    else:
                        reply = Reply(self._reply_form, deliver_with(send), call, context, started)
                        result = await self._finished(fields, context, reply.finish)
                        if result is SENT:
                            return
                    del fields
                if isinstance(result, Finished):
                    payload = result.payload or b""
                elif result.supports_file_operations:
                    answer_headers, payload = await file_answer(result)
                else:
                    payload = self._serialize(result)
                if len(payload) > LARGE:
                    # What it was made of is not kept as long as it is sent.
                    del result
                    answer_headers.append((b"x-request-id", context.request_id.encode()))
                    large = LargeAnswer(send, answer_headers, size=len(payload))
                    work = large.pack if large.may_pack(headers) else None
                    await self._calls.large_answers.send(
                        payload, large.send, receive=receive, pack=work
                    )
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            payload = b""  # not kept while nobody takes what is sent now
            if reply is not None and not reply.claim():
                await reply.over()
                return
            failure = self._failure(err, context, started)
            if large is None or not large.is_started:
                with suppress(Exception):  # nobody may be there to read it
                    await send_failure(send, failure, context.request_id)
            return
        self._count(context, started)
        if large is not None:
            return
        answer_headers.append((b"x-request-id", context.request_id.encode()))
        try:
            if len(payload) < WORTH_COMPRESSING or len(answer_headers) != PLAIN_HEADERS:
                # `send_body`, without a further coroutine for the many small answers.
                for message in _whole_answer(answer_headers, payload):
                    await send(message)
            else:
                pack = accepts_gzip(headers.get(b"accept-encoding", b""))
                await send_packed(send, answer_headers, payload, pack=pack)
        except Exception as err:  # noqa: BLE001 -- each ASGI server has its own for this
            log.debug("%s: the client was gone before the answer: %s", self._method.name, err)

    def _count(self, context: Context, started: float) -> None:
        """Counts a call that went well."""
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)

    def _check_accept(self, accept: bytes) -> None:
        if not self._is_file and choose(accept, (JSON,)) is None:
            raise Refusal(406, "Not acceptable: the answer is application/json.")


def _small_answer(context: Context, payload: bytes) -> tuple[Message, Message]:
    return _whole_answer([_CONTENT_TYPE, (b"x-request-id", context.request_id.encode())], payload)


def _whole_answer(headers: HeaderList, payload: bytes) -> tuple[Message, Message]:
    """The messages of an answer; its length joins its headers."""
    headers.append((b"content-length", b"%d" % len(payload)))
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": payload, "more_body": False}
