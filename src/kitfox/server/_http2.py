"""HTTP/2 for the hypercorn engine.

hypercorn's class (0.18) ends a connection with a `KeyError` when a client goes on sending after
its answer is complete, stops reading all streams of a connection while one application does not
read its own, and now and then loses the end of a stream. So everything between the `h2` library and
an exchange is done here, with the flow control that HTTP/2 has for it: a client may send as much
as the application has taken.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed, Trailers
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.utils import filter_pseudo_headers
from hyperframe.frame import Frame, GoAwayFrame

from kitfox.server._exchange import Aborted, ClientGone, Exchange, LastResponse

if TYPE_CHECKING:
    from kitfox.server._connection import Connection

__all__ = ["Http2"]

_STREAM_WINDOW = 1 << 20
_CONNECTION_WINDOW = 8 << 20
_FIRST_WINDOW = 65535
"""What every connection begins with (RFC 9113, section 6.9.2)."""

_RESETS_FROM = 500
"""From so many requests on, a client that takes most of them back at once is turned away.

The rule and its numbers are Envoy's. https://nvd.nist.gov/vuln/detail/CVE-2023-44487
"""
_SIZE_BYTES = 3
"""What each frame begins with is its size."""
_PREMATURE_SECONDS = 1.0
_EMPTY_FRAMES = 100
"""How many frames in a row may bring nothing. https://nvd.nist.gov/vuln/detail/CVE-2019-9518"""


class Http2(H2Protocol):
    """One HTTP/2 connection.

    Args:
        peer: Its socket and all that belongs to it.
    """

    streams: dict[int, Exchange]  # type: ignore[assignment] # there are no web sockets here

    def __init__(self, peer: "Connection") -> None:
        super().__init__(*peer.arguments)
        self._peer = peer
        self._waiting: dict[int, asyncio.Event] = {}
        self._is_leaving = False
        self.is_amid = False
        """Whether what came last was not the end of a frame, or of a request's headers."""
        self._requests = 0
        self._premature_resets = 0
        self._empty_frames = 0
        self.connection.incoming_buffer = _Frames(server=True)
        # Our own headers are right, and checking them costs a tenth of all there is to do.
        self.connection.config.validate_outbound_headers = False
        self.connection.config.normalize_outbound_headers = False
        limit = peer.options.max_header_bytes
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: peer.options.max_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: limit,
            },
        )
        # Past it the connection ends. Below it, but past the limit, only the request does.
        self.connection.decoder.max_header_list_size = 2 * limit

    @property
    def exchanges(self) -> list[Exchange]:
        """The requests that are not answered yet."""
        return list(self.streams.values())

    async def initiate(self, *_: object) -> None:
        """Sends the server's settings."""
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(_CONNECTION_WINDOW - _FIRST_WINDOW)
        self._push()

    def leave(self) -> None:
        """Has the client send its next requests to somebody else."""
        if self._is_leaving or self.closed:
            return
        self._is_leaving = True
        self._push()
        # Not `close_connection`: after it h2 sends nothing more on the streams that are open.
        frame = GoAwayFrame(0, last_stream_id=self.connection.highest_inbound_stream_id)
        self._peer.write(frame.serialize())

    async def stream_send(self, event: StreamEvent) -> None:
        """Sends a part of an answer.

        Raises:
            ClientGone: The stream or the connection is closed.
        """
        exchange = self.streams.get(event.stream_id)
        if exchange is None:
            raise ClientGone
        try:
            await self._send(exchange, event)
        except (H2Error, OSError) as error:
            raise ClientGone from error
        self._push()

    async def _send(self, exchange: Exchange, event: StreamEvent) -> None:
        stream_id = event.stream_id
        if isinstance(event, Response):
            headers = [(b":status", b"%d" % event.status_code), *event.headers]
            is_last = isinstance(event, LastResponse)
            self.connection.send_headers(stream_id, headers, end_stream=is_last)
        elif isinstance(event, Body):
            await self._send_body(exchange, event.data)
        elif isinstance(event, EndBody):
            self.connection.end_stream(stream_id)
        elif isinstance(event, Trailers):
            self.connection.send_headers(stream_id, event.headers, end_stream=True)
        elif isinstance(event, StreamClosed):
            if not exchange.has_request:
                # The client may stop sending: what it asked is answered.
                self._reset_stream(stream_id, ErrorCodes.NO_ERROR)
            await self._close_stream(stream_id)
        elif isinstance(event, Aborted):
            self._reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._close_stream(stream_id)

    def _reset_stream(self, stream_id: int, code: ErrorCodes) -> None:
        # The end of the request may have come in the meantime, which closes the stream.
        with contextlib.suppress(H2Error):
            self.connection.reset_stream(stream_id, code)

    async def _send_body(self, exchange: Exchange, data: bytes) -> None:
        stream_id, rest = exchange.stream_id, memoryview(data)
        while rest:
            if stream_id not in self.streams:
                # To h2 the streams of a lost connection are open for ever.
                raise ClientGone
            window = self.connection.local_flow_control_window(stream_id)
            size = min(window, self.connection.max_outbound_frame_size)
            if size <= 0:
                await self._window(stream_id)
                continue
            self.connection.send_data(stream_id, rest[:size])  # type: ignore[arg-type,unused-ignore] # since h2 4.2
            rest = rest[size:]
            self._push()
            await self._peer.room()
            exchange.touched = time.monotonic()

    async def _window(self, stream_id: int) -> None:
        """Waits until the client has room, or its stream is closed."""
        event = self._waiting[stream_id] = asyncio.Event()
        try:
            await event.wait()
        finally:
            self._waiting.pop(stream_id, None)

    def _push(self) -> None:
        if data := self.connection.data_to_send():
            self._peer.write(data)

    async def _flush(self) -> None:
        """Sends what was caused by reading, and reads no more while too much of it waits."""
        self._push()
        await self._peer.relief()

    async def _handle_events(self, events: list[Event]) -> None:
        # Every whole frame is an event, but for those of which more must follow.
        self.is_amid = not events
        for event in events:
            await self._handle_event(event)
        await self._flush()

    async def _handle_event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            await self._begin(event)
        elif isinstance(event, DataReceived):
            await self._receive(event)
        elif isinstance(event, StreamEnded):
            if (exchange := self._exchange(event.stream_id)) is not None:
                await exchange.handle(EndBody(stream_id=exchange.stream_id))
        elif isinstance(event, StreamReset):
            await self._reset(event)
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            self._wake()
        elif isinstance(event, ConnectionTerminated):
            # h2 sends nothing more from here on.
            await self.send(Closed())

    async def _begin(self, event: RequestReceived) -> None:
        headers = event.headers or []
        pseudo = {bytes(name): bytes(value) for name, value in headers[:6] if name[:1] == b":"}
        stream_id = event.stream_id or 0
        if self._is_leaving or b":path" not in pseudo:
            code = ErrorCodes.REFUSED_STREAM if self._is_leaving else ErrorCodes.PROTOCOL_ERROR
            self._reset_stream(stream_id, code)
            return
        self._requests += 1
        exchange = self._peer.exchange(stream_id, self.stream_send, self._took)
        self.streams[stream_id] = exchange
        request = Request(
            stream_id=stream_id,
            headers=filter_pseudo_headers(headers),
            http_version="2",
            method=pseudo[b":method"].decode("ascii", "replace"),
            raw_path=pseudo[b":path"],
            state=self.connection_state,
        )
        await exchange.handle(request)

    async def _receive(self, event: DataReceived) -> None:
        stream_id, data = event.stream_id or 0, event.data or b""
        exchange = self._exchange(stream_id)
        # What the application will not take, or cannot, is given back to the client's window here.
        given_back = event.flow_controlled_length or 0
        if exchange is not None:
            given_back -= len(data)
        if given_back:
            self.connection.acknowledge_received_data(given_back, stream_id)
        self._empty_frames = 0 if data else self._empty_frames + 1
        if self._empty_frames > _EMPTY_FRAMES:
            await self.turn_away()
        elif exchange is not None and data:
            await exchange.handle(Body(stream_id=stream_id, data=data))

    def _took(self, exchange: Exchange, size: int) -> None:
        with contextlib.suppress(H2Error):
            self.connection.acknowledge_received_data(size, exchange.stream_id)
            self._push()

    async def _reset(self, event: StreamReset) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is None:
            return
        age = time.monotonic() - exchange.began
        if not exchange.has_answered and age < _PREMATURE_SECONDS:
            self._premature_resets += 1
        await self._close_stream(exchange.stream_id)
        if self._requests > _RESETS_FROM and 2 * self._premature_resets > self._requests:
            await self.turn_away()

    async def turn_away(self) -> None:
        """Ends the connection of a client that only makes work."""
        self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        self._push()
        await self.send(Closed())

    async def _close_stream(self, stream_id: int) -> None:
        exchange = self.streams.pop(stream_id, None)
        if exchange is None:
            return
        await exchange.handle(StreamClosed(stream_id=stream_id))
        self._wake()
        if not self.streams:
            self._peer.rest()

    def _exchange(self, stream_id: int | None) -> Exchange | None:
        return self.streams.get(stream_id or 0)

    def _wake(self) -> None:
        for event in self._waiting.values():
            event.set()


class _Frames(FrameBuffer):
    """What has come of a connection's frames; one that is too large is refused by its head.

    h2 (4.4) collects all of it before it looks at its size, which is up to 16 MiB a connection.
    """

    def __next__(self) -> Frame:
        if len(self._data) >= _SIZE_BYTES:
            self._validate_frame_length(int.from_bytes(self._data[:_SIZE_BYTES], "big"))
        return super().__next__()
