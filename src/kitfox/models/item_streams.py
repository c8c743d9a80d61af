"""Streams of requests whose items share batches, also with those of other streams.

Each item is a call by itself. What a caller sends is submitted as it comes, so many at a time;
results leave in the order of the requests. No thread is held, and nothing waits for company.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from kitfox.errors import ResourceExhausted
from kitfox.models.execution import SubmitItem
from kitfox.modules import RequestContext

__all__ = ["Item", "ItemStreams"]

# So many items of all streams may be on their way, and so many of each stream in any case: enough
# for full batches, and for the next ones, and few enough that streams take turns.
_MOST = 256
_FEWEST = 4
_MOST_BYTES = 4 * 1024 * 1024
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

Item: TypeAlias = tuple[int, dict[str, Any]]
"""The bytes of a request, and the arguments that it makes."""


class ItemStreams:
    """Answers the streams of one method of a model. To be used from the event loop.

    Args:
        submit: Runs one item, perhaps together with others.
    """

    def __init__(self, submit: SubmitItem) -> None:
        self.submit = submit
        self._open = 0

    @property
    def most(self) -> int:
        """How many items of one stream may be on their way, as things are."""
        return max(_MOST // max(self._open, 1), _FEWEST)

    async def answer(
        self,
        items: AsyncGenerator[Item, None],
        *,
        encode: Callable[[Any], bytes],
        context: RequestContext,
    ) -> AsyncGenerator[list[bytes], None]:
        """Runs the items of one stream; yields the results that are ready together.

        Args:
            items: As they come.
            encode: Turns a result into bytes.
            context: The request that they are for.

        Raises:
            ResourceExhausted: Too many calls wait; before the first item is taken. Later ones wait
                for room.
            Exception: What bringing an item, or running it, has raised, in its place.
        """
        self._open += 1
        stream = _ItemStream(items, self, encode=encode, context=context)
        try:
            while batch := await stream.take():
                yield batch
        finally:
            self._open -= 1
            await stream.close()


class _ItemStream:
    """One stream: its items on their way, in their order."""

    def __init__(
        self,
        items: AsyncGenerator[Item, None],
        streams: ItemStreams,
        *,
        encode: Callable[[Any], bytes],
        context: RequestContext,
    ) -> None:
        self._items = items
        self._streams = streams
        self._encode = encode
        self._context = context
        self._pending: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._size = 0
        self._begun = False
        self._notice, self._room = asyncio.Event(), asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._pull())
        self._task.add_done_callback(lambda _: self._notice.set())

    async def take(self) -> list[bytes]:
        """The results that are ready, or those that are next; none at the end."""
        while True:
            self._notice.clear()
            if batch := self._ready():
                self._room.set()
                return batch
            if self._task.done() and not self._pending:
                self._task.result()  # raises what bringing the items has raised
                return []
            await self._notice.wait()

    async def close(self) -> None:
        """Gives up what is on its way."""
        self._task.cancel()
        for _, future in self._pending:
            future.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()

    def _ready(self) -> list[bytes]:
        """The results that are ready up to the first failure, which is raised when it is next."""
        batch: list[bytes] = []
        while self._pending and self._pending[0][1].done():
            size, future = self._pending[0]
            try:
                batch.append(self._encode(future.result()))
            except Exception:
                if batch:
                    break
                raise
            self._pending.popleft()
            self._size -= size
        return batch

    async def _pull(self) -> None:
        async with aclosing(self._items) as items:
            async for size, arguments in items:
                while self._is_full(size):
                    self._room.clear()
                    await self._room.wait()
                future = await self._submit(arguments)
                future.add_done_callback(lambda _: self._notice.set())
                self._pending.append((size, future))
                self._size += size

    def _is_full(self, size: int) -> bool:
        """Whether so many bytes more would be too much."""
        if not self._pending:
            return False
        return len(self._pending) >= self._streams.most or self._size + size > _MOST_BYTES

    async def _submit(self, arguments: dict[str, Any]) -> "asyncio.Future[Any]":
        pause = _SHORTEST_PAUSE
        while True:
            try:
                future = self._streams.submit(arguments, self._context)
            except ResourceExhausted:
                if not self._begun:
                    raise
            else:
                self._begun = True
                return future
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
