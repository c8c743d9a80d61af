"""Clients that take proper requests to a server, and bring answers back as ASGI's events."""

import asyncio
import contextlib
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from kitfox.server.asgi import Message
from tests.fuzz.cases import Case
from tests.fuzz.wires import http1_bytes, http2_headers

__all__ = ["Broken", "Http1Client", "Http2Client"]

_WITHOUT_BODY = (204, 304)
_READ = 1 << 16


class Broken(OSError):
    """There is no whole answer, and there will be none."""


class Http1Client:
    """A connection that is used for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_new = True
        """Whether it has brought nothing yet."""
        self.is_closed = False
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))

    async def call(self, case: Case) -> list[Message]:
        """One request and its answer, as far as its client takes it.

        Raises:
            Broken: The connection ended before the answer did.
        """
        sending = asyncio.create_task(self._send(case))
        try:
            if case.leaves:
                await sending
                raise Broken("left")
            return await self._answer(case)
        except (OSError, asyncio.IncompleteReadError) as err:
            self.is_closed = True
            raise Broken(str(err)) from err
        finally:
            # An answer that comes before the request has ended leaves a connection of no use.
            self.is_closed = self.is_closed or not sending.done()
            sending.cancel()
            self.is_new = False
            if self.is_closed:
                self.close()

    def close(self) -> None:
        self.is_closed = True
        self._writer.close()

    async def _send(self, case: Case) -> None:
        with contextlib.suppress(ConnectionError):
            for piece in http1_bytes(case):
                self._writer.write(piece)
                await self._writer.drain()

    async def _answer(self, case: Case) -> list[Message]:
        status, headers = await self._head()
        while status == 100:
            status, headers = await self._head()
        found = dict(headers)
        if found.get(b"connection") == b"close":
            self.is_closed = True
        has_body = case.verb != "HEAD" and status not in _WITHOUT_BODY
        pieces: list[bytes] = []
        trailers: list[tuple[bytes, bytes]] = []
        if has_body and found.get(b"transfer-encoding") == b"chunked":
            while (size := int((await self._line()).partition(b";")[0], 16)) > 0:
                pieces.append(await self._reader.readexactly(size))
                await self._line()
                if len(pieces) >= case.takes:
                    raise Broken("left")
            while line := await self._line():
                trailers.append(_header(line))
        elif has_body and b"content-length" in found:
            pieces.append(await self._reader.readexactly(int(found[b"content-length"])))
        elif has_body:
            self.is_closed = True
            while data := await self._reader.read(_READ):
                pieces.append(data)
        return _events(status, headers, pieces, trailers)

    async def _head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        line = await self._line()
        if line[:9] != b"HTTP/1.1 ":
            raise Broken(f"an answer begins with {line!r}")
        status = int(line[9:12])
        headers = []
        while line := await self._line():
            headers.append(_header(line))
        return status, headers

    async def _line(self) -> bytes:
        return (await self._reader.readuntil(b"\r\n"))[:-2]


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name.lower(), value


class _Stream:
    """One request on an HTTP/2 connection."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.has_ended = False
        self.failure = ""
        self.news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self.has_ended or bool(self.failure)


class Http2Client:
    """A connection that carries many requests at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_closed = False
        """Whether no more requests may be begun."""
        self.is_new = True
        """Whether it has brought nothing yet."""
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, _Stream] = {}
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._connection = h2.connection.H2Connection(config)
        self._connection.initiate_connection()
        self._flush()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, case: Case) -> list[Message]:
        """One request and its answer, as far as its client takes it.

        Raises:
            Broken: The stream or the connection ended before the answer did.
        """
        number = self._connection.get_next_available_stream_id()
        stream = self._streams[number] = _Stream()
        try:
            await self._send(case, number, stream)
            if case.leaves or case.takes == 0:
                raise Broken("left")
            while not stream.is_over:
                stream.news.clear()
                await stream.news.wait()
                if len(stream.pieces) >= case.takes:
                    raise Broken("left")
            if stream.failure:
                raise Broken(stream.failure)
        except h2.exceptions.ProtocolError as err:
            raise Broken(f"{type(err).__name__}: {err}") from err
        finally:
            self.is_new = False
            if not stream.is_over:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self._connection.reset_stream(number, 8)
                    self._flush()
            del self._streams[number]
        return _events(stream.status, stream.headers, stream.pieces, stream.trailers)

    def close(self) -> None:
        self.is_closed = True
        self._reading.cancel()
        self._writer.close()

    async def _send(self, case: Case, number: int, stream: _Stream) -> None:
        pieces = [piece for piece in case.pieces if piece]
        ends = not pieces and not case.leaves
        self._connection.send_headers(number, http2_headers(case), end_stream=ends)
        self._flush()
        for piece in pieces:
            rest = memoryview(piece)
            # An answer that is there before its request has ended was a refusal.
            while rest and not stream.is_over:
                window = self._connection.local_flow_control_window(number)
                size = min(window, self._connection.max_outbound_frame_size, len(rest))
                if size <= 0:
                    stream.news.clear()
                    await stream.news.wait()
                    continue
                self._connection.send_data(number, bytes(rest[:size]))
                rest = rest[size:]
                self._flush()
                await self._writer.drain()
        if pieces and not case.leaves and not stream.is_over:
            self._connection.end_stream(number)
            self._flush()

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._writer.write(data)

    async def _read(self) -> None:
        why = "the connection was closed"
        try:
            while data := await self._reader.read(_READ):
                for event in self._connection.receive_data(data):
                    self._take(event)
                self._flush()
        except (OSError, h2.exceptions.ProtocolError) as err:
            why = f"{type(err).__name__}: {err}"
        self.is_closed = True
        self._writer.close()
        for stream in self._streams.values():
            stream.failure = stream.failure or ("" if stream.has_ended else why)
            stream.news.set()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.is_closed = True
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id or 0
                )
        number = getattr(event, "stream_id", None)
        streams = list(self._streams.values()) if not number else [self._streams.get(number)]
        for stream in streams:
            if stream is not None:
                _note(stream, event)
                stream.news.set()


def _note(stream: _Stream, event: h2.events.Event) -> None:
    match event:
        case h2.events.ResponseReceived():
            pairs = [(bytes(name), bytes(value)) for name, value in event.headers or []]
            stream.status = int(dict(pairs)[b":status"])
            stream.headers = [item for item in pairs if item[0] != b":status"]
        case h2.events.TrailersReceived():
            stream.trailers = [(bytes(name), bytes(value)) for name, value in event.headers or []]
        case h2.events.DataReceived():
            stream.pieces.append(event.data or b"")
        case h2.events.StreamEnded():
            stream.has_ended = True
        case h2.events.StreamReset() if not stream.has_ended:
            stream.failure = f"the stream was reset with code {int(event.error_code or 0)}"


def _events(
    status: int,
    headers: list[tuple[bytes, bytes]],
    pieces: list[bytes],
    trailers: list[tuple[bytes, bytes]],
) -> list[Message]:
    """An answer as an application would have sent it."""
    start = {"type": "http.response.start", "status": status, "headers": headers}
    body = {"type": "http.response.body", "body": b"".join(pieces), "more_body": False}
    if not trailers:
        return [start, body]
    last = {"type": "http.response.trailers", "headers": trailers, "more_trailers": False}
    return [{**start, "trailers": True}, body, last]
