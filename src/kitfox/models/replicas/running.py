"""The calls of one replica: begins them, gives them what comes later, tells how they end."""

import asyncio
import pickle
import threading
from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.errors import Cancelled, KitfoxError
from kitfox.logs import current_request
from kitfox.models.batch_shape import BatchShape
from kitfox.models.cores import library_threads
from kitfox.models.permits import Permits
from kitfox.models.replicas.batches import Batches, BatchSettings
from kitfox.models.replicas.failures import Failure, error_of, failure_of
from kitfox.models.replicas.feed import ReplicaFeed
from kitfox.models.replicas.figures import ReplicaFigures
from kitfox.models.replicas.messages import (
    END,
    ERROR,
    ITEMS,
    OPENED,
    RESULT,
    WANT,
    Message,
)
from kitfox.models.replicas.outbox import Outbox
from kitfox.models.replicas.page import Notes
from kitfox.models.replicas.runners import Places, Runners
from kitfox.models.streams import split
from kitfox.modules import GrpcRequestContext, ModuleBase, RequestContext

__all__ = ["Calls"]

# What a message costs beside its bytes, so that many empty ones are bounded too.
_OVERHEAD = 256


class Calls:
    """Runs the methods of a model.

    Args:
        model: The model.
        threads: How many calls may run at the same time: of ordinary methods, and
        limited: if this is true, of all, those that read a stream and `async def` ones included.
        shapes: How calls of methods are joined that make batches.
        batching: What is configured of batches.
        notes: Where it is noted what runs.
        outbox: Where results go.
    """

    def __init__(
        self,
        model: ModuleBase,
        *,
        threads: int,
        limited: bool,
        shapes: Mapping[str, BatchShape],
        batching: BatchSettings,
        notes: Notes,
        outbox: Outbox,
    ) -> None:
        library = library_threads()
        self._prepare = None if library is None else library.share
        self._model = model
        self._threads = threads
        self.notes = notes
        self.outbox = outbox
        self.places = Places(notes)
        limits_all = limited and _has_more_than_runners(type(model))
        permits = Permits(threads) if shapes or limits_all else None
        self.permits = permits if limits_all else None
        """What calls must have that have no runner, to run; None: nothing."""
        self.runners = Runners(
            limit=threads,
            notes=notes,
            places=self.places,
            run=self._run,
            flush=outbox.flush,
            permits=permits,
        )
        self._told = ReplicaFigures()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches = {
            method: Batches(
                model,
                shape,
                settings=batching,
                threads=threads,
                loop=self.loop,
                notes=notes,
                places=self.places,
                permits=permits,
                prepare=self._prepare,
                finish=self._finish,
                flush=outbox.flush,
            )
            for method, shape in shapes.items()
            if permits is not None
        }
        self._contexts: dict[int, RequestContext] = {}
        self._streams: dict[int, _Stream] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def method(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        found = self._methods.get(name)
        if found is None:
            found = self._methods[name] = getattr(self._model, name)
        return found

    def begin(self, messages: list[Message]) -> None:
        """Takes CALLs, to be run when there is a thread."""
        if not self._batches:
            self.runners.add(messages)
            return
        single, together = [], defaultdict(list)
        for message in messages:
            _, number, name, arguments, request_id, context = message
            if name in self._batches:
                made = self._contexts[number] = _context(request_id, context, arguments)
                together[name].append((number, arguments, made))
            else:
                single.append(message)
        for name, calls in together.items():
            self._batches[name].add(calls)
        if single:
            self.runners.add(single)

    def withdraw(self, number: int) -> bool:
        """Takes a CALL or STREAM back that nobody has begun; tells whether it was there."""
        if self.runners.withdraw(number):
            return True
        if any(batches.withdraw(number) for batches in self._batches.values()):
            self._contexts.pop(number, None)
            return True
        stream = self._streams.get(number)
        if stream is not None and stream.withdraw():
            self.forget(stream)
            return True
        return False

    @property
    def busy(self) -> bool:
        """Whether there are calls of ordinary methods that are not over."""
        return bool(self._contexts) or self.runners.backlog

    def tell_figures(self) -> bool:
        """Tells the server what has been done, if that is news; tells whether it was."""
        batches = list(self._batches.values())
        sizes = zip(*(item.sizes for item in batches), strict=True)
        figures = ReplicaFigures(
            together=self._threads * max((item.most for item in batches), default=1),
            queue_seconds=self.runners.queue_seconds + sum(item.queue_seconds for item in batches),
            batches=[sum(counts) for counts in sizes],
            batched_calls=sum(item.calls for item in batches),
        )
        if figures == self._told:
            return False
        self._told = figures
        self.outbox.add_soon(figures.message())
        return True

    def _finish(self, number: int, result: Any, error: BaseException | None) -> None:
        """Tells what a call of a batch came to."""
        self._contexts.pop(number, None)
        ended = (RESULT, number, result) if error is None else (ERROR, number, failure_of(error))
        self.outbox.add(ended)

    def _run(self, message: Message) -> None:
        """Runs a CALL, in the thread that asks."""
        _, number, name, arguments, request_id, context = message
        made = self._contexts[number] = _context(request_id, context, arguments)
        current_request.set(made)
        try:
            if self._prepare is not None:
                self._prepare(self.runners.active)
            reply: Message = (RESULT, number, self.method(name)(**arguments))
        except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
            reply = (ERROR, number, failure_of(err))
        del self._contexts[number]
        self.outbox.add(reply)

    def open_stream(self, message: Message) -> None:
        """Begins a STREAM."""
        _, number, name, arguments, request_id, context, streams, credit, on_loop = message
        made = _context(request_id, context, arguments)
        stream = _Stream(number, partial(self.method(name), **arguments), made, credit, calls=self)
        if streams:
            feed = stream.feed = ReplicaFeed(
                streams,
                want=lambda size: self.outbox.add_soon((WANT, number, size)),
                window=credit,
                waiting=stream.wait_for_caller,
            )
            stream.call = partial(self.method(name), **arguments, **split(feed, None, streams))
        self._streams[number] = stream
        if on_loop:
            asyncio.run_coroutine_threadsafe(stream.run_on_loop(), self.loop)
        elif streams:
            stream.start_own_thread()
        else:
            self.runners.add([stream.advance])

    def credit(self, number: int, size: int) -> None:
        """Lets a stream of results go on."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.add_credit(size)

    def feed(self, number: int, requests: list[bytes]) -> None:
        """Gives a stream of requests what came."""
        stream = self._streams.get(number)
        if stream is not None and stream.feed is not None:
            stream.feed.put(requests)

    def end_feed(self, number: int, failure: Failure | None) -> None:
        """Ends a stream of requests."""
        stream = self._streams.get(number)
        if stream is not None and stream.feed is not None:
            stream.feed.end(failure)

    def cancel(self, number: int, failure: Failure) -> None:
        """Tells a call that nobody waits for it any more."""
        reason = error_of(failure)
        if not isinstance(reason, KitfoxError):
            reason = Cancelled(str(reason))
        if self.withdraw(number):
            self.outbox.add_soon((ERROR, number, failure))
            return
        context = self._contexts.get(number)
        if context is not None:
            context.cancel(reason)
        stream = self._streams.get(number)
        if stream is not None:
            stream.cancel(reason, failure)

    def forget(self, stream: "_Stream") -> None:
        """Drops a stream that is over."""
        self._streams.pop(stream.number, None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop for `async def` methods; started when it is first needed."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()
        return self._loop


def _has_more_than_runners(module: type[ModuleBase]) -> bool:
    """Whether calls of a module may run elsewhere than in runners."""
    return any(
        requests or signature.kind in ("coroutine", "async_generator")
        for methods in module._task_methods.values()
        for (requests, _), signature in methods.items()
    )


def _context(
    request_id: str, told: tuple[tuple[Any, ...], str] | None, arguments: dict[str, Any]
) -> RequestContext:
    """The context of a call; put among the arguments where the method asks for it."""
    if told is None:
        return RequestContext(request_id=request_id)
    (is_grpc, model_id, deadline, metadata), name = told
    made = (GrpcRequestContext if is_grpc else RequestContext)(
        model_id=model_id, request_id=request_id, deadline=deadline, metadata=metadata
    )
    arguments[name] = made
    return made


class _Stream:
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
        calls: Calls,
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
