"""Serves with hypercorn, in this process: for machines where Envoy cannot run.

    start     the addresses are bound, the application starts, then they are listened on
    stop      SIGTERM or SIGINT: new connections are refused, what is in flight is waited for up to
              the drain time, then the application is shut down; a second signal waits for nothing

The same as the supervisor does with Envoy, but nobody is there to replace a process that dies.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from kitfox.errors import FailedPrecondition, KitfoxError
from kitfox.server._connection import Connection
from kitfox.server._exchange import Held
from kitfox.server._lifespan import Lifespan
from kitfox.server._ports import bind, check_free, unavailable
from kitfox.server._status import Link
from kitfox.server._system import raise_file_limit
from kitfox.server.options import Listener, Options, distinct
from kitfox.server.tls import server_context

__all__ = ["HypercornServer"]

_STOPS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
_BACKLOG = 1024
_CHECK_SECONDS = 1.0
"""How often connections are looked at for having taken too long."""
_LAST_SECONDS = 1.0
"""How long the application's shutdown may take when it shall end at once."""


def _write(level: str, message: str) -> None:
    sys.stderr.write(f"{level}: {message}\n")


class HypercornServer:
    """Runs an application until told to stop.

    Args:
        options: What to do.
        drain_seconds: How long requests in flight may take once a stop is asked for.
        stop_seconds: How long the application's shutdown may take after that.
        log: Told a level (`debug`, `info`, `warning`, `error`) and a sentence.
        on_ready: Told the listeners with their real ports, and what the application reported, when
            requests begin to be answered.
    """

    def __init__(
        self,
        options: Options,
        *,
        drain_seconds: float = 30.0,
        stop_seconds: float = 10.0,
        log: Callable[[str, str], None] = _write,
        on_ready: Callable[[tuple[Listener, ...], Mapping[str, object]], None] | None = None,
    ) -> None:
        self._options = options
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._log = log
        self._on_ready = on_ready
        self._link = Link()
        self._context = WorkerContext(None)
        self._connections: set[Connection] = set()
        self._held = Held()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._stops = 0
        self._stop = asyncio.Event()
        self._second_stop = asyncio.Event()
        self._alarm: threading.Timer | None = None
        self._loop: asyncio.AbstractEventLoop

    def run(self) -> int:
        """Serves until a signal says stop; to be called in the main thread.

        Returns:
            The exit status: 0 after a stop that was asked for, 1 after a failure, which is logged.
        """
        raise_file_limit()
        # It would tell each byte of each header as soon as anybody's debugging is on.
        logging.getLogger("hpack").setLevel(logging.INFO)
        factory = _loop_factory(self._options.loop)
        try:
            with (
                _sockets(self._options) as sockets,
                _signals(_end_at_once),
                asyncio.Runner(loop_factory=factory) as runner,
            ):
                return runner.run(self._serve(sockets))
        except FailedPrecondition as error:
            self._log("error", error.message)
            return 1
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    async def _serve(self, sockets: dict[Listener, socket.socket]) -> int:
        self._loop = asyncio.get_running_loop()
        started = time.monotonic()
        self._link.connect()
        try:
            app = _load(self._options.app)
            lifespan = Lifespan(app, self._link)
            await lifespan.start()
        except Exception as error:  # noqa: BLE001 -- whatever it was, the operator must know
            self._log("debug", traceback.format_exc())
            reason = self._link.failure or _sentence(error)
            self._log("error", f"The server cannot start: {reason}")
            return 1
        with _signals(self._on_signal):
            servers = await self._listen(app, sockets)
            real = _real_listeners(self._options.listeners, sockets)
            places = ", ".join(f"{listener.name} on {listener}" for listener in real)
            self._log("info", f"Ready in {time.monotonic() - started:.2f} s: {places}")
            if self._on_ready is not None:
                self._on_ready(real, self._link.details or {})
            checks = asyncio.create_task(self._check())
            await self._stop.wait()
            await self._drain(servers)
            checks.cancel()
            await self._shut_down(lifespan)
        self._log("info", "Stopped")
        return 0

    async def _listen(
        self, app: Any, sockets: Mapping[Listener, socket.socket]
    ) -> list[asyncio.Server]:
        """Accepts connections from now on."""
        config = _config(self._options)
        tls = server_context(self._options.tls) if self._options.tls is not None else None
        words: dict[str, Any] = {"ssl": tls, "backlog": _BACKLOG}
        if tls is not None:
            words["ssl_handshake_timeout"] = self._options.header_seconds or None

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= self._options.max_connections:
                writer.transport.abort()
                return
            connection = Connection(
                *(app, self._options, config, self._context, reader, writer),
                forget=self._forget,
                held=self._held,
            )
            self._connections.add(connection)
            self._nobody.clear()
            task = asyncio.create_task(connection.run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        servers = []
        for listener, item in sockets.items():
            start: Any = asyncio.start_unix_server if listener.is_unix else asyncio.start_server
            try:
                # uvloop would close a socket that cannot listen, without a word.
                item.listen(_BACKLOG)
                servers.append(await start(accept, sock=item, **words))
            except OSError as error:
                raise unavailable(listener, error) from error
        return servers

    def _forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._nobody.set()

    async def _check(self) -> None:
        """Ends what takes too long."""
        options = self._options
        limits = (options.header_seconds, options.stream_seconds, options.idle_seconds)
        pause = min([_CHECK_SECONDS, *(limit / 4 for limit in limits if limit)])
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            for connection in list(self._connections):
                connection.check(now)

    async def _drain(self, servers: list[asyncio.Server]) -> None:
        """Refuses new connections and waits for what is in flight."""
        self._log("info", f"Stopping; what is in flight has {self._drain_seconds:g} s")
        self._link.drain()
        await self._context.terminated.set()
        for server in servers:
            server.close()
        for connection in list(self._connections):
            connection.leave()
        await self._unless_stopped_again(self._nobody.wait(), self._drain_seconds)
        if self._connections:
            requests = sum(connection.requests for connection in self._connections)
            self._log("warning", f"Stopping with {max(requests, 1)} requests in flight")
        for connection in self._connections:
            connection.abort()
        # What is left of them works for clients that are gone.
        for task in self._tasks:
            task.cancel()

    async def _shut_down(self, lifespan: Lifespan) -> None:
        """Lets the application end what it began."""
        seconds = self._stop_seconds if self._stops < 2 else _LAST_SECONDS
        task = asyncio.create_task(lifespan.stop())
        await self._unless_stopped_again(task, seconds)
        if not task.done():
            self._log("warning", f"The application's shutdown took over {seconds:g} s: killed")
        elif (error := task.exception()) is not None:
            self._log("error", f"The application's shutdown failed: {_sentence(error)}")

    async def _unless_stopped_again(self, what: Awaitable[Any], seconds: float) -> None:
        """Waits for something, but no longer than it may take."""
        waiting = {asyncio.ensure_future(what), asyncio.ensure_future(self._second_stop.wait())}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread between any two steps of what it does there."""
        self._stops += 1
        event = self._stop if self._stops == 1 else self._second_stop
        self._loop.call_soon_threadsafe(event.set)
        # For an application that holds the loop, or keeps a thread that never ends.
        seconds = self._drain_seconds + self._stop_seconds if self._stops == 1 else 0.0
        self._set_alarm(seconds + 2 * _LAST_SECONDS)

    def _set_alarm(self, seconds: float) -> None:
        """Has the process killed if it still runs after so many seconds."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = threading.Timer(seconds, self._kill)
        self._alarm.daemon = True
        self._alarm.start()

    def _kill(self) -> None:
        self._log("warning", "The application does not end: killed")
        os._exit(0)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """What a signal does during the start: nothing is promised to anybody yet."""
    os._exit(0)


@contextlib.contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Takes over the signals that mean a stop, and gives them back."""
    previous = {}
    for number in _STOPS:
        # A shell's `nohup` has SIGHUP ignored, and wants that kept.
        if signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, item in previous.items():
            signal.signal(number, item)


@contextlib.contextmanager
def _sockets(options: Options) -> Iterator[dict[Listener, socket.socket]]:
    """A bound socket for each address. Nobody is heard before it is listened on.

    Raises:
        FailedPrecondition: An address cannot be had.
    """
    bound: dict[Listener, socket.socket] = {}
    try:
        for listener in distinct(options.listeners):
            check_free(listener)
            bound[listener] = bind(listener, options)
        yield bound
    finally:
        for listener, item in bound.items():
            item.close()
            if listener.is_unix:
                Path(listener.address).unlink(missing_ok=True)


def _real_listeners(
    listeners: tuple[Listener, ...], sockets: Mapping[Listener, socket.socket]
) -> tuple[Listener, ...]:
    """The listeners with the ports that they got."""
    ports = {
        listener: item.getsockname()[1]
        for listener, item in sockets.items()
        if not listener.is_unix
    }
    return tuple(replace(item, port=ports.get(item, item.port)) for item in listeners)


def _config(options: Options) -> Config:
    """Hypercorn's settings, as far as its protocols look at them."""
    config = Config()
    config.include_date_header = False
    config.include_server_header = False
    config.keep_alive_max_requests = sys.maxsize
    # Lines have a few bytes more than what is counted of them.
    config.h11_max_incomplete_size = options.max_header_bytes + 8 * options.max_headers + 8192
    return config


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _loop_factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None for asyncio's own choice."""
    if wanted == "uvloop" and importlib.util.find_spec("uvloop") is not None:
        import uvloop

        return uvloop.new_event_loop
    return None


def _sentence(error: BaseException) -> str:
    """An exception in one line without a full stop."""
    text = error.message if isinstance(error, KitfoxError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()).rstrip(".:")
