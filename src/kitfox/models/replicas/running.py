"""The calls of one replica: begins them, gives them what comes later, tells how they end."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kitfox.errors import Cancelled, KitfoxError
from kitfox.logs import current_request
from kitfox.models.batch_shape import BatchShape
from kitfox.models.cores import library_threads
from kitfox.models.permits import Permits
from kitfox.models.replicas.batches import Batches, BatchSettings
from kitfox.models.replicas.failures import Failure, error_of, failure_of
from kitfox.models.replicas.feed import ReplicaFeed
from kitfox.models.replicas.figures import ReplicaFigures
from kitfox.models.replicas.messages import ERROR, RESULT, STREAM, WANT, Message
from kitfox.models.replicas.outbox import Outbox
from kitfox.models.replicas.page import Notes
from kitfox.models.replicas.runners import Places, Runners
from kitfox.models.replicas.running_stream import RunningStream
from kitfox.models.streams import split
from kitfox.modules import GrpcRequestContext, ModuleBase, RequestContext

__all__ = ["Calls"]


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
        in_threads = any(not shape.is_async for shape in shapes.values())
        permits = Permits(threads) if in_threads or limits_all else None
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
                permits=self.permits if shape.is_async else permits,
                prepare=self._prepare,
                finish=self._finish,
                # The event loop is not to wait for the server to take what is sent.
                flush=outbox.flush_soon if shape.is_async else outbox.flush,
            )
            for method, shape in shapes.items()
        }
        self._contexts: dict[int, RequestContext] = {}
        self._streams: dict[int, RunningStream] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def method(self, name: str) -> Callable[..., Any]:
        """A method of the model."""
        found = self._methods.get(name)
        if found is None:
            found = self._methods[name] = getattr(self._model, name)
        return found

    def may_join(self, message: Message) -> bool:
        """Whether a message is a STREAM without streams whose call may share a batch."""
        if not self._batches or message[0] != STREAM or message[2] not in self._batches:
            return False
        *_, streams, _, on_loop = message
        return on_loop and not streams

    def begin(self, messages: list[Message]) -> None:
        """Takes CALLs, to be run when there is a thread, and what may share their batches."""
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
            together=max((item.together for item in batches), default=self._threads),
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
        stream = RunningStream(
            number, partial(self.method(name), **arguments), made, credit, calls=self
        )
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

    def forget(self, stream: RunningStream) -> None:
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
