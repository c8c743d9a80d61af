"""Keeps a number of processes running; knows nothing of what they do.

Each has a place. A process that ends is replaced after a pause, which doubles with each one that
does not live for a while.
"""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

__all__ = ["Backoff", "Place", "Process", "State", "Supervisor"]

State: TypeAlias = Literal["starting", "ready", "waiting", "stopped"]
"""What a place is at: its process starts; can work; ended, and the next one waits for the end of
the pause; none will follow."""


class Process(Protocol):
    """What is kept running."""

    async def start(self) -> None:
        """Starts it; returns when it can work, raises when it cannot."""

    async def wait(self) -> str:
        """Waits for its end; tells how it ended."""

    def kill(self) -> None:
        """Ends it at once."""


class Backoff:
    """The pause before the next attempt.

    Args:
        first: Seconds before the first.
        most: The longest.
        healthy: A process that lived for so many seconds starts the row anew.
    """

    def __init__(self, *, first: float = 0.1, most: float = 30.0, healthy: float = 10.0) -> None:
        self._first = first
        self._most = most
        self._healthy = healthy
        self._next = first

    def after(self, lived: float) -> float:
        """The pause after a process that was ready for so many seconds."""
        if lived >= self._healthy:
            self._next = self._first
        pause, self._next = self._next, min(2 * self._next, self._most)
        return pause


class Place:
    """One of the places, as it is now."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.state: State = "starting"
        self.process: Process | None = None
        self.restarts = 0
        self.last_error = ""


class Supervisor:
    """Fills the places and keeps them filled.

    Args:
        count: How many places.
        make: Makes the process for a place.
        on_change: Told after each change of a state.
        backoff: Makes what tells the pauses of one place.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        count: int,
        *,
        make: Callable[[int], Process],
        on_change: Callable[[Place], None],
        backoff: Callable[[], Backoff] = Backoff,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.places = [Place(index) for index in range(count)]
        self._make = make
        self._on_change = on_change
        self._backoff = backoff
        self._sleep = sleep
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts all; returns when the first can work.

        Raises:
            Exception: One could not start; none is running then.
        """
        first = asyncio.get_running_loop().create_future()
        self._tasks = [
            # Each in a context of its own: what a process does for years is not done for the call
            # that happened to have it started, which log lines would name else.
            asyncio.create_task(self._keep(place, first), context=contextvars.Context())
            for place in self.places
        ]
        try:
            await first
        except BaseException:
            await self.stop()
            raise

    def note_end(self, index: int, reason: str) -> None:
        """Takes note of an end at once, before whoever waits for it gets to run."""
        place = self.places[index]
        if place.state == "ready":
            place.state, place.last_error = "waiting", reason

    async def stop(self) -> None:
        """Replaces no process any more; those that run go on, those that start are killed."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for place in self.places:
            if place.process is not None and place.state == "starting":
                place.process.kill()
            place.state = "stopped"

    def abandon(self) -> None:
        """Replaces no process any more, without waiting for anything."""
        for task in self._tasks:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                task.cancel()

    async def _keep(self, place: Place, first: "asyncio.Future[None]") -> None:
        backoff = self._backoff()
        while True:
            place.process = self._make(place.index)
            self._set(place, "starting")
            lived = 0.0
            try:
                await place.process.start()
            except Exception as err:  # noqa: BLE001 -- whatever it is, the next attempt may succeed
                place.last_error = str(err)
                if not first.done():
                    first.set_exception(err)
            else:
                began = time.monotonic()
                self._set(place, "ready")
                if not first.done():
                    first.set_result(None)
                place.last_error = await place.process.wait()
                lived = time.monotonic() - began
            self._set(place, "waiting")
            await self._sleep(backoff.after(lived))
            place.restarts += 1

    def _set(self, place: Place, state: State) -> None:
        place.state = state
        self._on_change(place)
