"""Runs synchronous model code in threads, off the event loop, at little cost per call.

The cost of a thread hand-off is the wake-ups, not the work. So one wake-up carries all that
waits: calls go into a queue and wake at most one thread at a time, which empties the queue before
it sleeps again; results go into a queue that wakes the event loop once. A second thread is woken
when a call arrives while the first is in the middle of one, or when the queue has stood still for
a millisecond, so slow calls run in parallel and quick ones do not fight over the interpreter.

Both queues are deques, whose ends Python itself keeps safe; the lock is for going to sleep and
being woken, not for each call.

A thread that has made a result may also finish the call: send its answer, say. Whoever waits for
that need not wait for the event loop to wake up.
"""

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeAlias

from kitfox.errors import TRY_AGAIN_SECONDS, ResourceExhausted
from kitfox.logs import current_request
from kitfox.models.permits import Permits
from kitfox.models.placement import new_settler
from kitfox.models.raised import harmless
from kitfox.modules import RequestContext

__all__ = [
    "Call",
    "Executor",
    "Finish",
    "ThreadExecutor",
    "Waiter",
    "fail",
    "make_call",
    "too_many_wait",
]

Finish: TypeAlias = Callable[[Any], Any]
"""Takes a result where it was made, in a thread; what it returns is the call's result. It raises
nothing."""

_STALL_SECONDS = 0.001
"""How long a queue may stand before it gets one more thread."""
_PROGRESS_SECONDS = 0.008
"""The same of a queue that goes on well: with calls as short as these, one more thread would only
stand in the way of the others."""
_SHORT_SECONDS = 100e-6
"""What each of them takes, at most."""


class Waiter:
    """What waits for a call instead of a future, and is told in the thread that ran it."""

    model: Any = None
    """The `LoadedModel` that it has a lease of, for whoever is told to give back."""

    def cancelled(self) -> bool:
        """Whether the call need not be run any more."""
        raise NotImplementedError

    def done(self) -> bool:
        """Whether it waits no more."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The call will not be run."""
        raise NotImplementedError

    def bring(self, result: Any) -> None:
        """Takes the result, in the thread that made it. Raises nothing."""
        raise NotImplementedError

    def set_exception(self, error: BaseException) -> None:
        """Takes what the call failed with, on the event loop."""
        raise NotImplementedError


class Call(NamedTuple):
    """A call on its way through an executor."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    context: RequestContext | None
    future: "asyncio.Future[Any] | Waiter"
    since: float
    """When it came, of `time.monotonic`."""
    finish: Finish | None
    """Takes what the function returns, in the same thread."""


# Without the Python function that a named tuple is made by otherwise.
make_call: Callable[[Any], Call] = partial(tuple.__new__, Call)
_Outcome: TypeAlias = tuple["asyncio.Future[Any] | Waiter", Any, BaseException | None]


class Executor(Protocol):
    """Runs a model's function somewhere and hands back what it returns."""

    def submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
    ) -> "asyncio.Future[Any]":
        """Starts the call; the future belongs to the running event loop."""

    def resume(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
    ) -> "asyncio.Future[Any]":
        """As `submit`, for a call that goes on: it is not refused because too many wait."""

    def close(self) -> None:
        """Lets running calls end and stops the threads or processes."""


class ThreadExecutor:
    """Threads that share one queue.

    Args:
        threads: How many calls may run at the same time; threads are started when needed. It may
            be changed at any time (`limit`); what runs then goes on.
        loop: The event loop from which `submit` is called.
        name: The model's id; it names the threads, for debuggers and logs.
        kind: What the threads are for, if the model has other ones.
        queue_limit: How many calls may wait; 0: see `threshold`.
        permits: What a thread must have to work; None: nothing.
        settles: Whether threads may keep to one processor while calls are quick; see `placement`.
    """

    def __init__(
        self,
        *,
        threads: int,
        loop: asyncio.AbstractEventLoop,
        name: str = "model",
        kind: str = "",
        queue_limit: int = 0,
        permits: Permits | None = None,
        settles: bool = False,
    ) -> None:
        self.threshold = queue_limit - 1 if queue_limit else sys.maxsize
        """`check` is called before a call is added to more than so many that wait."""
        self.check: Callable[[], object] = self._check_room
        """Raises what a caller is told instead, if one more may not be added."""
        self.last_completion = 0.0
        """When results were handed back last, of `time.monotonic`."""
        self._limit = threads
        self._loop = loop
        self._create_future = loop.create_future
        self._name = name
        self._prefix = f"{name}-{kind}-" if kind else f"{name}-"
        self._queue: deque[Call] = deque()
        self._results: deque[_Outcome] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running: list[Call | None] = []
        self._places: dict[int, int] = {}
        # Each thread has a place for its calls and the time that they have waited: nothing is
        # locked.
        self._completed: list[int] = []
        self._waits: list[float] = []
        self._queue_limit = queue_limit
        self._permits = permits
        self._settles = settles
        self._narrowed = False
        self._idle = 0
        self._paused = 0
        self._waking = False
        self._reporting = False
        self._watching = False
        self._looked_at = 0
        self._pause = _STALL_SECONDS
        self._closed = False

    def submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
        finish: Finish | None = None,
    ) -> "asyncio.Future[Any]":
        """Queues `function(**arguments)`; it is dropped unrun when the future is cancelled in time.

        Args:
            function: What to call.
            arguments: By name.
            context: The request that it is for; its id is in what the function logs.
            finish: Takes what the function returns, when the call has been counted.

        Raises:
            ResourceExhausted: Too many calls wait.
        """
        if len(self._queue) > self.threshold:
            self.check()
        return self._submit(function, arguments, context, finish)

    def submit_for(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext,
        waiter: Waiter,
        finish: Finish,
    ) -> None:
        """As `submit`, in any thread; what would become of the future is told a waiter."""
        if len(self._queue) > self.threshold:
            self.check()
        call = make_call((function, arguments, context, waiter, monotonic(), finish))
        if self._add(call):
            self._loop.call_soon_threadsafe(self._watch_stall)

    def resume(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None = None,
    ) -> "asyncio.Future[Any]":
        """As `submit`, for a call that goes on: it is not refused."""
        return self._submit(function, arguments, context, None)

    def _submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: RequestContext | None,
        finish: Finish | None,
    ) -> "asyncio.Future[Any]":
        future = self._create_future()
        if self._add(make_call((function, arguments, context, future, monotonic(), finish))):
            self._watch_stall()
        return future

    def _add(self, call: Call) -> bool:
        """Queues a call; tells whether it is to be seen to that the queue does not stand still."""
        if self._closed:
            raise RuntimeError("the executor is closed")
        self._queue.append(call)
        # A thread that is being woken will find the call: it says that it is awake before it looks.
        if (not self._waking and self._wake_one()) or self._watching:
            return False
        self._watching = True
        self._looked_at, self._pause = self.completed, _STALL_SECONDS
        return True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts the present thread's call as not running: it waits for its caller."""
        place = self._places.get(threading.get_ident())
        if place is None:  # a thread of the model's own
            yield
            return
        call, self._running[place] = self._running[place], None
        with self._lock:
            self._paused += 1
        if self._permits is not None:
            self._permits.release()
        try:
            yield
        finally:
            if self._permits is not None:
                self._permits.acquire()
            with self._lock:
                self._paused -= 1
            # Another object: to those who look how long calls run, it begins here.
            self._running[place] = None if call is None else make_call(call)

    @property
    def completed(self) -> int:
        """The calls that have been run."""
        return sum(self._completed)

    @property
    def queue_seconds(self) -> float:
        """The seconds that calls have waited, together."""
        return sum(self._waits)

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
        """The threads that are awake, and not paused."""
        return len(self._threads) - self._idle - self._paused

    @property
    def waiting(self) -> int:
        """The calls in the queue: none of them has begun. Some may have been given up."""
        return len(self._queue)

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

    def _check_room(self) -> None:
        if len(self._queue) >= self._queue_limit:
            self.drop_cancelled()
        if len(self._queue) >= self._queue_limit and not self.has_room:
            raise too_many_wait(self._name, self._queue_limit)

    def _wake_one(self) -> bool:
        """Wakes or starts a thread, if there may be one more."""
        with self._lock:
            # `has_room`, without the steps: this is done for each call of a caller who waits.
            if len(self._threads) - self._idle - self._paused >= self._limit:
                return False
            if self._idle:
                self._idle -= 1
            else:
                place = len(self._threads)
                thread = threading.Thread(
                    target=self._work, args=(place,), name=f"{self._prefix}{place}", daemon=True
                )
                self._running.append(None)
                self._completed.append(0)
                self._waits.append(0.0)
                self._threads.append(thread)
                thread.start()
            self._waking = True
        self._wake.put(True)
        return True

    def _check_stall(self) -> None:
        """Gives the queue one more thread when the present ones have not emptied it."""
        completed = self.completed
        short = (completed - self._looked_at) * _SHORT_SECONDS > self._pause
        self._looked_at = completed
        self._pause = _PROGRESS_SECONDS if short else _STALL_SECONDS
        if self._queue and not self._waking and not short:
            self._wake_one()
        # In this order: a call of another thread is either seen here, or sees this.
        self._watching = False
        if self._queue:
            self._watching = True
            self._watch_stall()

    def _watch_stall(self) -> None:
        self._loop.call_later(self._pause, self._check_stall)

    def _work(self, place: int) -> None:
        permits = self._permits
        self._places[threading.get_ident()] = place
        settler, completed = new_settler() if self._settles else None, 0
        while self._wake.get():
            self._waking = False
            if permits is None:
                while self._run_waiting(place):
                    pass
            else:
                permits.acquire()
                while self._run_waiting(place):
                    permits.pass_on()
                permits.release()
            # An idle thread must not keep the last request alive.
            current_request.set(None)
            if settler is not None:
                settler.note(self._completed[place] - completed)
                completed = self._completed[place]

    def _run_waiting(self, place: int) -> bool:
        """Runs calls until none waits; false when the thread may sleep, and is counted so."""
        take, report, running = self._queue.popleft, self._results.append, self._running
        waits, completed, shares = self._waits, self._completed, self._permits is not None
        while not self._narrowed:
            try:
                running[place] = call = take()
            except IndexError:
                break
            function, arguments, context, future, since, finish = call
            # A caller that has gone away cancelled its future: its call is not run.
            if future.cancelled():
                continue
            waits[place] += monotonic() - since
            current_request.set(context)
            try:
                result = function(**arguments)
            except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                completed[place] += 1
                report((future, None, err))
            else:
                # First: who gets an answer may look at the figures, and may call again.
                completed[place] += 1
                running[place] = None
                if finish is not None:
                    result = finish(result)
                if isinstance(future, Waiter):
                    # Nothing is left for the event loop.
                    self.last_completion = monotonic()
                    future.bring(result)
                else:
                    report((future, result, None))
                result = None  # not kept until the next call
            if self._results and not self._reporting:
                self._reporting = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    # The loop has been closed while a call ran: nobody waits for its result.
                    self._results.clear()
            if shares:
                break  # it is the turn of those who wait for a permit
        running[place] = None
        with self._lock:
            # What came in since would not be seen by anybody who is asleep.
            active = len(self._threads) - self._idle - self._paused
            if self._queue and active <= self._limit:
                self._narrowed = False
                return True
            self._idle += 1
            self._narrowed = active - 1 > self._limit
            return False

    def _deliver(self) -> None:
        # In this order: what a thread reports from here on is either taken below or told anew.
        self._reporting = False
        results = self._results
        self.last_completion = monotonic()
        for _ in range(len(results)):
            future, result, error = results.popleft()
            if future.done():
                continue
            if error is not None:
                fail(future, error)
            elif isinstance(future, Waiter):
                future.bring(result)
            else:
                future.set_result(result)


def fail(future: "asyncio.Future[Any] | Waiter", error: BaseException) -> None:
    """Gives a future what a model raised."""
    future.set_exception(harmless(error))


def too_many_wait(name: str, limit: int) -> ResourceExhausted:
    """Why a call is refused when as many wait as may.

    Args:
        name: The model's id.
        limit: How many that is.
    """
    return ResourceExhausted(
        f"{limit} calls of model {name!r} wait and no more are taken "
        "(setting models.execution.queue_limit); try again later",
        TRY_AGAIN_SECONDS,
    )
