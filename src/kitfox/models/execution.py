"""How the calls of one loaded model are run: on which threads, in which processes, how many.

A model is loaded together with its `Execution`. The handlers ask it for a method by name once and
keep what they get; they do not know whether the model lies in this process.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from kitfox.models.executor import Executor, ThreadExecutor
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

    def close(self) -> None:
        """Lets running calls end and gives back threads and processes. Called in a thread."""


class InThreads:
    """Runs a model of this process in threads of its own.

    Args:
        model: The model.
        executor: The threads.
    """

    def __init__(self, model: ModuleBase, executor: ThreadExecutor) -> None:
        self._model = model
        self.executor = executor

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result."""
        function, submit = getattr(self._model, name), self.executor.submit
        return lambda arguments, context: submit(function, arguments, context)

    def function(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        function: Callable[..., Any] = getattr(self._model, name)
        return function

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`."""
        return dict(self._model.public_model_info)

    def close(self) -> None:
        """Lets running calls end and gives back the threads."""
        self.executor.close()
