"""Where loads run: each in a thread of its own, a bounded number at the same time."""

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from kitfox.models.raised import harmless

__all__ = ["LoadThreads", "Slots"]

P = ParamSpec("P")
T = TypeVar("T")


class LoadThreads(Executor):
    """A thread for each call, so that one that never ends keeps none from the others."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Starts the call. Whatever it raises is its failure, and the process goes on."""
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = context.run(fn, *args, **kwargs)
            except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
                future.set_exception(harmless(err))
            else:
                future.set_result(result)

        threading.Thread(target=run, name="load", daemon=True).start()
        return future


class Slots:
    """Bounds how many loads run at the same time; who is waited for comes before who is not."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @contextlib.asynccontextmanager
    async def one(self, *, urgent: bool) -> AsyncIterator[None]:
        """Waits for a turn, and has it as long as the context lasts."""
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not urgent, next(self._order), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back()
                raise
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
