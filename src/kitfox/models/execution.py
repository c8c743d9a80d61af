"""How the calls of one loaded model are run: on which threads, in which processes, how many.

A model is loaded together with its `Execution`. The handlers ask it for a method by name once and
keep what they get; they do not know whether the model lies in this process.
"""

import asyncio
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, Protocol, TypeAlias

from kitfox.metrics import ExecutionFigures
from kitfox.models.batch_executor import BatchExecutor
from kitfox.models.batch_queue import BatchCall
from kitfox.models.executor import Call, Executor, ThreadExecutor
from kitfox.models.pace import Pace
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["Execution", "InThreads", "Submit"]

Submit: TypeAlias = Callable[[dict[str, Any], RequestContext], "asyncio.Future[Any]"]
"""Starts a call with arguments by name, on behalf of a request; the future has its result."""


class Execution(Protocol):
    """Runs one loaded model."""

    @property
    def executor(self) -> Executor:
        """Where calls with streams of results get their threads."""

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result.

        The future that it gives fails with what the method raises, or with a `KitfoxError`:
        ResourceExhausted when too many calls wait, Unavailable when what runs the model died.
        """

    def function(self, name: str) -> Callable[..., Any]:
        """A method as it is called by whoever has got a thread for it, or on the event loop."""

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work, for metrics."""

    def close(self) -> None:
        """Lets running calls end and gives back threads and processes. Called in a thread."""


class InThreads:
    """Runs a model of this process in threads of its own.

    Args:
        model: The model.
        executor: The threads of calls that make streams, and of all calls unless others are given.
        calls: The threads of the other calls.
        pace: Bounds and tunes what those run; None: nothing does.
        batches: What runs the method `run` instead, if its calls can share batches.
        batch_pace: Bounds and tunes those.
        prepare: Called in a thread before a call, with the number of calls at the same time.
        on_close: Called when the model is closed.
    """

    def __init__(
        self,
        model: ModuleBase,
        executor: ThreadExecutor,
        *,
        calls: ThreadExecutor | None = None,
        pace: Pace | None = None,
        batches: BatchExecutor | None = None,
        batch_pace: Pace | None = None,
        prepare: Callable[[int], None] | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.executor = executor
        self._calls = calls or executor
        self._model = model
        self._pace = pace
        self._batches = batches
        self._batch_pace = batch_pace
        self._prepare = prepare
        self._on_close = on_close

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result."""
        if self._batches is not None and name == "run":
            return _admitting(self._batches.submit, self._batches, self._batch_pace)
        function, pace = self._prepared(getattr(self._model, name)), self._pace
        submit, queue = self._calls.submit, self._calls.queue
        if pace is None:
            return lambda arguments, context: submit(function, arguments, context)

        # The same as `_admitting`, in one step for the many calls that come this way.
        def admit(arguments: dict[str, Any], context: RequestContext) -> "asyncio.Future[Any]":
            if len(queue) > pace.threshold:
                pace.check()
            return submit(function, arguments, context)

        return admit

    def function(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        function: Callable[..., Any] = getattr(self._model, name)
        return function

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""
        return dict(self._model.public_model_info)

    def running(self) -> Sequence[tuple[Thread, Call | BatchCall]]:
        """The calls that are being run, each with its thread."""
        batches = [] if self._batches is None else self._batches.running()
        streams = [] if self._calls is self.executor else self.executor.running()
        return [*self._calls.running(), *streams, *batches]

    def follow(self, plan: Plan) -> None:
        """Runs its batches by a plan, until measurement says otherwise."""
        if self._batches is not None:
            self._batches.follow(plan)

    def inherit(self, other: "InThreads") -> None:
        """Goes on from what was measured of another version of the model.

        Not if its choice was another: if more calls may run, or larger batches.
        """
        for own, others in (
            (self._pace, other._pace),
            (self._batch_pace, other._batch_pace),
        ):
            if own is not None and others is not None:
                own.inherit(others)

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work; streams are not counted."""
        calls, batches = self._calls, self._batches
        figures = ExecutionFigures(
            calls=calls.completed,
            limit=calls.limit,
            running=len(calls.running()),
            waiting=calls.waiting,
            queue_seconds=0.0 if self._pace is None else self._pace.queue_seconds,
        )
        if batches is None:
            return figures
        return ExecutionFigures(
            calls=figures.calls + batches.calls,
            limit=batches.plan.parallel,
            running=figures.running + batches.in_process,
            waiting=figures.waiting + batches.waiting,
            queue_seconds=figures.queue_seconds + batches.queue_seconds,
            batches=batches.sizes,
            batched_calls=batches.calls,
        )

    def close(self) -> None:
        """Lets running calls end and gives back the threads."""
        self._on_close()
        if self._batches is not None:
            self._batches.close()
        self._calls.close()
        self.executor.close()

    def _prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, called when its thread has been prepared."""
        prepare, calls = self._prepare, self._calls
        if prepare is None:
            return function

        def call(**arguments: Any) -> Any:
            prepare(calls.limit if calls.waiting else calls.active)
            return function(**arguments)

        return call


class _Queueing(Protocol):
    @property
    def waiting(self) -> int: ...


def _admitting(submit: Submit, queue: _Queueing, pace: Pace | None) -> Submit:
    """Starts calls as long as there may be more of them."""
    if pace is None:
        return submit

    def admit(arguments: dict[str, Any], context: RequestContext) -> "asyncio.Future[Any]":
        if queue.waiting > pace.threshold:
            pace.check()
        return submit(arguments, context)

    return admit
