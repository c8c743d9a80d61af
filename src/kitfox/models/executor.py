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
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from kitfox.logs import current_request
from kitfox.modules import RequestContext

__all__ = ["Executor", "ThreadExecutor"]

_STALL_SECONDS = 0.001

_Call: TypeAlias = tuple[
    Callable[..., Any], Mapping[str, Any], RequestContext | None, "asyncio.Future[Any]"
]
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
        threads: How many calls may run at the same time; threads are started when needed.
        loop: The event loop from which `submit` is called.
        name: Names the threads, for debuggers and logs.
    """

    def __init__(
        self, *, threads: int, loop: asyncio.AbstractEventLoop, name: str = "model"
    ) -> None:
        self.limit = threads
        self._loop = loop
        self._create_future = loop.create_future
        self._name = name
        self._queue: deque[_Call] = deque()
        self._results: deque[_Outcome] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
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
        self._queue.append((function, arguments, context, future))
        # A thread that is being woken will find the call: it says that it is awake before it looks.
        if (self._waking or not self._wake_one()) and not self._watching:
            self._watching = True
            self._loop.call_later(_STALL_SECONDS, self._check_stall)
        return future

    @property
    def has_room(self) -> bool:
        """Whether a call that is submitted now finds a thread that is free, or may be started."""
        return self._idle > 0 or len(self._threads) < self.limit

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return len(self._queue)

    def close(self) -> None:
        """Drops what waits, lets running calls end, and joins the threads."""
        self._closed = True
        while self._queue:
            with contextlib.suppress(IndexError):  # a thread was quicker
                self._queue.popleft()[3].cancel()
        for _ in self._threads:
            self._wake.put(False)
        for thread in self._threads:
            thread.join()

    def _wake_one(self) -> bool:
        """Wakes or starts a thread, if there may be one more."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self.limit:
                thread = threading.Thread(
                    target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            else:
                return False
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

    def _work(self) -> None:
        while self._wake.get():
            self._waking = False
            while self._run_waiting():
                pass
            # An idle thread must not keep the last request alive.
            current_request.set(None)

    def _run_waiting(self) -> bool:
        """Runs calls until none waits; false when the thread may sleep, and is counted so."""
        take, report = self._queue.popleft, self._results.append
        while True:
            try:
                function, arguments, context, future = take()
            except IndexError:
                break
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
        with self._lock:
            # What came in since would not be seen by anybody who is asleep.
            if self._queue:
                return True
            self._idle += 1
            return False

    def _deliver(self) -> None:
        # In this order: what a thread reports from here on is either taken below or told anew.
        self._reporting = False
        results = self._results
        for _ in range(len(results)):
            future, result, error = results.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                # A future refuses StopIteration, which would end the awaiting coroutine.
                future.set_exception(RuntimeError(f"the model raised {error!r}"))
            else:
                future.set_exception(error)
