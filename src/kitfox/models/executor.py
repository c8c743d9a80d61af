"""Runs synchronous model code in threads, off the event loop, at little cost per call.

The cost of a thread hand-off is the wake-ups, not the work. So one wake-up carries all that
waits: calls go into a queue and wake at most one thread at a time, which empties the queue before
it sleeps again; results go into a list that wakes the event loop once. A second thread is woken
when a call arrives while the first is in the middle of one, or when the queue has stood still for
a millisecond, so slow calls run in parallel and quick ones do not fight over the interpreter.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from kitfox.logs import current_request
from kitfox.modules import RequestContext

__all__ = ["Call", "Executor", "ThreadExecutor"]

_STALL_SECONDS = 0.001


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


class Call:
    """A call on its way through an executor."""

    __slots__ = ("arguments", "context", "function", "future")

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        future: "asyncio.Future[Any]",
        context: RequestContext | None,
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.future = future
        self.context = context


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
        self.limit = threads
        self.completed = 0
        """The calls whose results have been handed back."""
        self.last_completion = 0.0
        """When the last one was, by the event loop's clock."""
        self._loop = loop
        self._name = name
        self._queue: deque[Call] = deque()
        self._results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running: list[Call | None] = []
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
        future = self._loop.create_future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            self._queue.append(Call(function, arguments, future, context))
            waiting = self._waking or not self._wake_one()
        if waiting and not self._watching:
            self._watching = True
            self._loop.call_later(_STALL_SECONDS, self._check_stall)
        return future

    @property
    def has_room(self) -> bool:
        """Whether a call that is submitted now finds a thread that is free, or may be started."""
        return self.active < self.limit

    @property
    def active(self) -> int:
        """The threads that are awake."""
        return len(self._threads) - self._idle

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
        with self._lock:
            pairs = zip(self._threads, self._running, strict=True)
            return [(thread, call) for thread, call in pairs if call is not None]

    def drop_cancelled(self) -> None:
        """Forgets the calls in the queue that nobody waits for any more."""
        with self._lock:
            alive = [call for call in self._queue if not call.future.cancelled()]
            self._queue.clear()
            self._queue.extend(alive)

    def close(self) -> None:
        """Drops what waits, lets running calls end, and joins the threads."""
        with self._lock:
            self._closed = True
            dropped = list(self._queue)
            self._queue.clear()
        for call in dropped:
            call.future.cancel()
        for _ in self._threads:
            self._wake.put(False)
        for thread in self._threads:
            thread.join()

    def _wake_one(self) -> bool:
        """Wakes or starts a thread, if there may be one more. Called with the lock held."""
        if not self.has_room:
            return False
        if self._idle:
            self._idle -= 1
        else:
            place = len(self._threads)
            thread = threading.Thread(
                target=self._work, args=(place,), name=f"{self._name}-{place}", daemon=True
            )
            self._threads.append(thread)
            self._running.append(None)
            thread.start()
        self._waking = True
        self._wake.put(True)
        return True

    def _check_stall(self) -> None:
        """Gives the queue one more thread when the present ones have not emptied it."""
        with self._lock:
            if self._queue and not self._waking:
                self._wake_one()
            self._watching = bool(self._queue)
        if self._watching:
            self._loop.call_later(_STALL_SECONDS, self._check_stall)

    def _work(self, place: int) -> None:
        running = self._running
        while self._wake.get():
            with self._lock:
                self._waking = False
            while True:
                with self._lock:
                    if not self._queue or self.active > self.limit:
                        self._idle += 1
                        running[place] = None
                        break
                    call = running[place] = self._queue.popleft()
                # A caller that has gone away cancelled its future: its call is not run.
                if call.future.cancelled():
                    continue
                current_request.set(call.context)
                try:
                    self._report(call.future, call.function(**call.arguments), None)
                except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                    self._report(call.future, None, err)
                # An idle thread must not keep the last call's arguments alive.
                del call

    def _report(
        self, future: "asyncio.Future[Any]", result: Any, error: BaseException | None
    ) -> None:
        with self._lock:
            self._results.append((future, result, error))
            if self._reporting:
                return
            self._reporting = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop has been closed while a call ran: nobody waits for its result.
            self._results.clear()

    def _deliver(self) -> None:
        with self._lock:
            results, self._results = self._results, []
            self._reporting = False
        self.completed += len(results)
        self.last_completion = self._loop.time()
        for future, result, error in results:
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                # A future refuses StopIteration, which would end the awaiting coroutine.
                future.set_exception(RuntimeError(f"the model raised {error!r}"))
            else:
                future.set_exception(error)
