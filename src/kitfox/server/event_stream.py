"""Answers that are streams: server-sent events, or one JSON value a line.

The answer begins with its first results, so that a failure before them has a status of its own.
What fails later is the stream's last event. Silences are filled with what readers pass over.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from kitfox.errors import Cancelled, KitfoxError
from kitfox.server.answers import failure_content, send_failure
from kitfox.server.asgi import Send
from kitfox.server.large_answers import Outflow
from kitfox.server.media_types import EVENT_STREAM, JSON_LINES
from kitfox.services.methods import Context, Encode

__all__ = ["PING_SECONDS", "EventStream", "StreamFormat", "stream_format"]

PING_SECONDS = 15.0
"""After so long a silence, the client is shown that the server is there."""

_PATIENCE_SECONDS = 1.0
_encode = msgspec.json.Encoder(enc_hook=str).encode
# Line ends to some readers, though not to the standard.
_LINE_ENDS = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFormat:
    """How results and failures are written."""

    content_type: bytes
    result: Callable[[bytes], bytes]
    """Frames a result's JSON."""
    failure: Callable[[dict[str, Any]], bytes]
    """Writes the failure that ends the stream."""
    ping: bytes
    """What readers pass over."""

    def encoder(self, encode: Encode) -> Encode:
        """Writes results, given what writes their JSON."""
        frame = self.result
        return lambda result: frame(encode(result))


def _event(data: bytes) -> bytes:
    return b"event: message\r\ndata: " + _one_line(data) + b"\r\n\r\n"


def _error_event(content: dict[str, Any]) -> bytes:
    return b"event: error\r\ndata: " + _one_line(_encode(content)) + b"\r\n\r\n"


def _one_line(data: bytes) -> bytes:
    """JSON as Python's own encoder lays it out, in one line to every reader."""
    data = msgspec.json.format(data, indent=0)
    if not data.isascii():
        for letter, escape in _LINE_ENDS:
            data = data.replace(letter, escape)
    return data


_EVENTS = StreamFormat(
    content_type=EVENT_STREAM + b"; charset=utf-8",
    result=_event,
    failure=_error_event,
    ping=b": ping\r\n\r\n",
)
_LINES = StreamFormat(
    content_type=JSON_LINES[0],
    result=lambda data: data + b"\n",
    failure=lambda content: _encode({"error": content}) + b"\n",
    ping=b"\n",
)


def stream_format(media_type: bytes) -> StreamFormat:
    """The format of a media type: JSON lines under any of their names, else events."""
    return _LINES if media_type in JSON_LINES else _EVENTS


class EventStream:
    """The answer to one call, as far as it has been sent.

    Args:
        send: ASGI's.
        context: The call's; cancelled when a ping meets no client.
        outflow: Counts what is sent.
        ping_seconds: How long a silence may be.
    """

    def __init__(
        self, send: Send, context: Context, *, outflow: Outflow, ping_seconds: float
    ) -> None:
        self._send = send
        self._context = context
        self._outflow = outflow
        self._format = _EVENTS
        self._ping_seconds = ping_seconds
        self._started = False
        self._busy = False
        self._last = 0.0
        self._ping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self, form: StreamFormat) -> None:
        """From now on, with the request read, results are awaited and silences filled."""
        self._format = form
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(self._ping_seconds, self._look)

    async def send(self, events: bytes) -> None:
        """Sends results that are ready together.

        Raises:
            Cancelled: The client went away.
            ResourceExhausted: Clients take too little of what is sent to them.
        """
        if self._ping is not None:
            await asyncio.wait({self._ping})
        await self._outflow.send(events, self._write)

    async def fail(self, failure: KitfoxError) -> None:
        """Ends the answer with a failure; in vain if nobody is there to read it."""
        await self._stop()
        with suppress(Exception):
            if not self._started:
                await send_failure(self._send, failure, self._context.request_id)
                return
            content = failure_content(failure, self._context.request_id)
            await self._finish(self._format.failure(content))

    async def end(self) -> None:
        """Ends the answer; in vain if nobody is there to read it."""
        await self._stop()
        with suppress(Exception):
            if not self._started:
                await self._start()
            await self._finish(b"")

    def close(self) -> None:
        """Sends no more pings."""
        self._outflow.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._ping is not None:
            self._ping.cancel()

    async def _stop(self) -> None:
        """Sends no more pings, but the one that is being sent if that does not take long."""
        if self._ping is not None:
            await asyncio.wait({self._ping}, timeout=_PATIENCE_SECONDS)
        self.close()

    async def _start(self) -> None:
        headers = [
            (b"content-type", self._format.content_type),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-request-id", self._context.request_id.encode()),
        ]
        # Before it is sent: whoever is cancelled meanwhile must not begin a second answer.
        self._started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _write(self, data: bytes) -> None:
        self._busy = True
        try:
            if not self._started:
                await self._start()
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as err:
            # Whatever class it is: each ASGI server has its own for a client that is gone.
            raise Cancelled("the client went away") from err
        finally:
            self._busy = False
            self._last = self._loop.time()

    async def _finish(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _look(self) -> None:
        """Pings if nothing was sent for so long; else looks again when that could be."""
        silence = self._loop.time() - self._last
        if self._busy or silence < self._ping_seconds:
            wait = self._ping_seconds if self._busy else self._ping_seconds - silence
            self._timer = self._loop.call_later(wait, self._look)
        else:
            self._ping = self._loop.create_task(self._send_ping())

    async def _send_ping(self) -> None:
        try:
            await self._write(self._format.ping)
        except Cancelled as gone:
            self._context.cancel(gone)
        else:
            self._timer = self._loop.call_later(self._ping_seconds, self._look)
        finally:
            self._ping = None
