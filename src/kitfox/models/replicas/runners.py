"""The threads of a replica that run calls, in the order in which these came."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from time import monotonic_ns
from typing import Any, TypeAlias

from kitfox.models.permits import Permits
from kitfox.models.replicas.messages import Message
from kitfox.models.replicas.page import Notes

__all__ = ["Places", "Runners", "Work"]

Work: TypeAlias = Message | Callable[[int], Any]
"""A CALL, or what is to be called with the place on the page that the thread has."""

_FEWEST_TOGETHER = 8


class Places:
    """Gives out places on the page.

    Args:
        notes: The page.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._free: list[int] = []
        self._highest = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        """A place that nobody has."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self._highest += 1
            self._notes.places = self._highest
            return self._highest

    def give_back(self, place: int) -> None:
        """Lets others have it."""
        self._notes.end(place)
        with self._lock:
            self._free.append(place)


class Runners:
    """Threads that share one queue; one wake-up carries all that waits.

    Args:
        limit: How many there may be; they are started when needed.
        notes: Where it is noted what they begin.
        places: Where they get their places on the page.
        run: Runs a CALL.
        flush: Called when a thread finds nothing more to do, and when as many results wait as
            calls: so that the server has something to do meanwhile.
        permits: What a thread must have to work; None: nothing.
    """

    def __init__(
        self,
        *,
        limit: int,
        notes: Notes,
        places: Places,
        run: Callable[[Message], None],
        flush: Callable[[], None],
        permits: Permits | None = None,
    ) -> None:
        self._limit = limit
        self._notes = notes
        self._places = places
        self._run = run
        self._flush = flush
        self._permits = permits
        self._waited = 0
        self._queue: deque[Work] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._unsent = 0
        self._waking = False

    @property
    def queue_seconds(self) -> float:
        """The seconds that work has waited, together."""
        with self._lock:
            return (self._waited + len(self._queue) * monotonic_ns()) / 1e9

    @property
    def active(self) -> int:
        """The threads that are at work."""
        return self._threads - self._idle

    @property
    def backlog(self) -> bool:
        """Whether there are calls that nobody has begun."""
        return bool(self._queue)

    def add(self, work: Iterable[Work]) -> None:
        """Takes work, and wakes a thread for it unless one is on its way."""
        with self._lock:
            before = len(self._queue)
            self._queue.extend(work)
            # Of each call the time of its coming is taken away here, and that of its begin added.
            self._waited -= (len(self._queue) - before) * monotonic_ns()
            if self._queue and not self._waking:
                self._wake_one()

    def wake(self) -> None:
        """Wakes one more thread, because the queue stands still."""
        with self._lock:
            if self._queue and not self._waking:
                self._wake_one()

    def withdraw(self, number: int) -> bool:
        """Takes a CALL back that nobody has begun; tells whether it was there."""
        with self._lock:
            for index, work in enumerate(self._queue):
                if isinstance(work, tuple) and work[1] == number:
                    del self._queue[index]
                    self._waited += monotonic_ns()
                    return True
        return False

    def _wake_one(self) -> None:
        if self._idle:
            self._idle -= 1
        elif self._threads < self._limit:
            name = f"runner-{self._threads}"
            self._threads += 1
            threading.Thread(target=self._work, name=name, daemon=True).start()
        else:
            return
        self._waking = True
        self._bell.put(None)

    def _work(self) -> None:
        place, permits = self._places.take(), self._permits
        while True:
            self._bell.get()
            with self._lock:
                self._waking = False
            if permits is not None:
                permits.acquire()
            while (work := self._next(place)) is not None:
                if isinstance(work, tuple):
                    self._run(work)
                    self._notes.end(place)
                else:
                    work(place)
                if permits is not None:
                    permits.pass_on()
            if permits is not None:
                permits.release()
            # Idle threads must not keep the last call's arguments alive.
            del work

    def _next(self, place: int) -> Work | None:
        left = len(self._queue)
        if not left or self._unsent >= max(left, _FEWEST_TOGETHER):
            self._unsent = 0
            self._flush()
        self._unsent += 1
        with self._lock:
            if not self._queue:
                self._idle += 1
                return None
            work = self._queue.popleft()
            self._waited += monotonic_ns()
            if isinstance(work, tuple):
                # Before it is begun.
                self._notes.note_begun(work[1])
                self._notes.begin(place, work[1])
            return work
