"""What the supervisor and the application inside Envoy tell each other.

A pair of connected sockets, one end inherited by Envoy; its number is in `KITFOX_STATUS_FD`.
Messages are JSON objects, one a line:

    application -> supervisor   {"type": "ready", "details": {...}}
                                {"type": "failed", "message": "one sentence"}
    supervisor -> application   {"type": "drain"}

The supervisor counts a start as done when `ready` has come and Envoy listens. The end of the stream
tells the application that the supervisor is gone.

An engine that runs in the application's own process says and hears the same through a `Link`.

All functions of the application's side do nothing where there is neither, as in tests.
"""

import contextlib
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["VARIABLE", "Channel", "Link", "on_drain", "report_failed", "report_ready"]

VARIABLE = "KITFOX_STATUS_FD"
"""The environment variable with the number of the application's end."""


class Link:
    """What an engine in the same process and the application tell each other."""

    def __init__(self) -> None:
        self.details: Mapping[str, Any] | None = None
        """What the application said with `ready`; None before."""
        self.failure = ""
        """Why it cannot start, if it said so."""
        self._callbacks: list[Callable[[], None]] = []

    def connect(self) -> None:
        """Holds in the present context, and in the tasks that are made in it from now on."""
        _link.set(self)

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Has a function called by `drain`."""
        self._callbacks.append(callback)

    def drain(self) -> None:
        """Tells the application that the server is about to stop."""
        for callback in self._callbacks:
            callback()


_link: ContextVar[Link | None] = ContextVar("kitfox_status", default=None)


def report_ready(
    details: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Tells the supervisor that the application can answer requests.

    Args:
        details: What the supervisor shall log along with it; JSON values.
        environ: Where the number of the socket is found.
    """
    if (link := _link.get()) is not None:
        link.details = dict(details or {})
        return
    _send(environ, {"type": "ready", "details": dict(details or {})})


def report_failed(message: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Tells the supervisor why the application cannot start.

    The application then ends its start-up, with `lifespan.startup.failed` or an exception.

    Args:
        message: One sentence for the operator.
        environ: Where the number of the socket is found.
    """
    if (link := _link.get()) is not None:
        link.failure = message.rstrip(".")
        return
    _send(environ, {"type": "failed", "message": message})


def on_drain(
    callback: Callable[[], None],
    *,
    loop: "asyncio.AbstractEventLoop | None" = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Has a function called when the server is about to stop.

    It is the time to report bad health and to end streams that never end by themselves (health
    watches): what is in flight when it comes is waited for, up to the drain time. Listeners refuse
    new connections by then.

    Args:
        callback: Called once, in the loop, which may be called again for nothing.
        loop: The application's event loop; the running one unless given.
        environ: Where the number of the socket is found.
    """
    if (link := _link.get()) is not None:
        link.on_drain(callback)
        return
    number = _number(environ)
    if number is None:
        return
    # Only the application has an event loop. To load it takes as much memory as all the rest of
    # what watches over it.
    import asyncio

    running = loop or asyncio.get_running_loop()

    def read() -> None:
        data = os.read(number, 4096)
        if not data:
            running.remove_reader(number)
            # The supervisor is gone, and with it who would restart or stop us. (On Linux the kernel
            # has killed this process before it comes here.)
            os.kill(os.getpid(), signal.SIGTERM)
        elif b'"drain"' in data:
            callback()

    running.add_reader(number, read)


def _number(environ: Mapping[str, str]) -> int | None:
    text = environ.get(VARIABLE, "")
    if not text.isdigit():
        return None
    try:
        mode = os.fstat(int(text)).st_mode
    except OSError:
        # A child process of the application: it has the variable and not the socket.
        return None
    return int(text) if stat.S_ISSOCK(mode) else None


def _send(environ: Mapping[str, str], message: Mapping[str, Any]) -> None:
    number = _number(environ)
    if number is not None:
        os.write(number, json.dumps(message, default=str).encode() + b"\n")


class Channel:
    """The supervisor's end, and until the start of Envoy the application's too."""

    def __init__(self) -> None:
        self._mine, self.theirs = socket.socketpair()
        self._mine.setblocking(False)
        self._rest = b""
        self.is_closed = False
        """Whether the application's end is closed, which its process's end does at the latest."""

    def fileno(self) -> int:
        """For a selector."""
        return self._mine.fileno()

    def messages(self) -> list[dict[str, Any]]:
        """What has come since the last call; empty also at the end of the stream."""
        try:
            data = self._mine.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.is_closed = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def send(self, kind: str) -> None:
        """Tells the application something; in vain if it is gone or does not listen."""
        with contextlib.suppress(OSError):
            self._mine.send(json.dumps({"type": kind}).encode() + b"\n")

    def close(self) -> None:
        """Closes what is still open."""
        self._mine.close()
        self.theirs.close()
