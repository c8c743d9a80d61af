"""Threads that run what waits for a model as batches, or call by call, as a plan has it.

No call waits for company: a thread that is free takes what has come while it was busy.
"""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from kitfox.models.batch_figures import BatchFigures
from kitfox.models.batch_queue import BatchCall, BatchQueue
from kitfox.models.batch_runner import BatchRunner, Outcome
from kitfox.models.batch_shape import BatchShape
from kitfox.models.executor import Finish, fail
from kitfox.models.permits import Permits
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["BatchExecutor", "Claim", "not_given_up"]

# A second thread is woken for what waits when runs take longer than this.
_WORTH_WAKING = 0.0005

Claim: TypeAlias = Callable[[BatchCall], bool]
"""Begins a call, unless it has been given up; called where it is to run."""


class BatchExecutor(BatchFigures):
    """Runs the calls of one method of a model.

    Args:
        model: The model.
        shape: How calls are joined, of which method.
        plan: How to run them; it may be changed at any time (`plan`).
        loop: The event loop from which `submit` is called.
        name: Names the threads and the model in logs.
        max_delay: Seconds that a call may wait for others when a thread is free.
        max_weight: The most that a batch may weigh; 0: no limit.
        prepare: Called in each thread before it works, with the number of calls at a time.
        permits: What a thread must have to run a batch; None: nothing.
        claim: Begins each call; by default it asks the call's future.
        deliver: Called with what calls came to, in the thread that ran them; by default it is for
            the calls' futures, on the event loop.
    """

    def __init__(
        self,
        model: ModuleBase,
        shape: BatchShape,
        *,
        plan: Plan,
        loop: asyncio.AbstractEventLoop,
        name: str = "model",
        max_delay: float = 0,
        max_weight: float = 0,
        prepare: Callable[[int], None] | None = None,
        permits: Permits | None = None,
        claim: Claim | None = None,
        deliver: Callable[[list[Outcome]], None] | None = None,
    ) -> None:
        super().__init__()
        self.threshold = sys.maxsize
        """`check` is called before a call is added to more than so many that wait."""
        self.check: Callable[[], object] = lambda: None
        """Raises what a caller is told instead, if one more may not be added."""
        self.plan = plan
        self.waiting = 0
        """The calls that have not begun. Some may have been given up."""
        self._runner = BatchRunner(model, shape, name=name, prepare=prepare)
        self._claim = claim or not_given_up
        self._report = deliver or self._tell_loop
        self._loop = loop
        self._name = name
        self._max_delay = max_delay
        self._permits = permits
        self._changed = threading.Condition()
        self._sorting = threading.Lock()
        self._incoming: list[BatchCall] = []
        self._queue = BatchQueue(shape, max_weight=max_weight, refuse=self._fail)
        self._results: list[Outcome] = []
        self._threads: list[threading.Thread] = []
        self._running: dict[threading.Thread, Sequence[BatchCall]] = {}
        # Not begun, but the author's code that measures them may hang.
        self._measured: dict[threading.Thread, BatchCall] = {}
        self._idle = 0
        self._waking = False
        self._reporting = False
        self._closed = False
        self._mean_seconds = 1.0

    def submit(
        self,
        arguments: dict[str, Any],
        context: RequestContext | None = None,
        finish: Finish | None = None,
    ) -> "asyncio.Future[Any]":
        """Queues a call of `run`; it is dropped unrun when the future is cancelled in time.

        Args:
            arguments: By name.
            context: The request that it is for.
            finish: Takes its result in the thread that ran the batch.

        Raises:
            ResourceExhausted: Too many calls wait.
        """
        if self.waiting > self.threshold:
            self.check()
        future = self._loop.create_future()
        self.add([BatchCall(arguments, future, context, time.monotonic(), finish)])
        return future

    def add(self, calls: Sequence[BatchCall]) -> None:
        """Queues calls, without asking whether there may be more."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the executor is closed")
            self._incoming += calls
            self.waiting += len(calls)
            self._wake_one()

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that have been started."""
        return self._threads

    @property
    def active(self) -> int:
        """The threads that are at work."""
        return len(self._threads) - self._idle

    def running(self) -> list[tuple[threading.Thread, BatchCall]]:
        """The batches that are being run, each by its oldest call, with its thread."""
        with self._changed:
            begun = [(thread, batch[0]) for thread, batch in self._running.items()]
            return [*begun, *self._measured.items()]

    @property
    def running_count(self) -> int:
        """The threads that have got a batch."""
        return len(self._running)

    @property
    def in_process(self) -> int:
        """The calls that are being run."""
        with self._changed:
            return sum(map(len, self._running.values()))

    @property
    def work_in_process(self) -> float:
        """The work of these."""
        with self._changed:
            calls = [call for batch in self._running.values() for call in batch]
        return self.work_of(calls)

    def drop_cancelled(self) -> None:
        """Forgets the waiting calls that were given up, if that can be had without waiting."""
        if not self._sorting.acquire(blocking=False):
            return  # a thread is at it, and drops them itself as it comes to them
        try:
            with self._changed:
                self._incoming = [call for call in self._incoming if not call.future.cancelled()]
                self._queue.drop_cancelled()
                self.waiting = len(self._incoming) + len(self._queue)
        finally:
            self._sorting.release()

    def follow(self, plan: Plan) -> None:
        """Runs what comes next by another plan."""
        with self._changed:
            self.plan = plan
            self._changed.notify_all()
            if self.waiting:
                self._wake_one()

    def close(self) -> None:
        """Drops what waits, lets running batches end, and joins the threads."""
        with self._changed:
            self._closed = True
            dropped, self._incoming = self._incoming, []
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for call in [*dropped, *self._queue.clear()]:
            _tell(self._loop, call.future.cancel)

    # -- threads

    def _wake_one(self) -> None:
        """Wakes or starts a thread if there may be one more. Called with the lock held."""
        if self.active >= self.plan.parallel:
            return
        if self._mean_seconds < _WORTH_WAKING and (self._waking or self.active):
            return  # it is done sooner than another thread is there
        self._waking = True
        if self._idle:
            self._changed.notify()
            return
        name = f"{self._name}-batch-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        permits = self._permits
        pause: float | None = None
        while True:
            with self._changed:
                self._waking = False
                while pause or not self.waiting or self.active > self.plan.parallel:
                    if self._closed:
                        return
                    self._idle += 1
                    self._changed.wait(pause)
                    self._idle -= 1
                    self._waking, pause = False, None
                if self._closed:
                    return
            if permits is not None:
                permits.acquire()
            batch, pause = self._next()
            if batch:
                self._execute(batch)
                # An idle thread must not keep the last calls' arguments alive.
                batch.clear()
            if permits is not None:
                permits.release()

    def _next(self) -> tuple[list[BatchCall], float | None]:
        """What to run now; else how long to wait for it to become a batch."""
        thread = threading.current_thread()
        with self._sorting:
            with self._changed:
                incoming, self._incoming = self._incoming, []
                if incoming:
                    self._measured[thread] = incoming[0]
            self._queue.add(incoming)
            now = time.monotonic()
            ripe = now - self._max_delay if self._max_delay else None
            plan = self.plan
            if plan.size > self._runner.largest:
                plan = replace(plan, size=self._runner.largest)
            batch = self._queue.take(plan, ripe=ripe)
            with self._changed:
                self.waiting = len(self._incoming) + len(self._queue)
                self._measured.pop(thread, None)
                if batch:
                    self._running[thread] = batch
                    if self.waiting:
                        self._wake_one()
            pause = None if batch or ripe is None else max(self._queue.since - ripe, 0.0001)
        return batch, pause

    def _execute(self, batch: list[BatchCall]) -> None:
        started = time.monotonic()
        calls = [call for call in batch if self._claim(call)]
        parallel = self.plan.parallel if self.waiting else self.active
        outcomes = self._runner.run(calls, parallel) if calls else []
        ended = time.monotonic()
        with self._changed:
            self._running.pop(threading.current_thread(), None)
            if not calls:
                return
            self.count(calls, started, ended)
            self._mean_seconds += 0.1 * (ended - started - self._mean_seconds)
        # When it has been counted: who gets an answer may look at the figures.
        if outcomes:
            self._report([_finished(outcome) for outcome in outcomes])

    # -- results

    def _fail(self, call: BatchCall, err: BaseException) -> None:
        self._report([(call, None, err)])

    def _tell_loop(self, outcomes: list[Outcome]) -> None:
        with self._changed:
            self._results += outcomes
            if self._reporting:
                return
            self._reporting = True
        _tell(self._loop, self._deliver)

    def _deliver(self) -> None:
        with self._changed:
            results, self._results = self._results, []
            self._reporting = False
        for call, result, error in results:
            future = call.future
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                fail(future, error)


def _finished(outcome: Outcome) -> Outcome:
    call, result, error = outcome
    if call.finish is None or error is not None:
        return outcome
    return call, call.finish(result), None


def not_given_up(call: BatchCall) -> bool:
    """Whether somebody waits for a call."""
    return not call.future.cancelled()


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    # A loop that has been closed has nobody who waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
