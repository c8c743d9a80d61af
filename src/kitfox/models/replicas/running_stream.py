"""A call of one replica that has a stream of results, of requests, or is run on the event loop."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kitfox.data import DataObjectBase
from kitfox.errors import Cancelled, KitfoxError
from kitfox.logs import current_request
from kitfox.models.replicas.failures import Failure, failure_of
from kitfox.models.replicas.feed import ReplicaFeed
from kitfox.models.replicas.messages import END, ERROR, ITEMS, OPENED, RESULT, Message
from kitfox.modules import RequestContext

if TYPE_CHECKING:
    from kitfox.models.replicas.running import Calls

__all__ = ["RunningStream"]

# What a message costs beside its bytes, so that many empty ones are bounded too.
_OVERHEAD = 256


class RunningStream:
    """A call with a stream of results, of requests, or on the event loop.

    An ordinary method has a thread for as long as its results may be sent; it gets one again when
    there is more credit.
    """

    def __init__(
        self,
        number: int,
        call: Callable[[], Any],
        context: RequestContext,
        credit: int,
        *,
        calls: "Calls",
    ) -> None:
        self.number = number
        self.call = call
        self.feed: ReplicaFeed | None = None
        self._context = context
        self._credit = credit
        self._calls = calls
        self._outbox = calls.outbox
        self._iterator: Iterator[Any] | None = None
        self._place = 0
        self._lock = threading.Lock()
        # Taken by one thread: whoever does so decides whether it is begun or withdrawn.
        self._once = [True]
        self._begun = False
        self._suspended = False
        self._more = threading.Event()
        self._own_thread = 0
        self._task: asyncio.Task[Any] | None = None
        self._room: asyncio.Event | None = None

    # -- what comes from the server; in the thread that reads the socket

    def withdraw(self) -> bool:
        """Takes it back if nobody has begun it; tells whether that was so."""
        if not self._claim():
            return False
        # It may wait for a permit.
        if self._task is not None:
            self._calls.loop.call_soon_threadsafe(self._task.cancel)
        elif self._calls.permits is not None:
            self._calls.permits.forget(self._start_thread)
        return True

    def add_credit(self, size: int) -> None:
        """Lets so many more bytes of results be sent."""
        with self._lock:
            self._credit += size
        self._resume()

    def cancel(self, reason: KitfoxError, failure: Failure) -> None:
        """Ends it: at its next result, or where it waits."""
        self._context.cancel(reason)
        if self.feed is not None:
            self.feed.end(failure)
        if self._task is not None:
            self._calls.loop.call_soon_threadsafe(self._task.cancel)
        self._resume()

    def _resume(self) -> None:
        with self._lock:
            suspended, self._suspended = self._suspended, False
        if self._room is not None:
            self._calls.loop.call_soon_threadsafe(self._room.set)
        elif self._own_thread:
            self._more.set()
        elif suspended:
            self._calls.runners.add([self.advance])

    def wait_for_caller(self, waits: bool) -> None:
        """Notes that the method waits for a request, or no longer does.

        Meanwhile others may run; an `async def` call counts until its end.
        """
        in_own = threading.get_ident() == self._own_thread
        permits = self._calls.permits if in_own else None
        if waits:
            self._calls.notes.end(self._place)
            if permits is not None:
                permits.release()
        else:
            if permits is not None:
                permits.acquire()
            self._calls.notes.begin(self._place, self.number)

    def _claim(self) -> bool:
        try:
            return self._once.pop()
        except IndexError:
            return False

    def _begin_once(self) -> bool:
        """Begins it, if it has not begun; false if it has been withdrawn."""
        if not self._begun:
            if not self._claim():
                return False
            self._begun = True
            self._calls.notes.note_begun(self.number)
        return True

    # -- ordinary methods

    def start_own_thread(self) -> None:
        """Runs it in a thread of its own, from beginning to end.

        It waits for its caller again and again, and must not keep a runner from others.
        """
        permits = self._calls.permits
        if permits is None:
            self._start_thread()
        else:
            # There is no thread before: one that waits for a permit could not be ended.
            permits.when_free(self._start_thread)

    def _start_thread(self) -> None:
        threading.Thread(target=self._run_in_own_thread, daemon=True).start()

    def _run_in_own_thread(self) -> None:
        """Begins with a permit, if one is needed."""
        self._own_thread = threading.get_ident()
        place, permits = self._calls.places.take(), self._calls.permits
        while True:
            over = self.advance(place)
            if permits is not None:
                permits.release()
            if over:
                break
            self._more.wait()
            self._more.clear()
            if permits is not None:
                permits.acquire()
        self._calls.places.give_back(place)

    def advance(self, place: int) -> bool:
        """Makes results as long as they may be sent; tells whether it is over."""
        if not self._begin_once():
            return True
        self._place = place
        current_request.set(self._context)
        self._calls.notes.begin(place, self.number)
        try:
            if self._iterator is None and not self._context.cancelled and not self._begin():
                return True
            while not self._context.cancelled:
                if not self._has_room():
                    return False
                try:
                    item = next(self._iterator)  # type: ignore[arg-type] # it has begun
                except StopIteration:
                    self._finish((END, self.number))
                    return True
                self._send(item)
                self._calls.notes.begin(place, self.number)
            self._close()
        except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
            self._finish((ERROR, self.number, failure_of(err)))
        finally:
            self._calls.notes.end(place)
        return True

    def _begin(self) -> bool:
        """Calls the method; tells whether its result is a stream."""
        made = self.call()
        if isinstance(made, DataObjectBase) or not isinstance(made, Iterable):
            self._finish((RESULT, self.number, made))
            return False
        self._iterator = iter(made)
        self._outbox.add_soon((OPENED, self.number))
        return True

    def _has_room(self) -> bool:
        with self._lock:
            if self._credit > 0:
                return True
            self._suspended = True
            return False

    def _send(self, item: Any) -> None:
        # Now, not when there is a moment: the method may change the object and give it again.
        data = pickle.dumps(item, 5)
        with self._lock:
            self._credit -= len(data) + _OVERHEAD
        self._outbox.add_soon((ITEMS, self.number, [data]))

    def _close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
        reason = self._context.reason or Cancelled("the call was cancelled")
        self._finish((ERROR, self.number, failure_of(reason)))

    def _finish(self, message: Message) -> None:
        self._calls.forget(self)
        self._outbox.add_soon(message)

    # -- `async def` methods

    async def run_on_loop(self) -> None:
        """Runs it in the event loop."""
        self._task = asyncio.current_task()
        self._room = asyncio.Event()
        permits = self._calls.permits
        if permits is not None:
            try:
                await permits.acquire_on(self._calls.loop)
            except asyncio.CancelledError:
                return  # it has been withdrawn
        try:
            if self._begin_once():
                await self._run_noted()
        finally:
            if permits is not None:
                permits.release()

    async def _run_noted(self) -> None:
        self._place = self._calls.places.take()
        current_request.set(self._context)
        self._calls.notes.begin(self._place, self.number)
        try:
            if self._context.reason is not None:
                raise self._context.reason
            await self._run_async()
        except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
            self._finish((ERROR, self.number, failure_of(self._context.reason or err)))
        finally:
            self._calls.places.give_back(self._place)

    async def _run_async(self) -> None:
        made = self.call()
        if asyncio.iscoroutine(made):
            made = await made
        if isinstance(made, AsyncIterable):
            self._outbox.add_soon((OPENED, self.number))
            await self._drain(made)
        elif isinstance(made, Iterable) and not isinstance(made, DataObjectBase):
            # An ordinary generator, made by a coroutine: it may block, so it goes to a thread.
            self._iterator, self._room = iter(made), None
            self._outbox.add_soon((OPENED, self.number))
            self._task = None
            if self.feed is not None:
                self.start_own_thread()
            else:
                self._calls.runners.add([self.advance])
        else:
            self._finish((RESULT, self.number, made))

    async def _drain(self, results: AsyncIterable[Any]) -> None:
        try:
            async for item in results:
                self._send(item)
                while not self._has_room():
                    self._room.clear()  # type: ignore[union-attr] # it was made at the beginning
                    if self._credit <= 0:
                        self.wait_for_caller(True)
                        await self._room.wait()  # type: ignore[union-attr] # as above
                        self.wait_for_caller(False)
                self._calls.notes.begin(self._place, self.number)
        finally:
            close = getattr(results, "aclose", None)
            if close is not None:
                await close()
        self._finish((END, self.number))
