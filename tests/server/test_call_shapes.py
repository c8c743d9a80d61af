"""Every call shape answers a stock gRPC client, whichever way its method is written."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.server.shapes import MODELS, SERVICE, ShapesServer, model, request, requests, texts
from tests.waiting import wait_for


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShapesServer]:
    made = ShapesServer.make(tmp_path_factory.mktemp("shapes"), SERVER_ENGINE=request.param)
    made.start()
    yield made
    assert made.stop() == 0, made.log


@pytest.fixture
def channel(server: ShapesServer) -> Iterator[grpc.Channel]:
    with server.channel() as found:
        yield found


both = pytest.mark.parametrize("name", MODELS)


@both
def test_one_request_one_result(server: ShapesServer, channel: grpc.Channel, name: str) -> None:
    answer = server.method(channel, "one")(request("one", text="fox"), metadata=model(name))
    assert answer.text == "fox"


@both
@pytest.mark.parametrize("count", [0, 1, 3, 2000])
def test_one_request_many_results(
    server: ShapesServer, channel: grpc.Channel, name: str, count: int
) -> None:
    call = server.method(channel, "many")(
        request("many", text="fox", count=count), metadata=model(name)
    )
    assert [word.number for word in call] == list(range(count))


@both
@pytest.mark.parametrize("count", [1, 3, 2000])
def test_many_requests_one_result(
    server: ShapesServer, channel: grpc.Channel, name: str, count: int
) -> None:
    words = [str(number) for number in range(count)]
    answer = server.method(channel, "gather")(
        requests("gather", *words, separator="-"), metadata=model(name)
    )
    assert (answer.text, answer.number) == ("-".join(words), count)


@both
@pytest.mark.parametrize("count", [1, 3, 2000])
def test_many_requests_many_results(
    server: ShapesServer, channel: grpc.Channel, name: str, count: int
) -> None:
    words = [f"w{number}" for number in range(count)]
    call = server.method(channel, "answer")(requests("answer", *words), metadata=model(name))
    assert texts(call) == [word.upper() for word in words]


@both
def test_requests_and_results_take_turns(
    server: ShapesServer, channel: grpc.Channel, name: str
) -> None:
    """Each result is there before the next request is sent."""
    turn = threading.Semaphore(1)

    def ask() -> Iterator[Any]:
        for text in ("a", "b", "c"):
            assert turn.acquire(timeout=60)
            yield request("answer", texts=text)

    found = []
    for word in server.method(channel, "answer")(ask(), metadata=model(name), timeout=60):
        found.append(word.text)
        turn.release()
    assert found == ["A", "B", "C"]


@both
@pytest.mark.parametrize("fail_at", [0, 2])
def test_a_failure_in_the_middle_keeps_what_was_sent(
    server: ShapesServer, channel: grpc.Channel, name: str, fail_at: int
) -> None:
    call = server.method(channel, "many")(
        request("many", text="fox", count=5, fail_at=fail_at), metadata=model(name)
    )
    found: list[Any] = []
    with pytest.raises(grpc.RpcError) as caught:
        found.extend(word.number for word in call)
    error: Any = caught.value
    assert found == list(range(fail_at))
    assert (error.code().name, error.details()) == ("INVALID_ARGUMENT", f"no word {fail_at}")


@both
@pytest.mark.parametrize("shape", ["gather", "answer"])
def test_a_stream_without_requests_is_refused(
    server: ShapesServer, channel: grpc.Channel, name: str, shape: str
) -> None:
    call = server.method(channel, shape)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter(()), metadata=model(name)))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected at least one" in error.details()


@both
@pytest.mark.parametrize("shape", ["one", "many"])
def test_compression_goes_both_ways(
    server: ShapesServer, channel: grpc.Channel, name: str, shape: str
) -> None:
    call = server.method(channel, shape)(
        request(shape, text="fox" * 1000, size=100_000),
        metadata=model(name),
        compression=grpc.Compression.Gzip,
    )
    words = [call] if shape == "one" else list(call)
    assert all(word.text == "fox" * 1000 + "x" * 100_000 for word in words)


@both
def test_the_context_tells_of_the_call(
    server: ShapesServer, channel: grpc.Channel, name: str
) -> None:
    def ask(key: str, *more: tuple[str, Any], **options: Any) -> str:
        call = server.method(channel, "context")
        text: str = call(request("context", text=key), metadata=model(name, *more), **options).text
        return text

    assert ask("model_id") == name
    assert ask("request_id", ("x-request-id", "abc-1")) == "abc-1"
    assert len(ask("request_id")) == 32
    assert ask("deadline") == "none"
    assert 0 < float(ask("deadline", timeout=20)) < 21
    assert ask("x-word", ("x-word", "fox")) == "fox"
    # As it travels: base64, without padding or with it.
    assert ask("x-bytes-bin", ("x-bytes-bin", b"\x00\xff\x10")) in ("AP8Q", "AP8Q=")


def test_the_request_id_comes_back_and_is_in_the_log(
    server: ShapesServer, channel: grpc.Channel
) -> None:
    call = server.method(channel, "one")
    _, info = call.with_call(
        request("one", text="logged"), metadata=model("plain", ("x-request-id", "id-of-mine"))
    )
    assert ("x-request-id", "id-of-mine") in [tuple(item) for item in info.initial_metadata()]
    wait_for(
        lambda: any(
            '"one says logged"' in line and '"request_id":"id-of-mine"' in line
            for line in server.log.splitlines()
        ),
        what="the module's line in the log",
    )


def test_an_asynchronous_client(server: ShapesServer) -> None:
    async def talk() -> None:
        async with grpc.aio.insecure_channel(server.address) as channel:
            one = server.method(channel, "one")
            answers = await asyncio.gather(
                *(
                    one(request("one", text=str(number)), metadata=model(MODELS[number % 2]))
                    for number in range(100)
                )
            )
            assert texts(answers) == [str(number) for number in range(100)]
            call = server.method(channel, "answer")(metadata=model("asynchronous"))
            for text in ("a", "b"):
                await call.write(request("answer", texts=text))
                assert (await call.read()).text == text.upper()
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

    asyncio.run(talk())


def test_what_is_no_grpc_is_refused(server: ShapesServer) -> None:
    path = f"/{SERVICE}/TalkTaskPredict"
    assert server.http("POST", path, b"{}", {"content-type": "application/json"}).status == 415
    assert server.http("GET", path).status == 405
