"""How the calls of one loaded model are run: on which threads, in which processes, how many.

A model is loaded together with its `Execution`. The handlers ask it for a method by name once and
keep what they get; they do not know whether the model lies in this process.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeAlias

from kitfox.metrics import ExecutionFigures
from kitfox.models.batch_executor import BatchExecutor
from kitfox.models.batch_queue import BatchCall
from kitfox.models.batch_shape import joins_streams
from kitfox.models.executor import Call, Executor, Finish, ThreadExecutor, Waiter
from kitfox.models.loop_batches import LoopBatches
from kitfox.models.on_loop import OnLoop
from kitfox.models.pace import Pace
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["Batches", "Execution", "InThreads", "Runner", "Submit", "SubmitFor", "SubmitItem"]

Runner: TypeAlias = "Thread | asyncio.Future[Any]"
"""What runs a call: a thread, or a task of the event loop."""


SubmitItem: TypeAlias = Callable[[dict[str, Any], RequestContext], "asyncio.Future[Any]"]
"""Starts a call for one item of a stream, with arguments by name, on behalf of a request."""


SubmitFor: TypeAlias = Callable[[dict[str, Any], RequestContext, Waiter, Finish], None]
"""Starts a call in any thread: with arguments by name, on behalf of a request, for who waits; and
with what is given the result in the thread where it is made."""


class Submit(Protocol):
    """Starts a call."""

    def __call__(
        self, arguments: dict[str, Any], context: RequestContext, finish: Finish | None = None, /
    ) -> "asyncio.Future[Any]":
        """Starts it.

        Args:
            arguments: By name.
            context: The request that it is for.
            finish: May be given the result in the thread where it is made.

        Returns:
            What becomes the result: what `finish` made of it, or what the method returned.
        """


class Execution(Protocol):
    """Runs one loaded model."""

    @property
    def executor(self) -> Executor:
        """Where calls with streams of results get their threads."""

    @property
    def feeds(self) -> ThreadExecutor:
        """Where calls with streams of requests get theirs, which wait for their callers."""

    def on_loop_of(self, name: str) -> OnLoop:
        """What counts and bounds the calls of an `async def` method."""

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result.

        The future that it gives fails with what the method raises, or with a `KitfoxError`:
        ResourceExhausted when too many calls wait, Unavailable when what runs the model died.
        """

    def unary_for(self, name: str) -> SubmitFor | None:
        """As `unary`, in any thread; None if such a method is called on the event loop only."""

    def items(self, name: str) -> SubmitItem | None:
        """What runs one item of a stream of requests, as a call that may share a batch.

        None if the method gets its streams whole.
        """

    def function(self, name: str) -> Callable[..., Any]:
        """A method as it is called by whoever has got a thread for it, or on the event loop."""

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work, for metrics."""

    def close(self) -> None:
        """Lets running calls end and gives back threads and processes. Called in a thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """What runs a method whose calls can share batches."""

    executor: BatchExecutor | LoopBatches
    """Its threads, or tasks."""
    pace: Pace
    """Bounds and tunes what they run."""


class InThreads:
    """Runs a model of this process in threads of its own.

    Args:
        model: The model.
        loop: The event loop.
        executor: The threads of calls that make streams.
        feeds: The threads of calls that read streams of requests.
        on_loop: Counts and bounds the calls of `async def` methods.
        calls: The threads of the other calls.
        pace: Tunes what those run.
        batches: What runs the methods whose calls can share batches, by name.
        prepare: Called in a thread before a call, with the number of calls at the same time.
        on_close: Called when the model is closed.
    """

    def __init__(
        self,
        model: ModuleBase,
        *,
        loop: asyncio.AbstractEventLoop,
        executor: ThreadExecutor,
        feeds: ThreadExecutor,
        on_loop: OnLoop,
        calls: ThreadExecutor,
        pace: Pace,
        batches: Mapping[str, Batches] | None = None,
        prepare: Callable[[int], None] | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self.executor = executor
        self.feeds = feeds
        self.on_loop = on_loop
        self._calls = calls
        self._model = model
        self._pace = pace
        self._batches = batches or {}
        self._prepare = prepare
        self._on_close = on_close

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result."""
        batches = self._batches.get(name)
        if batches is not None and isinstance(batches.executor, BatchExecutor):
            return batches.executor.submit
        return partial(self._calls.submit, self._prepared(getattr(self._model, name)))

    def unary_for(self, name: str) -> SubmitFor | None:
        """As `unary`, in any thread; None for methods that make batches."""
        if name in self._batches:
            return None
        return partial(self._calls.submit_for, self._prepared(getattr(self._model, name)))

    def items(self, name: str) -> SubmitItem | None:
        """What runs one item of a stream of requests, as a call that may share a batch."""
        if name not in self._batches or not joins_streams(type(self._model), name):
            return None
        return self._batches[name].executor.submit

    def on_loop_of(self, name: str) -> OnLoop:
        """What counts and bounds the calls of an `async def` method."""
        # What waits for a batch is bounded by its pace.
        return OnLoop(self._loop) if name in self._batches else self.on_loop

    def function(self, name: str) -> Callable[..., Any]:
        """A method of the model; one that makes batches as what makes them."""
        batches = self._batches.get(name)
        if batches is not None and isinstance(batches.executor, LoopBatches):
            return batches.executor.call
        function: Callable[..., Any] = getattr(self._model, name)
        return function

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""
        return dict(self._model.public_model_info)

    def running(self) -> Sequence[tuple[Runner, Call | BatchCall]]:
        """The calls that are being run, each with its thread or task."""
        streams = [*self.executor.running(), *self.feeds.running()]
        batches = [pair for item in self._batches.values() for pair in item.executor.running()]
        return [*self._calls.running(), *streams, *batches, *self.on_loop.watched()]

    def follow(self, plan: Plan) -> None:
        """Runs its batches by a plan, until measurement says otherwise."""
        for batches in self._batches.values():
            batches.executor.follow(plan)

    def inherit(self, other: "InThreads") -> None:
        """Goes on from what was measured of another version of the model.

        Not if its choice was another: if more calls may run, or larger batches.
        """
        self._pace.inherit(other._pace)
        for name in self._batches.keys() & other._batches.keys():
            self._batches[name].pace.inherit(other._batches[name].pace)

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work.

        A stream is running when it has a thread, and counts as a call each time that it gets one.
        """
        threads = (self._calls, self.executor, self.feeds)
        batches = [item.executor for item in self._batches.values()]
        signature = type(self._model).RUN_SIGNATURE
        on_loop = signature is not None and signature.kind in ("coroutine", "async_generator")
        figures = ExecutionFigures(
            calls=sum(item.completed for item in threads) + self.on_loop.calls,
            limit=self.on_loop.most if on_loop else self._calls.limit,
            running=sum(len(item.running()) for item in threads) + len(self.on_loop.running),
            waiting=sum(item.waiting for item in threads) + self.on_loop.waiting,
            queue_seconds=sum(item.queue_seconds for item in threads) + self.on_loop.queue_seconds,
        )
        if not batches:
            return figures
        batched = sum(item.calls for item in batches)
        return replace(
            figures,
            calls=figures.calls + batched,
            limit=max(item.plan.parallel for item in batches),
            running=figures.running + sum(item.in_process for item in batches),
            waiting=figures.waiting + sum(item.waiting for item in batches),
            queue_seconds=figures.queue_seconds + sum(item.queue_seconds for item in batches),
            batches=[sum(counts) for counts in zip(*(item.sizes for item in batches), strict=True)],
            batched_calls=batched,
        )

    def close(self) -> None:
        """Lets running calls end and gives back the threads."""
        self._on_close()
        for batches in self._batches.values():
            batches.executor.close()
        for threads in (self._calls, self.executor, self.feeds):
            threads.close()

    def _prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, called when its thread has been prepared."""
        prepare, calls = self._prepare, self._calls
        if prepare is None:
            return function

        def call(**arguments: Any) -> Any:
            prepare(calls.limit if calls.waiting else calls.active)
            return function(**arguments)

        return call
