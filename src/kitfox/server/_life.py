"""One Envoy process from its start to its end, as the supervisor sees it."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kitfox.server._admin import Admin, AdminError
from kitfox.server._engine_size import EngineSize
from kitfox.server._events import Events
from kitfox.server._process import EnvoyProcess, Record
from kitfox.server.envoy import STAT_PREFIX
from kitfox.server.options import Listener, Options, distinct

__all__ = ["Life"]

_EXPECTED = ("caught ENVOY_SIGTERM",)
"""Warnings of Envoy's about what we do to it."""

_LEVELS = {"trace": "debug", "critical": "error"}
_CRITICISM = re.compile("error `(.*)` initializing config", re.DOTALL)

_QUIET_LOOKS = 3
"""How often in a row nothing must be in flight. Envoy counts a request as done a moment before it
counts the bytes of its answer that the client has still to take: one look can fall between."""
_QUIET_PAUSE = 0.015
_KILL_SECONDS = 1.0
"""How long Envoy may take to end when it shall end at once."""


class Life:
    """Starts, drains and stops one process, and learns why it failed.

    Args:
        process: Just started.
        options: What it was started with.
        events: Where to wait.
        log: Told a level and a sentence.
    """

    def __init__(
        self,
        process: EnvoyProcess,
        options: Options,
        events: Events,
        log: Callable[[str, str], None],
    ) -> None:
        self._process = process
        self._options = options
        self._events = events
        self._log = log
        self._admin: Admin | None = None
        self._size: EngineSize | None = None
        self._places: list[str | int] = []
        self._failure = ""
        self._records: list[Record] = []
        self.details: Mapping[str, Any] | None = None
        """What the application said with `ready`; None before."""
        events.watch(process.output, self._read_output)
        events.watch(process.channel.fileno(), self._read_messages)

    def has_ended(self) -> bool:
        """Whether the process runs no more."""
        return self._process.has_ended()

    def become_ready(self) -> tuple[Listener, ...] | None:
        """Waits until requests are answered.

        Returns:
            The listeners with their real ports; None if the process ended or a stop was asked for.
        """
        if not self._wait(lambda: self.details is not None):
            return None
        while not self._must_stop():
            try:
                if self._is_live():
                    return self._real_listeners()
            except AdminError as error:
                self._log("debug", str(error))
            # The application is ready: Envoy needs a few milliseconds more to start its workers.
            self._wait(lambda: False, seconds=0.003)
        return None

    def serve(self) -> None:
        """Waits until the process ends or a stop is asked for."""
        while self._size is not None and not self._must_stop():
            self._wait(lambda: False, seconds=self._size.look())

    def drain(self, seconds: float) -> None:
        """Refuses new connections and waits for what is in flight.

        Args:
            seconds: The longest time to wait. A second signal ends it too.
        """
        if self._admin is None or self._size is None:
            return
        self._process.channel.send("drain")
        deadline = time.monotonic() + seconds
        stops, pause = self._events.stops, 0.01
        active = quiet = 0
        is_draining, trouble = False, ""
        while quiet < _QUIET_LOOKS:
            try:
                if not is_draining:
                    self._admin.drain()
                    is_draining = True
                active, trouble = self._admin.unfinished(STAT_PREFIX), ""
            except AdminError as error:  # it may only be slow: then it is asked again
                if self.has_ended():
                    return
                quiet, trouble = 0, str(error)
            else:
                quiet = 0 if active else quiet + 1
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._hears_more(stops):
                break
            seconds = min(pause, remaining, self._size.look())
            self._events.wait(lambda: self._hears_more(stops), seconds=seconds)
            pause = min(pause * 1.5, 0.25) if active or trouble else _QUIET_PAUSE
        if trouble:
            self._log("warning", f"Stopping without draining: {trouble}")
        elif active:
            self._log("warning", f"Stopping with {active} requests in flight")

    def stop(self, seconds: float) -> None:
        """Ends the process: by SIGTERM, with the application's shutdown, else by SIGKILL."""
        stops = self._events.stops
        allowed = seconds if stops < 2 else _KILL_SECONDS
        self._process.send_signal(signal.SIGTERM)
        self._events.wait(lambda: self._hears_more(stops), seconds=allowed)
        if not self.has_ended():
            self._events.wait(self.has_ended, seconds=min(allowed, _KILL_SECONDS))
        if not self.has_ended():
            self._log("warning", f"The application's shutdown took over {allowed:g} s: killed")
            self._process.send_signal(signal.SIGKILL)
            self._events.wait(self.has_ended)

    def close(self) -> None:
        """Reads what is left to read, and leaves no process behind."""
        self._process.kill()
        self._read_messages()
        self._events.forget(self._process.channel.fileno())
        while self._read_output():
            pass
        self._events.forget(self._process.output)
        self._process.close()

    def reason(self) -> str:
        """Why it ended, as far as is known, without a full stop."""
        if self._failure:
            return self._failure
        # What was logged while it served has been an error of some request, or the backtrace of a
        # crash: no reason in itself.
        if not self._places and not self._process.was_killed:
            for _, logger, message in self._records:
                if logger == "dynamic_modules":
                    return _exception(message)
            for level, _, message in self._records:
                if level == "critical":
                    return _criticism(message)
        return f"Envoy {self._process.ending()}"

    def _must_stop(self) -> bool:
        return self.has_ended() or self._events.stops > 0

    def _hears_more(self, stops: int) -> bool:
        return self.has_ended() or self._events.stops > stops

    def _wait(self, done: Callable[[], bool], seconds: float | None = None) -> bool:
        self._events.wait(lambda: done() or self._must_stop(), seconds=seconds)
        return done() and not self._must_stop()

    def _is_live(self) -> bool:
        if self._admin is None:
            address = self._process.admin_address()
            if address is None:
                return False
            self._admin = Admin(address)
            self._size = EngineSize(self._admin, self._options.max_engine_bytes, self._log)
        if not self._admin.is_live():
            return False
        self._places = self._admin.addresses()
        return bool(self._places)

    def _real_listeners(self) -> tuple[Listener, ...]:
        found = dict(zip(distinct(self._options.listeners), self._places, strict=True))
        real = []
        for listener in self._options.listeners:
            place = found.get(listener, listener.port)
            real.append(replace(listener, port=place) if isinstance(place, int) else listener)
        return tuple(real)

    def _read_messages(self) -> None:
        for message in self._process.channel.messages():
            if message["type"] == "ready":
                self.details = message["details"]
            elif message["type"] == "failed":
                self._failure = message["message"].rstrip(".")
        if self._process.channel.is_closed:
            self._events.forget(self._process.channel.fileno())

    def _read_output(self) -> bool:
        """Parts the application's output from Envoy's; whether there was any."""
        output = self._process.read_output()
        if output is None or self._process.is_silent:
            # At the end of a pipe a selector would report it for ever.
            if output is not None:
                self._events.forget(self._process.output)
            return False
        passed, records = output
        if passed:
            sys.stderr.flush()
            os.write(sys.stderr.fileno(), passed)
        for record in records:
            self._hear(record)
        return True

    def _hear(self, record: Record) -> None:
        level, _, message = record
        if level in ("error", "critical"):
            self._records = [*self._records[-9:], record]
        # The supervisor tells in one sentence why a start failed; this is the long form of it.
        told = self._failure or _CRITICISM.match(message) or message in _EXPECTED
        self._log("debug" if told else _LEVELS.get(level, level), f"Envoy: {message}")


def _exception(message: str) -> str:
    """The exception at the end of a traceback, without the traceback."""
    lines = message.splitlines()
    indented = [index for index, line in enumerate(lines) if line.startswith(" ")]
    last = " ".join(lines[indented[-1] + 1 if indented else 1 :]) or message
    return last.removeprefix("RuntimeError: Application startup failed: ").rstrip(".")


def _criticism(message: str) -> str:
    """Envoy's word on its configuration, without the configuration."""
    found = _CRITICISM.match(message)
    return (found[1] if found else message).rstrip(".")
