"""Lets so many calls of a model run at the same time, wherever they run.

A model whose `threads` are said may have several kinds of methods: in batches, call by call, with
streams, `async def`. Each kind has threads, or the event loop, of its own; what they share is this.
Who has waited longest is next.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Permits"]


class Permits:
    """A number of places, handed from one to the next in the order in which they were asked for.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiters: deque[Callable[[], object]] = deque()

    def acquire(self) -> None:
        """Waits for a permit; in a thread."""
        turn = threading.Lock()
        turn.acquire()
        if not self._take(turn.release):
            turn.acquire()

    async def acquire_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Waits for a permit; on the event loop."""
        turn: asyncio.Future[None] = loop.create_future()
        if self._take(lambda: self._hand_to(turn, loop)):
            return
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()
            raise

    def when_free(self, give: Callable[[], object]) -> None:
        """Calls `give` when there is a permit for it; now, or in the thread that releases one."""
        if self._take(give):
            give()

    def forget(self, give: Callable[[], object]) -> None:
        """Drops what waits by `when_free`; nothing if it has its permit."""
        with self._lock, contextlib.suppress(ValueError):
            self._waiters.remove(give)

    def release(self) -> None:
        """Gives a permit back, to who has waited longest."""
        with self._lock:
            if not self._waiters:
                self._free += 1
                return
            give = self._waiters.popleft()
        give()

    def pass_on(self) -> None:
        """Lets those go first who wait, if any do; in a thread that has a permit."""
        if self._waiters:
            self.release()
            self.acquire()

    def _take(self, give: Callable[[], object]) -> bool:
        """Whether there is a permit now; if not, `give` is called when there is one."""
        with self._lock:
            # Permits are free only when nobody waits.
            if self._free:
                self._free -= 1
                return True
            self._waiters.append(give)
            return False

    def _hand_to(self, turn: "asyncio.Future[None]", loop: asyncio.AbstractEventLoop) -> None:
        def hand() -> None:
            if turn.cancelled():
                self.release()
            else:
                turn.set_result(None)

        try:
            loop.call_soon_threadsafe(hand)
        except RuntimeError:  # the loop has been closed: nobody waits there
            self.release()
