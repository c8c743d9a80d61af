"""Streams between callers and model code, bounded on both sides.

Requests come in on the event loop and are read by model code as a `DataStream`, in a thread or by
`async for`. Results are made by a generator, turned into bytes where they are made, and taken by
the event loop in batches: whatever is ready together. On either side a few hundred kilobytes wait
at most; then whoever is ahead waits. A generator whose results nobody takes holds no thread.
"""

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from kitfox.data import DataStream
from kitfox.models.executor import Executor
from kitfox.models.raised import harmless
from kitfox.modules import RequestContext

__all__ = ["Feed", "RequestFeed", "RequestStream", "collect", "generate", "split"]

T = TypeVar("T")

_MOST_WAITING = 256 * 1024
# What a message costs beside its bytes, so that many empty ones are bounded too.
_OVERHEAD = 256


class RequestFeed(Generic[T]):
    """Requests on their way from the event loop to whoever reads them.

    Args:
        messages: The messages as they came.
        decode: Turns a message into what is read; called by the reader, in its thread.
        paused: What a reader in a thread is in for as long as it waits for a request.
    """

    def __init__(
        self,
        messages: AsyncIterator[bytes],
        decode: Callable[[bytes], T],
        *,
        paused: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._paused = paused
        self._messages = messages
        self._decode = decode
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: BaseException | None = None
        self._arrival = threading.Condition()
        self._notice = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._pull())

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Waits for the next request; in a thread."""
        if threading.get_ident() == self._loop_thread:
            raise RuntimeError(
                "an `async def` method reads its stream of requests with `async for`; `for` would "
                "wait for a request in the event loop, which is what brings the requests"
            )
        while True:
            with self._arrival:
                message = self._take()
                ended = self._ended
            if message is not None:
                return self._decode(message)
            if ended:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            with self._paused(), self._arrival:
                while not self._waiting and not self._ended:
                    self._arrival.wait()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        """Waits for the next request; in the event loop."""
        while True:
            with self._arrival:
                message = self._take()
            if message is not None:
                return self._decode(message)
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._notice.clear()
            await self._notice.wait()

    def take_ready(self) -> T | None:
        """The next request if it has come; it is not waited for."""
        with self._arrival:
            message = self._take()
        return None if message is None else self._decode(message)

    def close(self, error: BaseException | None = None) -> None:
        """Brings no more requests; a reader that waits gets the error, or the end."""
        self._task.cancel()
        with self._arrival:
            self._waiting.clear()
            self._size = 0
        self._end(error)

    async def aclose(self) -> None:
        """Brings no more requests, and lets go of where they come from."""
        self.close()
        await asyncio.wait([self._task])

    def _take(self) -> bytes | None:
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        was_full = self._size >= _MOST_WAITING
        self._size -= len(message) + _OVERHEAD
        if was_full and self._size < _MOST_WAITING:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._room.set)
        return message

    async def _pull(self) -> None:
        try:
            async for message in self._messages:
                with self._arrival:
                    self._waiting.append(message)
                    self._size += len(message) + _OVERHEAD
                    self._room.clear()
                    full = self._size >= _MOST_WAITING
                    self._arrival.notify()
                self._notice.set()
                if full:
                    await self._room.wait()
        except asyncio.CancelledError:
            self._end(None)
        except Exception as err:  # noqa: BLE001 -- handed to the reader, who raises it
            self._end(err)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self._arrival:
            if not self._ended:
                self._ended = True
                self._error = error
            self._arrival.notify_all()
        self._notice.set()


class RequestStream(DataStream[T]):
    """One parameter of a stream of requests, as a method reads it: once, in order.

    `for` reads it in an ordinary method, `async for` in an `async def` one.
    """

    def __init__(self, source: "_Source") -> None:
        super().__init__(lambda: source)
        self._source = source
        self._one_pass = True

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        async for value in self._source:
            yield value

    def batches(self, most: int = 0) -> "RequestStream[list[T]]":
        """What has come while the one before was worked on; see `DataStream.batches`."""
        return RequestStream(_Batches(self._source, most or sys.maxsize))


class _Source(Protocol):
    """Values of a stream of requests, read in a thread or in the event loop."""

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...

    def __aiter__(self) -> AsyncIterator[Any]: ...

    def __anext__(self) -> Awaitable[Any]: ...

    def take_ready(self, most: int) -> list[Any]:
        """Those that have come, without waiting."""


class Feed(Protocol):
    """Request messages, read in a thread or in the event loop."""

    def __next__(self) -> dict[str, Any]:
        """Waits for the next one; in a thread."""

    def __anext__(self) -> Awaitable[dict[str, Any]]:
        """Waits for the next one; in the event loop."""

    def take_ready(self) -> dict[str, Any] | None:
        """The next one if it has come."""


class _Branch:
    """The values of one field in all messages; branches of one feed share the messages."""

    def __init__(self, name: str, feed: Feed, all_of: "list[_Branch]"):
        self._name = name
        self._feed = feed
        self._all = all_of
        self._values: deque[Any] = deque()

    def add(self, fields: dict[str, Any]) -> None:
        """Keeps a message's value until this branch is read."""
        self._values.append(fields.get(self._name))

    def __iter__(self) -> "_Branch":
        return self

    def __next__(self) -> Any:
        if not self._values:
            fields = next(self._feed)
            for branch in self._all:
                branch.add(fields)
        return self._values.popleft()

    def __aiter__(self) -> "_Branch":
        return self

    async def __anext__(self) -> Any:
        if not self._values:
            fields = await anext(self._feed)
            for branch in self._all:
                branch.add(fields)
        return self._values.popleft()

    def take_ready(self, most: int) -> list[Any]:
        """The values that have come."""
        while len(self._values) < most and (fields := self._feed.take_ready()) is not None:
            for branch in self._all:
                branch.add(fields)
        return [self._values.popleft() for _ in range(min(most, len(self._values)))]


class _Batches:
    """The values of one field, as many at a time as have come."""

    def __init__(self, source: _Source, most: int) -> None:
        self._source = source
        self._most = most

    def __iter__(self) -> "_Batches":
        return self

    def __next__(self) -> list[Any]:
        return [next(self._source), *self._source.take_ready(self._most - 1)]

    def __aiter__(self) -> "_Batches":
        return self

    async def __anext__(self) -> list[Any]:
        return [await anext(self._source), *self._source.take_ready(self._most - 1)]

    def take_ready(self, most: int) -> list[list[Any]]:
        """The batches that have come: one."""
        ready = self._source.take_ready(self._most) if most else []
        return [ready] if ready else []


def split(
    feed: Feed, first: dict[str, Any] | None, names: Sequence[str]
) -> dict[str, RequestStream[Any]]:
    """A stream for each of some fields, over the first message and all that follow it.

    Args:
        feed: Where the messages after the first come from.
        first: The first message, if it has been read already.
        names: The fields.
    """
    branches: list[_Branch] = []
    for name in names:
        branches.append(_Branch(name, feed, branches))
    if first is not None:
        for branch in branches:
            branch.add(first)
    return {name: RequestStream(branch) for name, branch in zip(names, branches, strict=True)}


async def generate(
    make: Callable[[], Iterable[Any]],
    *,
    encode: Callable[[Any], bytes],
    executor: Executor,
    context: RequestContext,
) -> AsyncGenerator[list[bytes], None]:
    """Runs synchronous code that makes results one by one, in a thread; yields batches of them.

    Args:
        make: Called in a thread; gives a generator, a list, a stream, ...
        encode: Turns a result into bytes; called in the same thread.
        executor: Where threads come from.
        context: The call's: once it is cancelled, no further result is asked for.
    """
    results = _Generated(make, encode=encode, executor=executor, context=context)
    try:
        while batch := await results.take():
            yield batch
    finally:
        results.close()


class _Generated:
    """The results of a generator that runs in a thread for as long as there is room for more."""

    def __init__(
        self,
        make: Callable[[], Iterable[Any]],
        *,
        encode: Callable[[Any], bytes],
        executor: Executor,
        context: RequestContext,
    ) -> None:
        self._make = make
        self._encode = encode
        self._executor = executor
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._iterator: Iterator[Any] | None = None
        self._lock = threading.Lock()
        self._ready: list[bytes] = []
        self._size = 0
        self._told = False
        self._exhausted = False
        self._closed = False
        self._notice = asyncio.Event()
        self._run = self._start()

    async def take(self) -> list[bytes]:
        """All results that are ready, or those that are next; none at the end."""
        while True:
            # Asked first: what is there after its end is all there is.
            idle = self._run.done()
            with self._lock:
                batch, self._ready = self._ready, []
                self._size = 0
                self._told = False
            if idle and not batch:
                self._run.result()  # raises what the generator raised
            if idle and not self._exhausted and self._run.exception() is None:
                self._run = self._start()
            if batch or (idle and self._exhausted):
                return batch
            self._notice.clear()
            if not self._ready and not self._run.done():
                await self._notice.wait()

    def close(self) -> None:
        """Ends the generator: at its next result if it runs, else at once, in a thread."""
        with self._lock:
            self._closed = True
        # It may have left off for want of room just now, and not know.
        self._run.add_done_callback(self._see_to_the_end)
        if self._iterator is None:
            self._run.cancel()

    def _see_to_the_end(self, run: "asyncio.Future[Any]") -> None:
        _look_at(run)
        if not run.cancelled() and self._iterator is not None and not self._exhausted:
            with contextlib.suppress(RuntimeError):  # the executor is closed
                self._executor.resume(self._end, {}, self._context).add_done_callback(_look_at)

    def _start(self) -> "asyncio.Future[Any]":
        executor = self._executor
        start = executor.submit if self._iterator is None else executor.resume
        run = start(self._advance, {}, self._context)
        run.add_done_callback(lambda _: self._notice.set())
        return run

    def _advance(self) -> None:
        """Makes results until there is no room for more. In a thread."""
        if self._iterator is None:
            self._iterator = iter(self._make())
        for item in self._iterator:
            data = self._encode(item)
            with self._lock:
                self._ready.append(data)
                self._size += len(data) + _OVERHEAD
                full = self._size >= _MOST_WAITING
                tell, self._told = not self._told, True
                closed = self._closed
            if tell:
                self._loop.call_soon_threadsafe(self._notice.set)
            if closed or self._context.cancelled:
                self._end()
                return
            if full:
                return
        self._exhausted = True

    def _end(self) -> None:
        self._exhausted = True
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def _look_at(future: "asyncio.Future[Any]") -> None:
    """Takes note of a failure that nobody waits for any more."""
    if not future.cancelled():
        future.exception()


async def collect(
    results: AsyncIterable[Any], *, encode: Callable[[Any], bytes]
) -> AsyncGenerator[list[bytes], None]:
    """Runs asynchronous code that makes results one by one; yields batches of them.

    Args:
        results: What an `async def` method with `yield` returns.
        encode: Turns a result into bytes.
    """
    ready: list[bytes] = []
    size = 0
    ended = False
    notice, room = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        nonlocal size, ended
        try:
            async for item in results:
                data = encode(item)
                ready.append(data)
                size += len(data) + _OVERHEAD
                notice.set()
                if size >= _MOST_WAITING:
                    room.clear()
                    await room.wait()
        except (SystemExit, KeyboardInterrupt) as err:
            raise harmless(err) from err
        finally:
            ended = True
            notice.set()

    task = asyncio.create_task(run())
    try:
        while True:
            if not ready and not ended:
                notice.clear()
                await notice.wait()
            if not ready:
                await task  # raises what the model raised
                return
            batch, ready, size = ready, [], 0
            room.set()
            yield batch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        close = getattr(results, "aclose", None)
        if close is not None:
            await close()
