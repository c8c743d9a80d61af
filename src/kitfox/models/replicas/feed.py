"""A stream of requests as a replica's model reads it: in a thread, or in the event loop."""

import asyncio
import contextlib
import pickle
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from kitfox.models.replicas.failures import Failure, error_of

__all__ = ["ReplicaFeed"]


class ReplicaFeed:
    """Requests that the server forwards.

    Args:
        names: The parameters that are streams.
        want: Told how many bytes have been read, now and then, so that as many more may come.
        window: How many bytes may be on their way.
        waiting: Told whether the reader waits for the caller: then it is not at work.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        want: Callable[[int], None],
        window: int,
        waiting: Callable[[bool], None],
    ) -> None:
        self._names = names
        self._want = want
        self._window = window
        self._read = 0
        self._tell = waiting
        self._requests: deque[bytes] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._arrival = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._notice = asyncio.Event()

    def put(self, requests: Sequence[bytes]) -> None:
        """Takes requests that came. From the thread that reads the socket."""
        with self._arrival:
            self._requests.extend(requests)
            self._arrival.notify_all()
        self._notify()

    def end(self, failure: Failure | None) -> None:
        """Takes the end. From the thread that reads the socket."""
        with self._arrival:
            if not self._ended:
                self._ended = True
                self._error = None if failure is None else error_of(failure)
            self._arrival.notify_all()
        self._notify()

    def _notify(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._notice.set)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        """Waits for the next request; in a thread."""
        while True:
            with self._arrival:
                request = self._requests.popleft() if self._requests else None
                ended = self._ended
            if request is not None:
                return self._fields(request)
            if ended:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            self._wait()

    def _wait(self) -> None:
        # Told without the lock: to go on may take a while, in which requests come.
        self._tell(True)
        try:
            with self._arrival:
                while not self._requests and not self._ended:
                    self._arrival.wait()
        finally:
            self._tell(False)

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """Waits for the next request; in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._notice.clear()
        while not self._requests and not self._ended:
            self._tell(True)
            await self._notice.wait()
            self._notice.clear()
            self._tell(False)
        if self._requests:
            return self._fields(self._requests.popleft())
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    def take_ready(self) -> dict[str, Any] | None:
        """The next request if it has come; it is not waited for."""
        with self._arrival:
            request = self._requests.popleft() if self._requests else None
        return None if request is None else self._fields(request)

    def _fields(self, request: bytes) -> dict[str, Any]:
        self._read += len(request)
        if self._read * 2 >= self._window:
            self._want(self._read)
            self._read = 0
        values = pickle.loads(request)  # noqa: S301 -- from our own server
        return dict(zip(self._names, values, strict=True))
