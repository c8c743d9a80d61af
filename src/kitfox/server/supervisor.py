"""Keeps one Envoy process running and stops it without losing work.

    start     the addresses are free, Envoy runs, the application said `ready`, listeners accept
    check     an Envoy that ends by itself is replaced, after a pause that doubles from 1 s to 30 s
    stop      SIGTERM or SIGINT: new connections are refused, what is in flight is waited for up to
              the drain time, then Envoy ends; a second signal stops it at once

What was found out about pyvoy 1.3 with Envoy 1.39, and is relied on here:

- The application is imported, and its lifespan's start-up run to its end, while Envoy loads its
  configuration: nothing accepts before that, the administration interface is silent, SIGTERM
  kills at once.
- An exception at import, in the lifespan, or `lifespan.startup.failed` fail the configuration:
  Envoy ends with status 1 and has logged the traceback.
- At SIGTERM Envoy resets every open request, runs the lifespan's shutdown, waits for it without a
  limit and ends with status 0.
- `/drain_listeners` closes the listening sockets at once. Requests on open connections go on; new
  ones are still answered there, and each answer then closes its connection (HTTP/1.1) or announces
  GOAWAY (HTTP/2). Idle HTTP/2 connections are told nothing before they are closed.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from kitfox.errors import FailedPrecondition
from kitfox.server._code_pages import give_back_code, loaded_code
from kitfox.server._events import Events
from kitfox.server._life import Life
from kitfox.server._ports import check_free
from kitfox.server._process import EnvoyProcess
from kitfox.server._system import raise_file_limit
from kitfox.server.envoy import environment
from kitfox.server.options import Listener, Options, distinct

__all__ = ["Supervisor"]

_LONGEST_PAUSE = 30.0
_MOST_FAILURES = 5


def _write(level: str, message: str) -> None:
    sys.stderr.write(f"{level}: {message}\n")


class Supervisor:
    """Runs Envoy with an application in it until told to stop.

    Args:
        options: What Envoy is to do.
        environ: The environment to start Envoy from; this process's own unless given.
        drain_seconds: How long requests in flight may take once a stop is asked for.
        stop_seconds: How long Envoy, and the application's shutdown in it, may take after that.
        log: Told a level (`debug`, `info`, `warning`, `error`) and a sentence.
        on_ready: Told the listeners with their real ports, and what the application reported, each
            time that requests begin to be answered.
        pause_seconds: How long to wait before the first try to replace an Envoy that ended; then
            twice as long each time, up to half a minute.
    """

    def __init__(
        self,
        options: Options,
        *,
        environ: Mapping[str, str] | None = None,
        drain_seconds: float = 30.0,
        stop_seconds: float = 10.0,
        log: Callable[[str, str], None] = _write,
        on_ready: Callable[[tuple[Listener, ...], Mapping[str, object]], None] | None = None,
        pause_seconds: float = 1.0,
    ) -> None:
        self._options = options
        self._environ = environ
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._log = log
        self._on_ready = on_ready
        self._pause_seconds = pause_seconds

    def run(self) -> int:
        """Serves until a signal says stop; to be called in the main thread.

        Returns:
            The exit status: 0 after a stop that was asked for, 1 after a failure, which is logged.
        """
        try:
            inner = environment(os.environ if self._environ is None else self._environ)
            for listener in distinct(self._options.listeners):
                check_free(listener)
            raise_file_limit()
            with Events() as events:
                return self._keep(events, inner)
        except FailedPrecondition as error:
            self._log("error", error.message)
            return 1

    def _keep(self, events: Events, inner: Mapping[str, str]) -> int:
        """Replaces each Envoy that ends by itself."""
        short_lives, failures, served = 0, 0, False
        while True:
            started = time.monotonic()
            was_ready, reason = self._live(events, inner)
            if events.stops:
                return 0
            served = served or was_ready
            failures = 0 if was_ready else failures + 1
            if not served or failures == _MOST_FAILURES:
                self._log("error", f"The server cannot start: {reason}")
                return 1
            short_lives = short_lives + 1 if time.monotonic() - started < _LONGEST_PAUSE else 0
            pause = self._pause(short_lives)
            self._log("error", f"The server stopped by itself: {reason}; next try in {pause:g} s")
            if events.wait(lambda: events.stops > 0, seconds=pause):
                return 0

    def _pause(self, short_lives: int) -> float:
        """How long to wait after so many short lives; what lived long comes back at once."""
        if short_lives == 0:
            return 0.0
        return min(self._pause_seconds * 2.0 ** (short_lives - 1), _LONGEST_PAUSE)

    def _live(self, events: Events, inner: Mapping[str, str]) -> tuple[bool, str]:
        """Runs one Envoy to its end: whether it was ever ready, and why it ended."""
        started = time.monotonic()
        life = Life(EnvoyProcess.start(self._options, inner), self._options, events, self._log)
        try:
            real = life.become_ready()
            if real is not None:
                self._announce(real, life, time.monotonic() - started)
                life.serve()
            if not life.has_ended():
                self._log("info", f"Stopping; what is in flight has {self._drain_seconds:g} s")
                life.drain(self._drain_seconds)
                life.stop(self._stop_seconds)
                self._log("info", "Stopped")
        finally:
            life.close()
        return real is not None, life.reason()

    def _announce(self, real: tuple[Listener, ...], life: Life, seconds: float) -> None:
        # An Envoy that replaces this one must be found where this one was.
        self._options = replace(self._options, listeners=real)
        places = ", ".join(f"{listener.name} on {listener}" for listener in real)
        self._log("info", f"Ready in {seconds:.2f} s: {places}")
        # From here on it only waits.
        give_back_code(loaded_code())
        if self._on_ready is not None:
            self._on_ready(real, life.details or {})
