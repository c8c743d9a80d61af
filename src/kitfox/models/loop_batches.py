"""Runs what waits for an `async def` method as batches, on the event loop, as a plan has it.

As `BatchExecutor` does for plain methods in threads: no call waits for company, and one bad call
fails alone. A batch that nobody waits for any more is cancelled.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Thread
from typing import Any

from kitfox.logs import current_request
from kitfox.models.batch_executor import Claim, not_given_up
from kitfox.models.batch_figures import BatchFigures
from kitfox.models.batch_queue import BatchCall, BatchQueue
from kitfox.models.batch_runner import BatchRunner, Outcome, Together, outcomes_of
from kitfox.models.batch_shape import BatchShape
from kitfox.models.executor import fail
from kitfox.models.permits import Permits
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["LoopBatches"]


class LoopBatches(BatchFigures):
    """Runs the calls of one `async def` method. To be used from the event loop.

    It listens to the calls' futures, by `add_done_callback`, as long as it runs them.

    Args:
        model: The model.
        shape: How calls are joined, of which method.
        plan: How to run them; it may be changed at any time.
        loop: The event loop.
        name: The model's id, for logs.
        max_delay: Seconds that a call may wait for others.
        max_weight: The most that a batch may weigh; 0: no limit.
        permits: What a batch must have to run; None: nothing.
        claim: Begins each call; by default it asks the call's future.
        deliver: Called with what calls came to; by default it is for the calls' futures.
    """

    threads: Sequence[Thread] = ()

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
        self._run: Callable[..., Any] = getattr(model, shape.method)
        self._run_batch: Callable[..., Any] = getattr(model, shape.batch_method)
        self._runner = BatchRunner(model, shape, name=name)
        self._claim = claim or not_given_up
        self._report = deliver or _tell
        self._shape = shape
        self._loop = loop
        self._name = name
        self._max_delay = max_delay
        self._permits = permits
        self._queue = BatchQueue(shape, max_weight=max_weight, refuse=self._fail)
        self._active = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._running: dict[asyncio.Task[list[Outcome]], list[BatchCall]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def call(self, **arguments: Any) -> Any:
        """Calls the method, perhaps together with others.

        Raises:
            ResourceExhausted: Too many calls wait.
        """
        request = current_request.get()
        return await self.submit(
            arguments, request if isinstance(request, RequestContext) else None
        )

    def submit(
        self, arguments: dict[str, Any], context: RequestContext | None = None
    ) -> "asyncio.Future[Any]":
        """Queues a call; it is dropped unrun when the future is cancelled in time.

        Raises:
            ResourceExhausted: Too many calls wait.
        """
        if self.waiting > self.threshold:
            self.check()
        future: asyncio.Future[Any] = self._loop.create_future()
        self.add([BatchCall(arguments, future, context, time.monotonic())])
        return future

    def add(self, calls: Sequence[BatchCall]) -> None:
        """Queues calls, without asking whether there may be more."""
        self._queue.add(calls)
        self._begin()

    @property
    def waiting(self) -> int:
        """The calls that have not begun. Some may have been given up."""
        return len(self._queue)

    @property
    def active(self) -> int:
        """The tasks at work."""
        return self._active

    @property
    def running_count(self) -> int:
        """The batches that are being run."""
        return len(self._running)

    @property
    def in_process(self) -> int:
        """The calls in these."""
        return sum(map(len, self._running.values()))

    @property
    def work_in_process(self) -> float:
        """The work of these."""
        return sum(self.work_of(batch) for batch in self._running.values())

    def running(self) -> list[tuple["asyncio.Future[Any]", BatchCall]]:
        """The batches that are being run, each by its oldest call, with its task."""
        return [(task, batch[0]) for task, batch in list(self._running.items())]

    def drop_cancelled(self) -> None:
        """Forgets the waiting calls that were given up."""
        self._queue.drop_cancelled()

    def follow(self, plan: Plan) -> None:
        """Runs what comes next by another plan."""
        self.plan = plan
        self._begin()

    def close(self) -> None:
        """Drops what waits. Called in a thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for call in self._queue.clear():
            call.future.cancel()

    def _begin(self) -> None:
        """Has tasks look after what waits, as many as are of use."""
        for _ in range(min(self.plan.parallel - self.active, self.waiting)):
            # It takes its batch in the next step of the loop: what comes in this one is in it.
            self._active += 1
            worker = self._loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while self._active <= self.plan.parallel and await self._work_once():
                pass
        finally:
            # In the same step in which nothing was found: who comes next begins anew.
            self._active -= 1

    async def _work_once(self) -> bool:
        """Runs a batch; false when there is none."""
        if self._permits is not None:
            await self._permits.acquire_on(self._loop)
        try:
            batch = self._take()
            if batch:
                await self._execute(batch)
            return bool(batch)
        finally:
            if self._permits is not None:
                self._permits.release()

    def _take(self) -> list[BatchCall]:
        plan = self.plan
        if plan.size > self._runner.largest:
            plan = replace(plan, size=self._runner.largest)
        ripe = time.monotonic() - self._max_delay if self._max_delay else None
        batch = self._queue.take(plan, ripe=ripe)
        if not batch and self.waiting and ripe is not None and self._timer is None:
            pause = max(self._queue.since - ripe, 0.0001)
            self._timer = self._loop.call_later(pause, self._ripen)
        return batch

    def _ripen(self) -> None:
        self._timer = None
        self._begin()

    async def _execute(self, batch: list[BatchCall]) -> None:
        calls = [call for call in batch if self._claim(call)]
        if not calls:
            return
        started = time.monotonic()
        task = self._loop.create_task(self._run_all(calls))
        self._running[task] = calls

        def given_up(_: object) -> None:
            if all(call.future.cancelled() for call in calls):
                task.cancel()

        for call in calls:
            call.future.add_done_callback(given_up)
        await asyncio.wait({task})
        del self._running[task]
        self.count(calls, started, time.monotonic())
        if task.cancelled():
            self._report([(call, None, asyncio.CancelledError()) for call in calls])
        else:
            self._report(task.result())

    def _fail(self, call: BatchCall, err: BaseException) -> None:
        self._report([(call, None, err)])

    # -- the model's code

    async def _run_all(self, calls: list[BatchCall]) -> list[Outcome]:
        if len(calls) == 1 and not self._shape.of_stream:
            return [await self._run_one(calls[0])]
        current_request.set(Together(calls))
        try:
            joined = self._shape.join([call.arguments for call in calls])
            results = await self._run_batch(**joined)
        except BaseException as err:  # the edge between user code and us
            if _is_given_up(err):
                raise
            if len(calls) == 1:
                return [(calls[0], None, err)]
            middle = len(calls) // 2
            outcomes = await self._run_all(calls[:middle])
            outcomes += await self._run_all(calls[middle:])
            self._runner.note_failure(len(calls), outcomes, err)
            return outcomes
        return outcomes_of(calls, results, self._name, self._shape.batch_method)

    async def _run_one(self, call: BatchCall) -> Outcome:
        current_request.set(call.context)
        try:
            return call, await self._run(**call.arguments), None
        except BaseException as err:  # the edge between user code and us
            if _is_given_up(err):
                raise
            return call, None, err


def _is_given_up(err: BaseException) -> bool:
    """Whether the present batch ends because nobody waits for it any more.

    The author's code may raise the same by itself: of a task that it has cancelled, say.
    """
    task = asyncio.current_task()
    return isinstance(err, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _tell(outcomes: list[Outcome]) -> None:
    """Tells callers what their calls came to."""
    for call, result, error in outcomes:
        if call.future.done():
            continue
        if error is None:
            call.future.set_result(result)
        else:
            fail(call.future, error)
