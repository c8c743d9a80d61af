"""The stock asynchronous gRPC client for Python, with stubs that protoc made."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from tests.conftest import Server

PLAIN = (("mm-model-id", "plain"),)
ASYNCHRONOUS = (("mm-model-id", "asynchronous"),)
BOTH = pytest.mark.parametrize("model", [PLAIN, ASYNCHRONOUS], ids=["plain", "asynchronous"])

Call = Callable[[Any, SimpleNamespace], Awaitable[None]]


@pytest.fixture
def calling(shapes: Server, generated: SimpleNamespace) -> Callable[[Call], None]:
    """Runs a coroutine with a stub on a channel of its own, and the messages to send."""

    def run(call: Call) -> None:
        async def main() -> None:
            async with grpc.aio.insecure_channel(shapes.address) as channel:
                await call(generated.ShapesServiceStub(channel), generated)

        asyncio.run(asyncio.wait_for(main(), 60))

    return run


async def code(call: Awaitable[Any]) -> grpc.StatusCode:
    """The status of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    found: grpc.StatusCode = caught.value.code()
    return found


async def collected(call: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in call]


@BOTH
def test_the_four_shapes(calling: Callable[[Call], None], model: Any) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        async def texts(kind: Any) -> AsyncIterator[Any]:
            for text in "ab":
                yield kind(texts=text)

        unary = await stub.TalkTaskPredict(messages.TalkTaskRequest(text="hello"), metadata=model)
        request = messages.ServerStreamingTalkTaskRequest(text="w", count=2)
        words = await collected(stub.ServerStreamingTalkTaskPredict(request, metadata=model))
        gathered = await stub.ClientStreamingTalkTaskPredict(
            texts(messages.ClientStreamingTalkTaskRequest), metadata=model
        )
        answers = await collected(
            stub.BidiStreamingTalkTaskPredict(
                texts(messages.BidiStreamingTalkTaskRequest), metadata=model
            )
        )
        assert unary.text == "hello"
        assert [word.number for word in words] == [0, 1]
        assert gathered.text == "a b"
        assert [word.text for word in answers] == ["A", "B"]

    calling(call)


@BOTH
def test_reading_and_writing_by_hand(calling: Callable[[Call], None], model: Any) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        talk = stub.BidiStreamingTalkTaskPredict(metadata=model)
        metadata = dict(await talk.initial_metadata())
        assert metadata["acknowledgement"] == "ok"
        for text in ["a", "b", "c"]:
            await talk.write(messages.BidiStreamingTalkTaskRequest(texts=text))
            assert (await talk.read()).text == text.upper()
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF
        assert await talk.code() is grpc.StatusCode.OK

    calling(call)


@BOTH
def test_deadline(calling: Callable[[Call], None], model: Any) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        slow = messages.TalkTaskRequest(text="x", pause=20)
        unary = await code(stub.TalkTaskPredict(slow, metadata=model, timeout=0.3))
        endless = messages.ServerStreamingTalkTaskRequest(text="w", count=10_000, pause=0.01)
        stream = stub.ServerStreamingTalkTaskPredict(endless, metadata=model, timeout=0.3)
        assert unary is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await code(collected(stream)) is grpc.StatusCode.DEADLINE_EXCEEDED

    calling(call)


@BOTH
def test_cancellation(calling: Callable[[Call], None], model: Any) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        endless = messages.ServerStreamingTalkTaskRequest(text="w", count=10_000, pause=0.01)
        stream = stub.ServerStreamingTalkTaskPredict(endless, metadata=model)
        assert (await stream.read()).number == 0
        assert stream.cancel()
        assert await stream.code() is grpc.StatusCode.CANCELLED
        unary = stub.TalkTaskPredict(messages.TalkTaskRequest(text="x", pause=20), metadata=model)
        await asyncio.sleep(0.1)
        unary.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unary

    calling(call)


def test_many_calls_at_a_time(calling: Callable[[Call], None]) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        async def one(number: int) -> None:
            model = PLAIN if number % 2 else ASYNCHRONOUS
            request = messages.TalkTaskRequest(text=str(number))
            assert (await stub.TalkTaskPredict(request, metadata=model)).text == str(number)

        async def stream(number: int) -> None:
            model = PLAIN if number % 2 else ASYNCHRONOUS
            request = messages.ServerStreamingTalkTaskRequest(text=str(number), count=10)
            words = await collected(stub.ServerStreamingTalkTaskPredict(request, metadata=model))
            assert [(word.text, word.number) for word in words] == [
                (str(number), index) for index in range(10)
            ]

        await asyncio.gather(*map(one, range(300)), *map(stream, range(60)))

    calling(call)


def test_waiting_for_the_server_needs_no_second_try(calling: Callable[[Call], None]) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        request = messages.TalkTaskRequest(text="hello")
        answer = await stub.TalkTaskPredict(request, metadata=PLAIN, wait_for_ready=True)
        assert answer.text == "hello"

    calling(call)


def test_refusals(calling: Callable[[Call], None]) -> None:
    async def call(stub: Any, messages: SimpleNamespace) -> None:
        request = messages.TalkTaskRequest(text="hello")
        nobody = (("mm-model-id", "nobody"),)
        assert (
            await code(stub.TalkTaskPredict(request, metadata=nobody)) is grpc.StatusCode.NOT_FOUND
        )
        assert await code(stub.TalkTaskPredict(request)) is grpc.StatusCode.INVALID_ARGUMENT

    calling(call)
