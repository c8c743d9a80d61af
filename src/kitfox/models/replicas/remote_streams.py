"""Calls with streams, as the server sees them: read in a thread, or in the event loop.

Results and requests travel pickled one by one; on either side a few hundred kilobytes of them wait
at most. The event loop moves them, the reader unpickles them.
"""

import asyncio
import contextlib
import pickle
import threading
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from kitfox.errors import Cancelled, KitfoxError
from kitfox.models.replicas import messages as ids
from kitfox.models.replicas.calls import Call, told_context
from kitfox.models.replicas.failures import error_of, failure_of
from kitfox.models.replicas.messages import Message
from kitfox.models.replicas.pool import Pool
from kitfox.models.streams import RequestStream
from kitfox.modules import RequestContext

__all__ = ["StreamCall"]

_WINDOW = 256 * 1024
_OVERHEAD = 256


class StreamCall(Call):
    """A call whose results, or requests, may be streams.

    Args:
        method: The module's method.
        arguments: By name; those that are streams of requests are forwarded.
        context: The call's.
        context_arg: The parameter that gets it.
        pool: Where it is run.
        loop: The event loop.
        on_loop: Whether the method is run on the event loop of the replica.
    """

    __slots__ = (
        "_arrival",
        "_credit",
        "_error",
        "_items",
        "_loop",
        "_notice",
        "_on_loop",
        "_opened",
        "_over",
        "_pool",
        "_result",
        "_room",
        "_streams",
        "_taken",
        "_task",
    )

    def __init__(
        self,
        method: str,
        arguments: Mapping[str, Any],
        context: RequestContext | None,
        context_arg: str | None,
        *,
        pool: Pool,
        loop: asyncio.AbstractEventLoop,
        on_loop: bool,
    ) -> None:
        streams = {k: v for k, v in arguments.items() if isinstance(v, RequestStream)}
        plain = {k: v for k, v in arguments.items() if k not in streams}
        super().__init__(method, plain, context, context_arg, loop.create_future())
        self._streams = streams
        self._pool = pool
        self._loop = loop
        self._on_loop = on_loop
        self._arrival = threading.Condition()
        self._notice = asyncio.Event()
        self._items: deque[bytes] = deque()
        self._opened = False
        self._over = False
        self._result: Any = None
        self._error: Exception | None = None
        self._taken = 0
        self._credit = _WINDOW
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- what the pool asks and tells; on the event loop

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it."""
        return self._over

    @property
    def begins_at_once(self) -> bool:
        """What was sent to a replica, or taken from it, cannot be had again."""
        return bool(self._streams) or self._opened

    @property
    def is_lasting(self) -> bool:
        """It waits for requests, or for room for its results; an `async def` call counts."""
        return not self._on_loop and (bool(self._streams) or self._opened)

    @property
    def may_repeat(self) -> bool:
        """Only as long as nothing was sent or taken that cannot be had again."""
        return not self._streams and not self._opened

    def message(self) -> Message:
        """What a replica is sent."""
        context = self.context
        told = None
        if self.context_arg is not None:
            told = told_context(context, self.context_arg)
        if self._streams and self._task is None:
            self._task = self._loop.create_task(self._forward())
        request_id = context.request_id if context is not None else ""
        head = (ids.STREAM, self.number, self.method, self.arguments, request_id, told)
        return (*head, tuple(self._streams), _WINDOW, self._on_loop)

    def succeed(self, result: Any) -> None:
        """Hands over a result that is no stream."""
        self._result = result
        self._finish(None)

    def fail(self, error: Exception) -> None:
        """Hands over why there is no result, or no more of them."""
        self._finish(error)

    def take(self, message: Message) -> bool:
        """Takes what a replica says of it; tells whether it is over."""
        match message[0]:
            case ids.OPENED:
                with self._arrival:
                    self._opened = True
                    self._arrival.notify_all()
                self._notice.set()
            case ids.ITEMS:
                with self._arrival:
                    self._items.extend(message[2])
                    self._arrival.notify_all()
                self._notice.set()
            case ids.WANT:
                self._credit += message[2]
                self._room.set()
            case ids.END:
                self._finish(None)
                return True
            case ids.ERROR:
                self._finish(error_of(message[2]))
                return True
        return False

    def cancel(self) -> None:
        """Called when its caller waits no more."""
        reason = self.context.reason if self.context is not None else None
        if self.on_cancel is not None:
            self.on_cancel(self)
        self._finish(reason or Cancelled("the call was cancelled"))

    def _finish(self, error: Exception | None) -> None:
        with self._arrival:
            if not self._over:
                self._over = True
                self._error = error
            self._arrival.notify_all()
        self._notice.set()
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()

    def _start(self) -> None:
        """Gives it to the pool."""
        if self._over:
            return
        try:
            self._pool.submit(self)
        except KitfoxError as err:
            self._finish(err)

    def _stop(self) -> None:
        """Nobody reads it any more."""
        if not self._over:
            if self.on_cancel is not None:
                self.on_cancel(self)
            self._finish(Cancelled("the call is over"))
        self.context = self.on_cancel = None

    def _give_credit(self, size: int) -> None:
        self._pool.tell(self, (ids.CREDIT, self.number, size))

    # -- requests

    async def _forward(self) -> None:
        """Sends the requests, as far as there is room for them."""
        failure = None
        readers = [aiter(stream) for stream in self._streams.values()]
        try:
            while True:
                try:
                    # In step: each message has a value for each of the streams.
                    values = tuple([await anext(reader) for reader in readers])
                except StopAsyncIteration:
                    break
                data = pickle.dumps(values, 5)
                while self._credit <= 0:
                    self._room.clear()
                    await self._room.wait()
                self._credit -= len(data)
                self._pool.tell(self, (ids.FEED, self.number, [data]))
        except Exception as err:  # noqa: BLE001 -- handed to the reader, who raises it
            failure = failure_of(err)
        self._pool.tell(self, (ids.FEED_END, self.number, failure))

    # -- results, in a thread

    def run(self) -> Any:
        """Runs the call from a thread: gives its result, or a generator of its results."""
        self._loop.call_soon_threadsafe(self._start)
        with self._arrival:
            while not self._opened and not self._over:
                self._arrival.wait()
        if self._opened:
            return self._read()
        self._loop.call_soon_threadsafe(self._stop)
        if self._error is not None:
            raise self._error
        return self._result

    def _read(self) -> Generator[Any, None, None]:
        try:
            while (data := self._next()) is not None:
                yield pickle.loads(data)  # noqa: S301 -- from our own replica
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._stop)

    def _next(self) -> bytes | None:
        with self._arrival:
            while not self._items and not self._over:
                self._arrival.wait()
            data = self._items.popleft() if self._items else None
        if data is None:
            if self._error is not None:
                raise self._error
            return None
        if (size := self._count(data)) and not self._over:
            self._loop.call_soon_threadsafe(self._give_credit, size)
        return data

    def _count(self, data: bytes) -> int:
        """Notes that a result was taken; gives what to tell the replica, if it is enough."""
        self._taken += len(data) + _OVERHEAD
        if self._taken * 2 < _WINDOW:
            return 0
        taken, self._taken = self._taken, 0
        return taken

    # -- results, on the event loop

    async def run_async(self) -> Any:
        """Runs the call: gives its result, or an asynchronous generator of its results."""
        self._start()
        try:
            while not self._opened and not self._over:
                self._notice.clear()
                await self._notice.wait()
        except BaseException:
            self._stop()
            raise
        if self._opened:
            return self.read_async()
        self._stop()
        if self._error is not None:
            raise self._error
        return self._result

    async def read_async(self) -> AsyncGenerator[Any, None]:
        """The results; the call begins with the first, if it has not begun."""
        try:
            if not self._opened:
                self._start()
            while True:
                while not self._items and not self._over:
                    self._notice.clear()
                    await self._notice.wait()
                if not self._items:
                    break
                data = self._items.popleft()
                if (size := self._count(data)) and not self._over:
                    self._give_credit(size)
                yield pickle.loads(data)  # noqa: S301 -- from our own replica
            if self._error is not None:
                raise self._error
        finally:
            self._stop()
