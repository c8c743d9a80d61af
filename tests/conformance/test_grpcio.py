"""The stock gRPC client for Python, with stubs that protoc made of our .proto files."""

import json
import queue
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import grpc
import pytest

from tests.conformance.conftest import MESSAGE_LIMIT, SHAPES
from tests.conftest import Server
from tests.waiting import wait_for

PLAIN = [("mm-model-id", "plain")]
ASYNCHRONOUS = [("mm-model-id", "asynchronous")]
BOTH = pytest.mark.parametrize("model", [PLAIN, ASYNCHRONOUS], ids=["plain", "asynchronous"])


class Client:
    """A channel, its stub, and the messages to send."""

    def __init__(self, server: Server, generated: SimpleNamespace, **options: Any) -> None:
        pairs = [(f"grpc.{name}", value) for name, value in options.items()]
        compression = grpc.Compression.Gzip if options.pop("gzip", False) else None
        self.channel = grpc.insecure_channel(server.address, options=pairs, compression=compression)
        self.stub = generated.ShapesServiceStub(self.channel)
        self.messages = generated

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def talk(self, text: str = "hello", **fields: Any) -> Any:
        return self.messages.TalkTaskRequest(text=text, **fields)

    def many(self, count: int = 3, **fields: Any) -> Any:
        request = self.messages.ServerStreamingTalkTaskRequest
        return request(text="w", count=count, **fields)

    def gather(self, *texts: str) -> Iterator[Any]:
        return (self.messages.ClientStreamingTalkTaskRequest(texts=text) for text in texts)

    def answer(self, *texts: str) -> Iterator[Any]:
        return (self.messages.BidiStreamingTalkTaskRequest(texts=text) for text in texts)

    def context(self, key: str, metadata: list[tuple[str, Any]], **options: Any) -> str:
        """What the model reads from the call's context."""
        request = self.messages.ContextTaskRequest(text=key)
        call = self.stub.ContextTaskPredict(request, metadata=[*PLAIN, *metadata], **options)
        return str(call.text)

    def noted(self, event: str) -> int:
        """How often the module has noted an event."""
        request = self.messages.JournalTaskRequest(text="")
        answer = self.stub.JournalTaskPredict(request, metadata=PLAIN)
        return int(json.loads(answer.text).get(event, 0))


@pytest.fixture
def client(shapes: Server, generated: SimpleNamespace) -> Iterator[Client]:
    with Client(shapes, generated) as made:
        yield made


def code(call: Any) -> grpc.StatusCode:
    """The status of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    found: grpc.StatusCode = caught.value.code()
    return found


# -- the four shapes


@BOTH
def test_unary(client: Client, model: Any) -> None:
    answer, call = client.stub.TalkTaskPredict.with_call(client.talk(), metadata=model)
    assert (answer.text, answer.number) == ("hello", 0)
    assert call.code() is grpc.StatusCode.OK


@BOTH
def test_server_stream(client: Client, model: Any) -> None:
    words = list(client.stub.ServerStreamingTalkTaskPredict(client.many(), metadata=model))
    assert [(word.text, word.number) for word in words] == [("w", 0), ("w", 1), ("w", 2)]


@BOTH
def test_client_stream(client: Client, model: Any) -> None:
    call = client.stub.ClientStreamingTalkTaskPredict
    answer = call(client.gather("a", "b", "c"), metadata=model)
    assert (answer.text, answer.number) == ("a b c", 3)


@BOTH
def test_a_bidirectional_call_is_a_conversation(client: Client, model: Any) -> None:
    """The second message is sent when the answer to the first has come."""
    said: queue.Queue[Any] = queue.Queue()
    call = client.stub.BidiStreamingTalkTaskPredict(iter(said.get, None), metadata=model)
    for number, text in enumerate(["a", "b", "c"]):
        said.put(next(client.answer(text)))
        answer = next(call)
        assert (answer.text, answer.number) == (text.upper(), number)
    said.put(None)
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_a_bidirectional_call_is_acknowledged_before_anything_is_said(client: Client) -> None:
    said: queue.Queue[Any] = queue.Queue()
    call = client.stub.BidiStreamingTalkTaskPredict(iter(said.get, None), metadata=PLAIN)
    assert dict(call.initial_metadata())["acknowledgement"] == "ok"
    said.put(None)
    assert call.code() is not None


@BOTH
def test_what_was_sent_before_a_failure_arrives(client: Client, model: Any) -> None:
    call = client.stub.ServerStreamingTalkTaskPredict(client.many(fail_at=2), metadata=model)
    assert [next(call).number, next(call).number] == [0, 1]
    assert code(lambda: next(call)) is grpc.StatusCode.INVALID_ARGUMENT
    assert call.details() == "no word 2"


# -- what travels beside the messages


def test_metadata(client: Client) -> None:
    assert client.context("x-colour", [("x-colour", "light blue")]) == "light blue"
    sealed = client.context("x-seal-bin", [("x-seal-bin", b"\x00\x01\xfe\xff")])
    assert sealed.rstrip("=") == "AAH+/w"  # base64, as it travels, with padding or without
    assert client.context("x-request-id", [("x-request-id", "r-7")]) == "r-7"
    assert client.context("request_id", [("x-request-id", "r-7")]) == "r-7"
    assert client.context("model_id", []) == "plain"


def test_the_model_knows_the_deadline(client: Client) -> None:
    assert client.context("deadline", []) == "none"
    left = float(client.context("deadline", [], timeout=60))
    assert 50 < left < 61  # grpcio sends the time that is left rounded up


@BOTH
def test_deadline(client: Client, model: Any) -> None:
    slow = client.talk(pause=20)
    assert (
        code(lambda: client.stub.TalkTaskPredict(slow, metadata=model, timeout=0.3))
        is grpc.StatusCode.DEADLINE_EXCEEDED
    )
    stream = client.stub.ServerStreamingTalkTaskPredict
    call = stream(client.many(1000, pause=0.02), metadata=model, timeout=0.3)
    assert code(lambda: list(call)) is grpc.StatusCode.DEADLINE_EXCEEDED


# -- going away


@pytest.mark.parametrize(
    ("model", "event"),
    [(PLAIN, "one saw the cancellation"), (ASYNCHRONOUS, "async one was cancelled")],
    ids=["plain", "asynchronous"],
)
def test_a_cancelled_call_is_cancelled_in_the_model(client: Client, model: Any, event: str) -> None:
    started = "one started" if model is PLAIN else "async one started"
    before, begun = client.noted(event), client.noted(started)
    call = client.stub.TalkTaskPredict.future(client.talk(pause=20), metadata=model)
    wait_for(lambda: client.noted(started) > begun, what="its start")
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    wait_for(lambda: client.noted(event) > before, what="the model's cancellation")


@pytest.mark.parametrize(
    ("model", "event"),
    [(PLAIN, "many closed"), (ASYNCHRONOUS, "async many closed")],
    ids=["plain", "asynchronous"],
)
def test_the_generator_of_a_cancelled_stream_is_closed(
    client: Client, model: Any, event: str
) -> None:
    before = client.noted(event)
    request = client.many(100_000, pause=0.01)
    call = client.stub.ServerStreamingTalkTaskPredict(request, metadata=model)
    assert next(call).number == 0
    call.cancel()
    wait_for(lambda: client.noted(event) > before, what="the generator's end")


def test_closing_the_channel_cancels_its_calls(
    client: Client, shapes: Server, generated: SimpleNamespace
) -> None:
    before = client.noted("many closed")
    with Client(shapes, generated) as other:
        call = other.stub.ServerStreamingTalkTaskPredict(
            other.many(100_000, pause=0.01), metadata=PLAIN
        )
        assert next(call).number == 0
    wait_for(lambda: client.noted("many closed") > before, what="the generator's end")


# -- sizes


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_compression(client: Client, compression: grpc.Compression) -> None:
    """deflate is not ours, and the answer says so."""
    request = client.talk("z" * 10_000, size=100_000)
    predict = client.stub.TalkTaskPredict
    if compression is grpc.Compression.Deflate:
        refused = code(lambda: predict(request, metadata=PLAIN, compression=compression))
        assert refused is grpc.StatusCode.UNIMPLEMENTED
    else:
        answer = predict(request, metadata=PLAIN, compression=compression)
        assert len(answer.text) == 110_000


def test_a_compressed_stream_in_both_directions(shapes: Server, generated: SimpleNamespace) -> None:
    with Client(shapes, generated, gzip=True) as client:
        texts = ["a" * 5000, "b" * 5000]
        call = client.stub.BidiStreamingTalkTaskPredict(client.answer(*texts), metadata=PLAIN)
        assert [word.text for word in call] == [text.upper() for text in texts]


def test_a_message_may_be_as_large_as_the_limit_and_no_larger(client: Client) -> None:
    predict = client.stub.TalkTaskPredict
    head = len(client.talk("x" * 100_000).SerializeToString()) - 100_000
    largest = client.talk("x" * (MESSAGE_LIMIT - head))
    assert largest.ByteSize() == MESSAGE_LIMIT
    assert len(predict(largest, metadata=PLAIN).text) == MESSAGE_LIMIT - head
    with pytest.raises(grpc.RpcError) as caught:
        predict(client.talk("x" * (MESSAGE_LIMIT - head + 1)), metadata=PLAIN)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "server.max_message_size" in (caught.value.details() or "")
    assert predict(client.talk(), metadata=PLAIN).text == "hello"


def test_a_client_refuses_an_answer_larger_than_its_own_limit(
    shapes: Server, generated: SimpleNamespace
) -> None:
    with Client(shapes, generated, max_receive_message_length=1000) as client:
        predict = client.stub.TalkTaskPredict
        large = client.talk(size=2000)
        assert code(lambda: predict(large, metadata=PLAIN)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert predict(client.talk(), metadata=PLAIN).text == "hello"


# -- connections


def test_many_streams_over_one_connection(client: Client) -> None:
    def stream(number: int) -> list[int]:
        request = client.many(20, pause=0.001)
        model = PLAIN if number % 2 else ASYNCHRONOUS
        call = client.stub.ServerStreamingTalkTaskPredict(request, metadata=model)
        return [word.number for word in call]

    with ThreadPoolExecutor(60) as pool:
        assert list(pool.map(stream, range(60))) == [list(range(20))] * 60


def test_a_client_may_ping(shapes: Server, generated: SimpleNamespace) -> None:
    """As gRPC does to keep idle connections alive; the server does not take it for abuse."""
    often = {
        "keepalive_time_ms": 100,
        "keepalive_timeout_ms": 5000,
        "keepalive_permit_without_calls": 1,
        "http2.max_pings_without_data": 0,
    }
    with Client(shapes, generated, **often) as client:
        request = client.many(15, pause=0.1)
        call = client.stub.ServerStreamingTalkTaskPredict(request, metadata=PLAIN)
        assert len(list(call)) == 15
        assert client.stub.TalkTaskPredict(client.talk(), metadata=PLAIN).text == "hello"


def test_a_call_may_wait_for_the_server(
    request: pytest.FixtureRequest, generated: SimpleNamespace, tmp_path: Path
) -> None:
    project = tmp_path / "shapes_project"
    shutil.copytree(SHAPES, project, ignore=shutil.ignore_patterns("__pycache__"))
    server = Server(project)
    with Client(server, generated) as client:
        call = client.stub.TalkTaskPredict.future(
            client.talk(), metadata=PLAIN, wait_for_ready=True, timeout=60
        )
        refused = code(lambda: client.stub.TalkTaskPredict(client.talk(), metadata=PLAIN))
        assert refused is grpc.StatusCode.UNAVAILABLE
        request.addfinalizer(server.stop)
        server.start()
        assert call.result(60).text == "hello"


def test_calls_from_many_threads_share_a_channel(client: Client) -> None:
    found: list[str] = []

    def work(number: int) -> None:
        for index in range(10):
            text = f"{number}-{index}"
            answer = client.stub.TalkTaskPredict(client.talk(text), metadata=PLAIN)
            found.append(f"{text}={answer.text}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(left == right for left, right in (pair.split("=") for pair in found))


# -- refusals


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([("mm-model-id", "nobody")], grpc.StatusCode.NOT_FOUND),
        ([("mm-model-id", "")], grpc.StatusCode.INVALID_ARGUMENT),
        ([], grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_every_shape_refuses_a_call_without_a_model(
    client: Client, metadata: Any, expected: grpc.StatusCode
) -> None:
    stub = client.stub
    calls = [
        lambda: stub.TalkTaskPredict(client.talk(), metadata=metadata),
        lambda: list(stub.ServerStreamingTalkTaskPredict(client.many(), metadata=metadata)),
        lambda: stub.ClientStreamingTalkTaskPredict(client.gather("a"), metadata=metadata),
        lambda: list(stub.BidiStreamingTalkTaskPredict(client.answer("a"), metadata=metadata)),
    ]
    assert [code(call) for call in calls] == [expected] * 4


def test_an_unknown_method(client: Client) -> None:
    call: Any = client.channel.unary_unary("/caikit.runtime.Shapes.ShapesService/Nope")
    assert code(lambda: call(b"", metadata=PLAIN)) is grpc.StatusCode.UNIMPLEMENTED
