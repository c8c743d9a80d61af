"""REST's streams: lines of JSON in, events or lines of JSON out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, closing, suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from kitfox.config import Server
from kitfox.errors import Code, InvalidArgument, KitfoxError, ValidationError
from kitfox.metrics import CallMetrics
from kitfox.server.answers import HeaderList, LargeAnswer, Refusal, send_body, send_failure
from kitfox.server.asgi import HeaderDict, Receive, Scope, Send, header_dict
from kitfox.server.calls import Call, Calls
from kitfox.server.event_stream import PING_SECONDS, EventStream, StreamFormat, stream_format
from kitfox.server.json_lines import JsonLines
from kitfox.server.large_answers import LARGE, LargeAnswers, Outflow
from kitfox.server.media_types import (
    EVENT_STREAM,
    FORM,
    JSON,
    JSON_LINES,
    base_type,
    choose,
    is_gzip,
    unsupported,
)
from kitfox.server.rest_bodies import BodyReader
from kitfox.server.rest_endpoint import RestEndpoint
from kitfox.services.methods import Context, Method, StreamHandler

__all__ = ["RestStreamMethod", "SingleRequest"]

_CONTENT_TYPE = (b"content-type", JSON)


class RestStreamMethod(RestEndpoint[StreamHandler]):
    """A method with a stream of requests, of responses, or of both as a REST endpoint.

    Args:
        method, handler, settings, calls, metrics: As those of `RestEndpoint`.
        ping_seconds: How long an answer may be silent.
    """

    def __init__(
        self,
        method: Method,
        handler: StreamHandler,
        *,
        settings: Server,
        calls: Calls,
        metrics: CallMetrics,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        super().__init__(method, handler, settings=settings, calls=calls, metrics=metrics)
        self._ping_seconds = ping_seconds
        self._offers = (EVENT_STREAM, *JSON_LINES) if method.output_streaming else (JSON,)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        started = time.perf_counter()
        headers = header_dict(scope)
        context = self._context(scope, headers)
        large = self._calls.large_answers
        answer: EventStream | _SingleAnswer = (
            EventStream(
                send, context, outflow=Outflow(large, receive), ping_seconds=self._ping_seconds
            )
            if self._method.output_streaming
            else _SingleAnswer(send, receive, context, large)
        )
        try:
            kind = self._answer_type(headers)
            self._set_deadline(context, headers)
            with self._calls.open(context) as call:
                requests = await self._requests(scope, headers, receive, call)
                with closing(requests):
                    await self._run(requests, context, answer, stream_format(kind))
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            await answer.fail(self._failure(err, context, started))
            return
        finally:
            answer.close()
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        await answer.end()

    def _answer_type(self, headers: HeaderDict) -> bytes:
        kind = choose(headers.get(b"accept", b"*/*"), self._offers)
        if kind is None:
            offers = " or ".join(offer.decode() for offer in self._offers[:2])
            raise Refusal(406, f"Not acceptable: the answer is {offers}.")
        return kind

    async def _run(
        self,
        requests: "SingleRequest | _Lines",
        context: Context,
        answer: "EventStream | _SingleAnswer",
        form: StreamFormat,
    ) -> None:
        streams = self._method.output_streaming
        encode = form.encoder(self._encode) if streams else self._serialize
        answer.open(form)
        batches = self._handler(requests, context, decode=requests.decode, encode=encode)
        async with aclosing(batches):
            async for batch in batches:
                await answer.send(b"".join(batch))

    async def _requests(
        self, scope: Scope, headers: HeaderDict, receive: Receive, call: Call
    ) -> "SingleRequest | _Lines":
        """The messages for the handler, as far as they must be read before it begins."""
        if not self._method.input_streaming:
            return SingleRequest(await self._read(scope, headers, receive, call))
        context = call.context
        _check_lines(headers)
        context.model_id = _model_id(scope, headers)
        lines = JsonLines(
            receive,
            limit=self._limit,
            room=self._calls.body_room,
            on_end=partial(setattr, call, "receive", receive),
            # Not at once: a task that reads the lines itself is told by an exception.
            on_gone=lambda why: asyncio.get_running_loop().call_soon(context.cancel, why),
        )
        requests = _Lines(lines, self._reader, context)
        try:
            if not context.model_id:
                await requests.read_model_id()
        except BaseException:
            requests.close()
            raise
        return requests


class SingleRequest(AsyncIterator[bytes]):
    """The one message of a call without a stream of requests; it has been read already."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self._taken = False

    async def __anext__(self) -> bytes:
        if self._taken:
            raise StopAsyncIteration
        self._taken = True
        return b""

    def decode(self, message: bytes) -> dict[str, Any]:
        """Its fields."""
        return self._fields

    def close(self) -> None:
        """Nothing to do."""


class _Lines(AsyncIterator[bytes]):
    """The messages of a stream of requests.

    Args:
        lines: Where they come from.
        reader: Reads each.
        context: The call's.
    """

    def __init__(self, lines: JsonLines, reader: BodyReader, context: Context) -> None:
        self._lines = lines
        self._reader = reader
        self._context = context

    async def __anext__(self) -> bytes:
        return await anext(self._lines)

    def decode(self, line: bytes) -> dict[str, Any]:
        """The fields of a line; in a model's thread."""
        return self._read(line, self._lines.take_number())

    async def read_model_id(self) -> None:
        """Finds in the first line which model the stream is for."""
        first = await self._lines.first()
        if first is None:
            raise InvalidArgument("the stream of requests was empty; expected at least one line")
        self._read(first, self._lines.number)

    def close(self) -> None:
        """Gives up what has come of a line."""
        self._lines.close()

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return self._reader.read_line(line, self._context)
        except ValidationError as err:
            raise err.below(f"line {number}") from err
        except InvalidArgument as err:
            raise InvalidArgument(f"line {number}: {err.message}") from err


class _SingleAnswer:
    """The answer to a call with a stream of requests and a single result."""

    def __init__(
        self, send: Send, receive: Receive, context: Context, large_answers: LargeAnswers
    ) -> None:
        self._send = send
        self._receive = receive
        self._context = context
        self._large_answers = large_answers
        self._result = b""
        self._large: LargeAnswer | None = None

    def open(self, form: StreamFormat) -> None:
        """Nothing to do: it is always JSON."""

    async def send(self, result: bytes) -> None:
        """Keeps the result until nothing more can fail; sends it if it is large."""
        if len(result) <= LARGE:
            self._result = result
            return
        self._large = LargeAnswer(self._send, self._headers(), size=len(result))
        await self._large_answers.send(result, self._large.send, receive=self._receive)

    async def fail(self, failure: KitfoxError) -> None:
        """Sends a failure; in vain if nobody is there to read it."""
        if self._large is None or not self._large.is_started:
            with suppress(Exception):
                await send_failure(self._send, failure, self._context.request_id)

    async def end(self) -> None:
        """Sends the result; in vain if nobody is there to read it."""
        if self._large is None:
            with suppress(Exception):
                await send_body(self._send, 200, self._headers(), self._result)

    def close(self) -> None:
        """Nothing to do."""

    def _headers(self) -> HeaderList:
        return [_CONTENT_TYPE, (b"x-request-id", self._context.request_id.encode())]


def _model_id(scope: Scope, headers: HeaderDict) -> str:
    """The model as a header or the query names it, for a stream of requests."""
    if (value := headers.get(b"mm-model-id")) is not None:
        return value.decode("latin-1")
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("model_id", [""])[0]


def _check_lines(headers: HeaderDict) -> None:
    """Refuses what is no stream of lines."""
    kind = headers.get(b"content-type", b"")
    if base_type(kind) in (JSON, FORM):
        # For such bodies there is no route, as in caikit.
        raise Refusal(404, "Not Found")
    if base_type(kind) not in JSON_LINES:
        raise unsupported(kind, JSON_LINES[0])
    if b"content-encoding" in headers:
        is_gzip(headers[b"content-encoding"], offered=False)
