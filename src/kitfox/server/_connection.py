"""One connection of the hypercorn engine: its socket, its protocol, and how long it may take."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.utils import parse_socket_addr

from kitfox import logs
from kitfox.errors import Code
from kitfox.server._exchange import ClientGone, Exchange, Held
from kitfox.server._http1 import Http1
from kitfox.server._http2 import Http2
from kitfox.server._refusals import NOT_HTTP, headers_too_large, headers_too_slow, stood_still
from kitfox.server.options import Options

__all__ = ["Connection"]

log = logs.channel("HYPERCORN")

_READ = 64 * 1024
_TOO_MUCH = 1 << 20
"""Of answers to what needs no application (pings, resets), how much may wait to be sent."""
_LINGER_SECONDS = 1.0
"""How long a client that is answered early may go on sending before it is cut off.

Closing at once would have the kernel throw the answer away along with what was not read.
"""


class Connection:
    """One client's connection.

    Args:
        app: The ASGI application.
        options: The limits.
        config: hypercorn's settings.
        context: Says when the server is about to stop.
        reader: The connection's.
        writer: The connection's.
        forget: Called with the connection once its socket is closed.
        held: Counts what clients have not taken yet.
    """

    def __init__(
        self,
        app: Any,
        options: Options,
        config: Config,
        context: WorkerContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        forget: Callable[["Connection"], None],
        held: Held,
    ) -> None:
        self.options = options
        self._held = held
        self._context = context
        self._reader = reader
        self._writer = writer
        self._forget = forget
        self._group = TaskGroup(asyncio.get_running_loop())
        tls = writer.get_extra_info("ssl_object")
        family = writer.get_extra_info("socket").family
        client, server = (
            parse_socket_addr(family, writer.get_extra_info(name))
            for name in ("peername", "sockname")
        )
        self.arguments: tuple[Any, ...] = (
            *(app, config, context, self._group, {}),
            *(tls is not None, client, server, self.protocol_send),
        )
        """What hypercorn's protocols are made with."""
        self._out: list[bytes] = []
        self._is_discarding = False
        self._rests_since = time.monotonic()
        self._head_since: float | None = None
        is_http2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        self._protocol: Http1 | Http2 = Http2(self) if is_http2 else Http1(self)

    @property
    def requests(self) -> int:
        """How many requests are in flight."""
        return len(self._protocol.exchanges)

    async def run(self) -> None:
        """The connection's whole life."""
        try:
            # It waits for what the application still does for requests whose client is gone.
            async with self._group:
                try:
                    await self._protocol.initiate()
                    await self._read()
                finally:
                    await self._end()
        except Exception as error:  # noqa: BLE001 -- whatever a client can cause ends with it
            log.debug("A connection failed: %r", error, extra={"log_code": "<KFX40031D>"})

    def exchange(
        self,
        stream_id: int,
        send: Callable[[StreamEvent], Awaitable[None]],
        took: Callable[[Exchange, int], None],
    ) -> Exchange:
        """A new request of this connection."""
        app, config, context, group, _, tls, client, server, _ = self.arguments
        self._head_since = None
        self._rests_since = float("inf")
        return Exchange(
            *(app, config, context, group, tls, client, server, send, stream_id),
            options=self.options,
            took=took,
            held=self._held,
        )

    def write(self, data: bytes) -> None:
        """Sends, together with all that is sent before the loop's next turn."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(data)

    async def room(self) -> None:
        """Waits until the socket takes more.

        Raises:
            OSError: The connection is lost.
        """
        if self._out and sum(map(len, self._out)) >= _READ:
            self._flush()
        await self._writer.drain()

    async def relief(self) -> None:
        """Waits while the client does not take what was sent, if that has become too much."""
        if self._writer.transport.get_write_buffer_size() > _TOO_MUCH:
            with contextlib.suppress(OSError):
                await self._writer.drain()

    def rest(self) -> None:
        """There is no request in flight any more."""
        self._rests_since = time.monotonic()
        if self._context.terminated.is_set():
            self.close()

    def leave(self) -> None:
        """Ends as soon as what is in flight is answered."""
        self._protocol.leave()
        if not self.requests:
            self.close()

    def close(self) -> None:
        """Ends, once all that was sent is taken."""
        self._flush()
        if isinstance(self._protocol, Http1) and self._protocol.has_unread_request:
            self._is_discarding = True
            with contextlib.suppress(OSError, NotImplementedError):
                self._writer.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._writer.close)
        else:
            self._writer.close()

    def abort(self) -> None:
        """Ends at once."""
        self._writer.transport.abort()

    def check(self, now: float) -> None:
        """Ends what has taken too long; called every now and then."""
        options = self.options
        if _is_past(self._head_since, options.header_seconds, now):
            self._head_since = None
            if isinstance(self._protocol, Http1):
                self._group.spawn(self._protocol.refuse, 408, headers_too_slow(options))
            else:
                self._group.spawn(self._protocol.turn_away)
        if _is_past(self._rests_since, options.idle_seconds, now):
            self._protocol.leave()
            self.close()
        for exchange in self._protocol.exchanges:
            if _is_past(exchange.touched, options.stream_seconds, now):
                exchange.touched = now
                self._group.spawn(self._expire, exchange)

    def complaint(self, status: int) -> str:
        """The reason of a refusal before there is a request."""
        return headers_too_large(self.options.max_header_bytes) if status == 431 else NOT_HTTP

    async def protocol_send(self, event: Event) -> None:
        """What hypercorn's protocols send with."""
        if isinstance(event, RawData):
            self.write(event.data)
            with contextlib.suppress(OSError):
                await self.room()
        elif isinstance(event, Closed):
            self.close()
        elif not self.requests:
            # hypercorn's `Updated`: an answer over HTTP/1 is complete.
            self._rests_since = time.monotonic()

    async def _expire(self, exchange: Exchange) -> None:
        if self._writer.transport.get_write_buffer_size():
            # It does not even take what was sent: there is no telling it anything.
            self.abort()
            return
        status = 504 if exchange.has_request else 408
        with contextlib.suppress(ClientGone):
            await exchange.refuse(status, Code.DEADLINE_EXCEEDED, stood_still(self.options))

    async def _read(self) -> None:
        while True:
            try:
                data = await self._reader.read(_READ)
            except OSError:
                break
            if not data:
                break
            if self._is_discarding:
                continue
            if self._head_since is None and not self.requests:
                self._head_since = time.monotonic()
            await self._handle(data)
        await self._protocol.handle(Closed())

    async def _handle(self, data: bytes) -> None:
        try:
            await self._protocol.handle(RawData(data))
        except H2ProtocolAssumedError as error:
            self._protocol = Http2(self)
            await self._protocol.initiate()
            await self._protocol.handle(RawData(error.data))
        if isinstance(self._protocol, Http2) and not self._protocol.is_amid:
            # A connection that trickles whole frames is one that rests.
            self._head_since = None

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            if not self._writer.transport.is_closing():
                self._writer.write(data)

    async def _end(self) -> None:
        with contextlib.suppress(Exception):
            self._flush()
            self._writer.close()
            await self._writer.wait_closed()
        self._forget(self)


def _is_past(since: float | None, seconds: float, now: float) -> bool:
    return bool(seconds) and since is not None and now - since > seconds
