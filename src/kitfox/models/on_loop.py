"""The `async def` methods of one model: counted and bounded, on the event loop, where they run.

Whoever runs such a method does so itself, in its own task; nothing is handed over. It looks here
whether there is room, and notes here that the call runs, as long as it does.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kitfox.models.executor import Call, too_many_wait
from kitfox.models.permits import Permits

__all__ = ["OnLoop"]


class OnLoop:
    """The calls of one model that run on the event loop.

    To begin a call: `if len(running) >= limit: await turn()`, and then put it into `running`
    without a step of the loop between; to end it, take it out, and `if is_shared: next()`.

    Args:
        loop: The event loop.
        name: The model's id.
        most: How many calls may run at the same time.
        queue_limit: How many more may wait.
        permits: What they have to have beside; None: nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str = "model",
        most: int = sys.maxsize,
        queue_limit: int = sys.maxsize,
        permits: Permits | None = None,
    ) -> None:
        self.limit = 0 if permits is not None else most
        """How many may run before one more has to ask for its turn."""
        self.running: dict[Any, Call | None] = {}
        """The calls that run, by whatever tells them apart; those of None are not watched."""
        self.is_shared = permits is not None
        """Whether the end of a call concerns others."""
        self.calls = 0
        """The calls that are over."""
        self.queue_seconds = 0.0
        """The seconds that calls have waited, together."""
        self.most = most
        """How many may run at the same time."""
        self._loop = loop
        self._name = name
        self._queue_limit = queue_limit
        self._permits = permits
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """The calls that wait. Some may have been given up."""
        return len(self._queue)

    def watched(self) -> Sequence[tuple["asyncio.Future[Any]", Call]]:
        """The calls that run, each with its task."""
        return [
            (call.future, call)
            for call in list(self.running.values())
            if call is not None and isinstance(call.future, asyncio.Future)
        ]

    async def turn(self) -> None:
        """Waits until one more call may run.

        Raises:
            ResourceExhausted: As many wait as may wait.
        """
        began = self._loop.time()
        place = None
        if len(self.running) >= self.most:
            place = await self._queued()
        try:
            if self._permits is not None:
                if place is None:
                    # It counts from here on: others must not get in before it.
                    place = object()
                    self.running[place] = None
                await self._permits.acquire_on(self._loop)
        except BaseException:
            self.running.pop(place, None)
            self._admit()
            raise
        self.running.pop(place, None)
        self.queue_seconds += self._loop.time() - began

    def next(self) -> None:
        """Lets others have the place of a call that is over and has been taken out."""
        if self._permits is not None:
            self._permits.release()
        self._admit()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for what takes as long as its caller likes, such as a stream."""
        if len(self.running) >= self.limit:
            await self.turn()
        key = object()
        self.running[key] = None
        try:
            yield
        finally:
            del self.running[key]
            self.calls += 1
            if self.is_shared:
                self.next()

    async def _queued(self) -> object:
        """Waits for the place of a call that is over; it is kept under what is returned."""
        if len(self._queue) >= self._queue_limit:
            self._queue = deque(item for item in self._queue if not item.done())
        if len(self._queue) >= self._queue_limit:
            raise too_many_wait(self._name, self._queue_limit)
        place: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(place)
        self.is_shared = True
        try:
            await place
        except asyncio.CancelledError:
            if place in self.running:
                del self.running[place]
                self._admit()
            raise
        return place

    def _admit(self) -> None:
        """Gives free places to those who wait, in order."""
        while self._queue and len(self.running) < self.most:
            place = self._queue.popleft()
            if not place.done():
                self.running[place] = None
                place.set_result(None)
        self.is_shared = self._permits is not None or bool(self._queue)
