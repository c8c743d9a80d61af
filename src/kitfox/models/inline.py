"""Runs a model on the event loop: for code that takes microseconds and waits for nothing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kitfox.logs import current_request
from kitfox.metrics import ExecutionFigures
from kitfox.models.execution import Runner, Submit, SubmitItem
from kitfox.models.executor import Call, Finish, ThreadExecutor, fail, make_call
from kitfox.models.on_loop import OnLoop
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["Inline"]


class Inline:
    """Runs each call at once, where it arrives; nothing else is done meanwhile.

    Streams of results are still made in threads, as they may take any time.

    Args:
        model: The model.
        executor: The threads for streams of results.
        feeds: The threads for streams of requests.
        on_loop: Counts and bounds the calls of `async def` methods.
        loop: The event loop.
        on_close: Called when the model is closed.
    """

    def __init__(
        self,
        model: ModuleBase,
        *,
        executor: ThreadExecutor,
        feeds: ThreadExecutor,
        on_loop: OnLoop,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.executor = executor
        self.feeds = feeds
        self.on_loop = on_loop
        self._model = model
        self._loop = loop
        self._thread = threading.current_thread()
        self._running: Call | None = None
        self._calls = 0
        self._on_close = on_close

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result."""
        function: Callable[..., Any] = getattr(self._model, name)
        make_future = self._loop.create_future

        def submit(
            arguments: dict[str, Any], context: RequestContext, finish: Finish | None = None
        ) -> "asyncio.Future[Any]":
            future = make_future()
            self._calls += 1
            self._running = make_call((function, arguments, context, future, 0.0, finish))
            current_request.set(context)
            try:
                result = function(**arguments)
                future.set_result(result if finish is None else finish(result))
            except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                fail(future, err)
            finally:
                self._running = None
            return future

        return submit

    def unary_for(self, name: str) -> None:
        """None: what a model does here would keep other requests from being handed over."""

    def items(self, name: str) -> SubmitItem | None:
        """None: nothing waits here, so nothing could share a batch."""
        return None

    def on_loop_of(self, name: str) -> OnLoop:
        """What counts and bounds the calls of an `async def` method."""
        return self.on_loop

    def function(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        function: Callable[..., Any] = getattr(self._model, name)
        return function

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""
        return dict(self._model.public_model_info)

    def running(self) -> Sequence[tuple[Runner, Call]]:
        """The call that is being run, if any, and those of streams and of `async def` methods."""
        call = self._running
        here = [] if call is None else [(self._thread, call)]
        streams = [*self.executor.running(), *self.feeds.running()]
        return [*here, *streams, *self.on_loop.watched()]

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work."""
        threads, on_loop = (self.executor, self.feeds), self.on_loop
        return ExecutionFigures(
            calls=self._calls + sum(item.completed for item in threads) + on_loop.calls,
            limit=1,
            running=sum(len(item.running()) for item in threads) + len(on_loop.running),
            waiting=sum(item.waiting for item in threads) + on_loop.waiting,
            queue_seconds=sum(item.queue_seconds for item in threads) + on_loop.queue_seconds,
        )

    def close(self) -> None:
        """Gives back the threads."""
        self._on_close()
        self.executor.close()
        self.feeds.close()
