"""Runs synchronous model code in threads, off the event loop, at little cost per call.

The cost of a thread hand-off is the wake-ups, not the work. So one wake-up carries all that
waits: calls go into a queue and wake at most one thread at a time, which empties the queue before
it sleeps again; results go into a queue that wakes the event loop once. A second thread is woken
when a call arrives while the first is in the middle of one, or when the queue has stood still for
a millisecond, so slow calls run in parallel and quick ones do not fight over the interpreter.

Both queues are deques, whose ends Python itself keeps safe; the lock is for going to sleep and
being woken, not for each call.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeAlias

from kitfox.logs import current_request
from kitfox.modules import RequestContext

__all__ = ["Call", "Executor", "ThreadExecutor", "fail"]

_STALL_SECONDS = 0.001


class Call(NamedTuple):
    """A call on its way through an executor."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    context: RequestContext | None
    future: "asyncio.Future[Any]"


# Without the Python function that a named tuple is made by otherwise.
_make_call = partial(tuple.__new__, Call)
_Outcome: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Executor(Protocol):
    """Runs a model's function somewhere and hands back what it returns."""

    def submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
    ) -> "asyncio.Future[Any]":
        """Starts the call; the future belongs to the running event loop."""

    def close(self) -> None:
        """Lets running calls end and stops the threads or processes."""


class ThreadExecutor:
    """Threads that share one queue.

    Args:
        threads: How many calls may run at the same time; threads are started when needed. It may
            be changed at any time (`limit`); what runs then goes on.
        loop: The event loop from which `submit` is called.
        name: Names the threads, for debuggers and logs.
    """

    def __init__(
        self, *, threads: int, loop: asyncio.AbstractEventLoop, name: str = "model"
    ) -> None:
        self.completed = 0
        """The calls whose results have been handed back."""
        self.last_completion = 0.0
        """When the last one was, by the event loop's clock."""
        self._limit = threads
        self._loop = loop
        self._create_future = loop.create_future
        self._name = name
        self._queue: deque[Call] = deque()
        self._results: deque[_Outcome] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running: list[Call | None] = []
        self._narrowed = False
        self._idle = 0
        self._waking = False
        self._reporting = False
        self._watching = False
        self._closed = False

    def submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
    ) -> "asyncio.Future[Any]":
        """Queues `function(**arguments)`; it is dropped unrun when the future is cancelled in time.

        Args:
            function: What to call.
            arguments: By name.
            context: The request that it is for; its id is in what the function logs.
        """
        if self._closed:
            raise RuntimeError("the executor is closed")
        future = self._create_future()
        self._queue.append(_make_call((function, arguments, context, future)))
        # A thread that is being woken will find the call: it says that it is awake before it looks.
        if (self._waking or not self._wake_one()) and not self._watching:
            self._watching = True
            self._loop.call_later(_STALL_SECONDS, self._check_stall)
        return future

    @property
    def limit(self) -> int:
        """How many calls may run at the same time."""
        return self._limit

    @limit.setter
    def limit(self, threads: int) -> None:
        # Threads that are awake ask only when this says that there may be too many of them.
        self._limit = threads
        self._narrowed = self.active > threads

    @property
    def has_room(self) -> bool:
        """Whether a call that is submitted now finds a thread that is free, or may be started."""
        return self.active < self._limit

    @property
    def active(self) -> int:
        """The threads that are awake."""
        return len(self._threads) - self._idle

    @property
    def waiting(self) -> int:
        """The calls in the queue: none of them has begun. Some may have been given up."""
        return len(self._queue)

    @property
    def queue(self) -> Sized:
        """What waits, for those who ask again and again how much it is."""
        return self._queue

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that have been started."""
        return self._threads

    def running(self) -> list[tuple[threading.Thread, Call]]:
        """The calls that are being run, each with its thread."""
        pairs = zip(self._threads, list(self._running), strict=False)
        return [(thread, call) for thread, call in pairs if call is not None]

    def drop_cancelled(self) -> None:
        """Forgets the calls in the queue that nobody waits for any more."""
        # Once around: threads may take calls meanwhile.
        for _ in range(len(self._queue)):
            try:
                call = self._queue.popleft()
            except IndexError:
                return
            if not call.future.cancelled():
                self._queue.append(call)

    def close(self) -> None:
        """Drops what waits, lets running calls end, and joins the threads."""
        self._closed = True
        while self._queue:
            with contextlib.suppress(IndexError):  # a thread was quicker
                self._queue.popleft().future.cancel()
        for _ in self._threads:
            self._wake.put(False)
        for thread in self._threads:
            thread.join()

    def _wake_one(self) -> bool:
        """Wakes or starts a thread, if there may be one more."""
        with self._lock:
            if not self.has_room:
                return False
            if self._idle:
                self._idle -= 1
            else:
                place = len(self._threads)
                thread = threading.Thread(
                    target=self._work, args=(place,), name=f"{self._name}-{place}", daemon=True
                )
                self._running.append(None)
                self._threads.append(thread)
                thread.start()
            self._waking = True
        self._wake.put(True)
        return True

    def _check_stall(self) -> None:
        """Gives the queue one more thread when the present ones have not emptied it."""
        if self._queue and not self._waking:
            self._wake_one()
        self._watching = bool(self._queue)
        if self._watching:
            self._loop.call_later(_STALL_SECONDS, self._check_stall)

    def _work(self, place: int) -> None:
        while self._wake.get():
            self._waking = False
            while self._run_waiting(place):
                pass
            # An idle thread must not keep the last request alive.
            current_request.set(None)

    def _run_waiting(self, place: int) -> bool:
        """Runs calls until none waits; false when the thread may sleep, and is counted so."""
        take, report, running = self._queue.popleft, self._results.append, self._running
        while not self._narrowed:
            try:
                running[place] = call = take()
            except IndexError:
                break
            function, arguments, context, future = call
            # A caller that has gone away cancelled its future: its call is not run.
            if future.cancelled():
                continue
            current_request.set(context)
            try:
                report((future, function(**arguments), None))
            except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                report((future, None, err))
            if not self._reporting:
                self._reporting = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    # The loop has been closed while a call ran: nobody waits for its result.
                    self._results.clear()
        running[place] = None
        with self._lock:
            # What came in since would not be seen by anybody who is asleep.
            may_stay = self.active <= self._limit
            if self._queue and may_stay:
                self._narrowed = False
                return True
            self._idle += 1
            self._narrowed = self.active > self._limit
            return False

    def _deliver(self) -> None:
        # In this order: what a thread reports from here on is either taken below or told anew.
        self._reporting = False
        results = self._results
        count = len(results)
        self.completed += count
        self.last_completion = self._loop.time()
        for _ in range(count):
            future, result, error = results.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                fail(future, error)


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Gives a future what a model raised."""
    if isinstance(error, StopIteration):
        # A future refuses StopIteration, which would end the awaiting coroutine.
        error = RuntimeError(f"the model raised {error!r}")
    future.set_exception(error)
