"""Runs a model on the event loop: for code that takes microseconds and waits for nothing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from kitfox.logs import current_request
from kitfox.metrics import ExecutionFigures
from kitfox.models.execution import Submit
from kitfox.models.executor import Call, ThreadExecutor, fail
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["Inline"]


class Inline:
    """Runs each call at once, where it arrives; nothing else is done meanwhile.

    Streams of results are still made in threads, as they may take any time.

    Args:
        model: The model.
        executor: The threads for streams.
        loop: The event loop.
        on_close: Called when the model is closed.
    """

    def __init__(
        self,
        model: ModuleBase,
        executor: ThreadExecutor,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.executor = executor
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

        def submit(arguments: dict[str, Any], context: RequestContext) -> "asyncio.Future[Any]":
            future = make_future()
            self._calls += 1
            self._running = Call(function, arguments, context, future)
            current_request.set(context)
            try:
                future.set_result(function(**arguments))
            except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                fail(future, err)
            finally:
                self._running = None
            return future

        return submit

    def function(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        function: Callable[..., Any] = getattr(self._model, name)
        return function

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""
        return dict(self._model.public_model_info)

    def running(self) -> list[tuple[threading.Thread, Call]]:
        """The call that is being run, if any, and those that make streams."""
        call = self._running
        here = [] if call is None else [(self._thread, call)]
        return here + self.executor.running()

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work."""
        return ExecutionFigures(calls=self._calls + self.executor.completed, limit=1)

    def close(self) -> None:
        """Gives back the threads."""
        self._on_close()
        self.executor.close()
