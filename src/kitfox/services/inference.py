"""Running a model: from the fields of a request to the call of the method that does its task.

Of a task's method table row each loaded model has one method; what must be known to call it is
worked out at a model's first call and kept with the model.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from kitfox import logs
from kitfox.data import DataObjectBase
from kitfox.errors import (
    Cancelled,
    Internal,
    InvalidArgument,
    KitfoxError,
)
from kitfox.models import (
    Executor,
    Finish,
    Item,
    ItemStreams,
    LoadedModel,
    ModelManager,
    OnLoop,
    RequestFeed,
    Submit,
    SubmitFor,
    Waiter,
    collect,
    generate,
    harmless,
    make_call,
    split,
)
from kitfox.modules import GrpcRequestContext, MethodKind, is_stream
from kitfox.services.methods import Context, Decode, Encode, Finished, Method

__all__ = ["InferenceHandler", "StreamingInferenceHandler"]

log = logs.channel("INFERENCE")

T = TypeVar("T")

# Requests of more bytes are read beside the event loop.
_LARGE = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class _Operation:
    """A method of one loaded model, ready to be called."""

    model: LoadedModel
    function: Callable[..., Any]
    """The method, for who has a thread for it or is on the event loop."""
    submit: Submit
    """Runs it, if it is an ordinary function with one result."""
    kind: MethodKind
    """How it is written: plain function, generator, with `async` or without."""
    accepts: frozenset[str]
    """The fields that it takes."""
    required: frozenset[str]
    """The fields without which it cannot be called."""
    streams: tuple[str, ...]
    """The fields that it reads as streams."""
    context_arg: str | None
    """The parameter that gets the call's context."""
    is_async: bool
    """Whether it runs on the event loop."""
    submit_for: SubmitFor | None
    """Starts it in any thread; None if it is called on the event loop only."""
    on_loop: OnLoop
    """Where it is noted there."""
    items: ItemStreams | None
    """What runs its streams item by item, together with others; None if it gets them whole."""
    takes_all: bool
    """Whether its arguments are just the fields of a request, all that there may be."""


class _Inference:
    """What calls with and without streams share.

    Args:
        method: The row of the method table.
        models: Where loaded models are.
    """

    def __init__(self, method: Method, models: ModelManager) -> None:
        self._models = models
        self._loaded = models.loaded
        self._method = method
        self._fields = frozenset(method.parameters)

    async def _operation(self, context: Context) -> _Operation:
        """The method of the addressed model, which is loaded if need be."""
        model = self._models.peek(context.model_id) or await self._models.get(context.model_id)
        operation = model.operations.get(self)
        return operation if operation is not None else self._bind(model)

    def _bind(self, model: LoadedModel) -> _Operation:
        for cls in model.module.__mro__:
            signature = self._method.signatures.get(cls)
            if signature is not None:
                break
        else:
            raise InvalidArgument(
                f"Model {model.name!r} ({model.module.__name__}) does not support "
                f"{self._method.name}"
            )
        names = frozenset(signature.parameters)
        accepts = names & self._fields
        streams = [
            name
            for name in signature.parameters
            if self._method.input_streaming and is_stream(signature.parameters[name])
        ]
        is_async = signature.kind in ("coroutine", "async_generator")
        run_item = model.execution.items(signature.method_name) if streams else None
        operation = _Operation(
            model=model,
            function=model.execution.function(signature.method_name),
            submit=model.execution.unary(signature.method_name),
            submit_for=None if is_async else model.execution.unary_for(signature.method_name),
            kind=signature.kind,
            accepts=accepts,
            required=frozenset(names - signature.defaults.keys()) & self._fields,
            streams=tuple(streams),
            context_arg=signature.context_arg,
            is_async=is_async,
            on_loop=model.execution.on_loop_of(signature.method_name),
            items=None if run_item is None else ItemStreams(run_item),
            takes_all=accepts == self._fields and signature.context_arg is None,
        )
        if signature.context_arg is not None:
            GrpcRequestContext.introduce()
        model.operations[self] = operation
        return operation

    def _arguments(
        self, operation: _Operation, fields: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        """What the method is called with."""
        if not operation.required <= fields.keys():
            raise self._missing(operation, fields)
        if operation.takes_all:
            return fields
        if operation.accepts != self._fields:
            # The request has the fields of every module of the task; others' are not this one's.
            fields = {name: value for name, value in fields.items() if name in operation.accepts}
        if operation.context_arg is not None:
            fields[operation.context_arg] = context
        return fields

    def _missing(self, operation: _Operation, fields: Mapping[str, Any]) -> InvalidArgument:
        names = sorted(operation.required - fields.keys())
        kinds = self._method.parameters
        expected = ", ".join(f"{name} ({_type_name(kinds[name])})" for name in names)
        return InvalidArgument(f"required inputs are missing: expected {expected}")

    def checked(self, result: Any, context: Context) -> DataObjectBase:
        """The result, if it is one.

        Raises:
            Internal: The model returned something else.
        """
        if isinstance(result, DataObjectBase):
            return result
        raise Internal(
            f"{self._method.name}: model {context.model_id!r} returned {type(result).__name__}, "
            "expected a data object"
        )


class InferenceHandler(_Inference):
    """Runs a model on one request for one result."""

    async def __call__(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Answers one call."""
        result: DataObjectBase = await self.finished(fields, context)
        return result

    async def finished(
        self, fields: dict[str, Any], context: Context, finish: Finish | None = None
    ) -> Any:
        """Answers one call, whose result may be finished by the thread that made it."""
        model = self._loaded.get(context.model_id)
        operation = None if model is None else model.operations.get(self)
        if operation is None:
            operation = await self._operation(context)
        model = operation.model
        if not operation.takes_all or not operation.required <= fields.keys():
            fields = self._arguments(operation, fields, context)
        model.leases.add(context)
        try:
            if operation.is_async:
                result = await self._run_on_loop(operation, fields, context)
            else:
                result = await operation.submit(fields, context, finish)
        finally:
            model.release(context)
        if isinstance(result, (DataObjectBase, Finished)):
            return result
        return self.checked(result, context)

    def begin(
        self, fields: dict[str, Any], context: Context, waiter: Waiter, finish: Finish
    ) -> bool:
        """Begins a call in any thread, if its model is loaded and runs in threads."""
        model = self._loaded.get(context.model_id)
        operation = None if model is None else model.operations.get(self)
        if model is None or operation is None or operation.submit_for is None:
            return False
        model.leases.add(context)
        waiter.model = model
        if model.retired:
            return False  # since it was looked up: it may be closed
        if not operation.takes_all or not operation.required <= fields.keys():
            fields = self._arguments(operation, fields, context)
        operation.submit_for(fields, context, waiter, finish)
        return True

    async def _run_on_loop(
        self, operation: _Operation, fields: dict[str, Any], context: Context
    ) -> Any:
        """Runs an `async def` method, here and now if there is room."""
        function, on_loop = operation.function, operation.on_loop
        running = on_loop.running
        if len(running) >= on_loop.limit:
            await on_loop.turn()
        call = make_call((function, fields, context, asyncio.current_task(), 0.0, None))
        running[id(call)] = call
        try:
            return await function(**fields)
        except (SystemExit, KeyboardInterrupt) as err:
            raise harmless(err) from err
        finally:
            del running[id(call)]
            on_loop.calls += 1
            if on_loop.is_shared:
                on_loop.next()

    async def check(self, fields: Mapping[str, Any], context: Context) -> LoadedModel:
        """Refuses what a call would refuse before the model is asked; gives the model."""
        operation = await self._operation(context)
        self._arguments(operation, dict(fields), context)
        return await self._models.get(context.model_id)

    async def is_async(self, context: Context) -> bool:
        """Whether the model's method runs on the event loop, so that it ends when cancelled."""
        return (await self._operation(context)).is_async


class StreamingInferenceHandler(_Inference):
    """Runs a model that reads a stream of requests, makes a stream of results, or both."""

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """Answers one call: yields batches of results that are ready together."""
        operation = await self._operation(context)
        operation.model.leases.add(context)
        try:
            if self._method.input_streaming:
                batches = self._answer_stream(operation, requests, context, decode, encode)
            else:
                arguments = self._arguments(operation, decode(await anext(requests)), context)
                executor = operation.model.execution.executor
                batches = self._run(operation, arguments, context, encode, executor)
            async with aclosing(batches):
                async for batch in batches:
                    yield batch
        finally:
            operation.model.release(context)

    async def _answer_stream(
        self,
        operation: _Operation,
        requests: AsyncIterator[bytes],
        context: Context,
        decode: Decode,
        encode: Encode,
    ) -> AsyncGenerator[list[bytes], None]:
        model, places = operation.model, self._models.stream_places
        bounded = operation.items is not None or not operation.is_async
        if bounded:
            places.take(model, model.name)
        try:
            if operation.items is not None:
                batches = self._answer_items(
                    operation, operation.items, requests, context, decode, encode
                )
            else:
                batches = self._answer_whole(operation, requests, context, decode, encode)
            async with aclosing(batches):
                async for batch in batches:
                    yield batch
        finally:
            if bounded:
                places.give_back(model)

    async def _answer_whole(
        self,
        operation: _Operation,
        requests: AsyncIterator[bytes],
        context: Context,
        decode: Decode,
        encode: Encode,
    ) -> AsyncGenerator[list[bytes], None]:
        """Has the method read the stream."""
        executor = operation.model.execution.feeds
        async with _feed(requests, decode, context, paused=executor.paused) as feed:
            arguments = self._arguments(operation, await self._open(operation, feed), context)
            batches = self._run(operation, arguments, context, encode, executor)
            async with aclosing(batches):
                async for batch in batches:
                    yield batch

    async def _answer_items(
        self,
        operation: _Operation,
        items: ItemStreams,
        requests: AsyncIterator[bytes],
        context: Context,
        decode: Decode,
        encode: Encode,
    ) -> AsyncGenerator[list[bytes], None]:
        """Has each request run as a call that may share a batch."""
        async with _feed(requests, bytes, context) as feed:
            batches = items.answer(
                self._items(operation, feed, context, decode),
                encode=partial(self._write, encode, context),
                context=context,
            )
            async with aclosing(batches):
                async for batch in batches:
                    yield batch

    async def _items(
        self, operation: _Operation, feed: RequestFeed[bytes], context: Context, decode: Decode
    ) -> AsyncGenerator[Item, None]:
        """The arguments of each request: single values are those of the first."""
        single: dict[str, Any] | None = None
        async for message in feed:
            large = len(message) > _LARGE
            fields = await asyncio.to_thread(decode, message) if large else decode(message)
            own = {name: fields[name] for name in operation.streams if name in fields}
            if single is None:
                single = {name: value for name, value in fields.items() if name not in own}
            arguments = self._arguments(operation, {**single, **own}, context)
            if operation.context_arg is not None:
                del arguments[operation.context_arg]  # a batch has none
            yield len(message), arguments
        if single is None:
            raise self._empty()

    def _empty(self) -> InvalidArgument:
        return InvalidArgument(
            f"{self._method.name}: the stream of requests was empty; expected at least one"
        )

    async def _open(
        self, operation: _Operation, feed: RequestFeed[dict[str, Any]]
    ) -> dict[str, Any]:
        """The arguments of a stream: single values from its first message, streams over all."""
        try:
            first = await anext(feed)
        except StopAsyncIteration:
            raise self._empty() from None
        single = {name: value for name, value in first.items() if name not in operation.streams}
        return {**single, **split(feed, first, operation.streams)}

    async def _run(
        self,
        operation: _Operation,
        arguments: dict[str, Any],
        context: Context,
        encode: Encode,
        executor: Executor,
    ) -> AsyncGenerator[list[bytes], None]:
        call = partial(operation.function, **arguments)
        write = partial(self._write, encode, context)

        def make() -> Iterable[Any]:
            return self._iterable(call())

        try:
            if operation.is_async:
                async with operation.on_loop.place():
                    made = call() if operation.kind == "async_generator" else await call()
                    if not self._method.output_streaming:
                        yield [write(made)]
                        return
                    if isinstance(made, AsyncIterable):
                        async with aclosing(collect(made, encode=write)) as batches:
                            async for batch in batches:
                                yield batch
                        return
                # A thread makes these, which has to have a place itself.
                make = partial(self._iterable, made)
            if not self._method.output_streaming:
                yield [await executor.submit(lambda: write(call()), {}, context)]
                return
            generated = generate(make, encode=write, executor=executor, context=context)
            async with aclosing(generated) as batches:
                async for batch in batches:
                    yield batch
        except (SystemExit, KeyboardInterrupt) as err:
            raise harmless(err) from err

    def _iterable(self, made: Any) -> Iterable[Any]:
        if isinstance(made, Iterable):
            return made
        raise Internal(f"{self._method.name}: expected a stream of results, got {_type_name(made)}")

    def _write(self, encode: Encode, context: Context, result: Any) -> bytes:
        checked = self.checked(result, context)
        try:
            return encode(checked)
        except KitfoxError:
            raise
        except (TypeError, ValueError, AttributeError) as err:
            raise Internal("Could not serialize output in model response stream") from err


@asynccontextmanager
async def _feed(
    requests: AsyncIterator[bytes],
    decode: Callable[[bytes], T],
    context: Context,
    paused: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AsyncIterator[RequestFeed[T]]:
    """What brings the requests of a call, until it is over or cancelled."""
    feed = RequestFeed(requests, decode, paused=paused)
    context.on_cancel(lambda: feed.close(context.reason))
    try:
        yield feed
    finally:
        feed.close(Cancelled("the call is over"))
        await feed.aclose()


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
