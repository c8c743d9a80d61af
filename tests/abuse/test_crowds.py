"""More calls, streams, bytes, connections than there may be: refused by name, then taken again."""

import base64
import contextlib
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.rpc import (  # type: ignore[import-untyped] # they have no types
    error_details_pb2,
    status_pb2,
)
from grpc_health.v1 import (  # type: ignore[import-untyped] # as above
    health_pb2,
    health_pb2_grpc,
)
from grpc_status import rpc_status  # type: ignore[import-untyped] # as above

from tests.abuse.conftest import (
    ENGINES,
    GRPC,
    JSON,
    ONE,
    ONE_ROUTE,
    Victim,
    is_unharmed,
    rest_body,
    start,
)
from tests.abuse.wire import Answer, Http1, frame
from tests.server.shapes import model, request
from tests.waiting import wait_for

CALLS, STREAMS, CONNECTIONS, BUFFERED = 4, 2, 50, 100_000
ENGINE = 10 << 20


@pytest.fixture(
    scope="module",
    params=ENGINES,
)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """A server that takes little at a time."""
    made = start(
        tmp_path_factory.mktemp(request.param),
        request.param,
        SERVER_MAX_CONCURRENT_REQUESTS=str(CALLS),
        SERVER_MAX_CONCURRENT_STREAMS=str(STREAMS),
        SERVER_MAX_CONNECTIONS=str(CONNECTIONS),
        SERVER_MAX_BUFFERED_SIZE=str(BUFFERED),
        SERVER_MAX_ENGINE_SIZE=str(ENGINE),
        LOG_LEVEL="error",
    )
    yield made
    assert made.stop() == 0, made.log


@pytest.fixture
def server(running: Victim) -> Iterator[Victim]:
    before = running.state()
    running.before = before.memory
    yield running
    is_unharmed(running, before)


@contextlib.contextmanager
def busy(server: Victim, calls: int) -> Iterator[None]:
    """As many calls are being worked on, until the end of the block."""
    with server.channel() as channel:
        one = server.method(channel, "one")
        work = request("one", text="busy", pause=1000)
        running = [one.future(work, metadata=model("plain")) for _ in range(calls)]
        try:
            wait_for(lambda: server.in_flight() == calls, what="the calls to run")
            yield
            assert not any(call.done() for call in running)
        finally:
            for call in running:
                call.cancel()
        wait_for(lambda: server.in_flight() == 0, what="the calls to end")


def test_more_calls_than_are_worked_on(server: Victim) -> None:
    """Over gRPC and REST; whoever asks for the server's health gets an answer all the same."""
    body = {"inputs": "a", "model_id": "plain"}
    with server.channel() as channel:
        one = server.method(channel, "one")
        with busy(server, CALLS):
            with pytest.raises(grpc.RpcError) as caught:
                one(request("one", text="a"), metadata=model("plain"))
            rest = server.http("POST", ONE_ROUTE, body)
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert server.http("GET", "/health").status == 200
        assert one(request("one", text="a"), metadata=model("plain")).text == "a"
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for text in (error.details(), rest.json["details"]):
        assert f"{CALLS} requests" in text
        assert "server.max_concurrent_requests" in text
    assert (rest.status, rest.headers["retry-after"]) == (429, "1")
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(error).details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert server.http("POST", ONE_ROUTE, body).status == 200


def test_watches_leave_room_for_checks(server: Victim) -> None:
    """As many watches and silent reflection streams as there may be harm no health check."""
    reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    with server.http2() as client, server.channel() as channel:
        for path in ("/grpc.health.v1.Health/Watch", reflection):
            end = path != reflection
            for _ in range(CALLS):
                client.open(path, GRPC[:2], body=frame(b"") if end else None, end=end)
        wait_for(lambda: server.metric("probes_in_flight") == 2 * CALLS, what="all to be open")
        for path in ("/grpc.health.v1.Health/Watch", reflection):
            answer = client.call(path, GRPC[:2], frame(b""))
            assert answer.grpc_status == 8
            assert "server.max_concurrent_requests" in answer.text
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert len(health.List(health_pb2.HealthListRequest(), timeout=60).statuses) > 2
        body = {"inputs": "a", "model_id": "plain"}
        assert server.http("POST", ONE_ROUTE, body).status == 200


def test_a_storm_of_calls(server: Victim) -> None:
    """Far more than are taken: each is answered or refused, and none is forgotten."""
    with server.channel() as channel:
        one = server.method(channel, "one")
        work = request("one", text="a", pause=0.01)
        calls = [one.future(work, metadata=model("plain"), timeout=60) for _ in range(500)]
        codes = [call.code() for call in calls]
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) >= CALLS


def is_working(server: Victim, calls: int) -> bool:
    return server.in_flight() == calls


def test_more_streams_than_hold_threads(server: Victim) -> None:
    path = ONE.replace("TalkTask", "ClientStreamingTalkTask")
    message = frame(request("gather", texts="a").SerializeToString())
    with server.http2() as client:
        open_ones = []
        for number in range(STREAMS):
            stream = client.open(path, GRPC, end=False)
            client.write(stream, message, end=False)
            open_ones.append(stream)
            wait_for(partial(is_working, server, number + 1), what="the stream to run")
        answer = client.call(path, GRPC, message)
        assert answer.grpc_status == 8
        assert f"{STREAMS} calls" in answer.text
        assert "server.max_concurrent_streams" in answer.text
        # A method that runs on the event loop holds none.
        headers = [*GRPC[:2], ("mm-model-id", "asynchronous")]
        assert client.call(path, headers, message).grpc_status == 0
        for stream in open_ones:
            client.write(stream, message)
            assert client.answer(stream).grpc_status == 0
        assert client.call(path, GRPC, message).grpc_status == 0


def test_names_that_clients_made_up(server: Victim) -> None:
    """However a call of a model that is not there ends, the metrics do not keep its name."""
    before = len(server.metrics())
    for number in range(100):
        headers = [*GRPC[:2], ("mm-model-id", f"made-up-{number}-" + "x" * 2000)]
        with server.http2() as client:
            assert client.call(ONE, headers, b"none").grpc_status == 3
            assert client.call(ONE, headers, frame(b"")).grpc_status == 3
            # Not about a model: it goes well whatever name comes with it.
            assert client.call("/grpc.health.v1.Health/Check", headers, frame(b"")).grpc_status == 0
        body = {"inputs": "a", "model_id": f"made/up-{number}-" + "x" * 20_000}
        assert server.http("POST", ONE_ROUTE, body).status == 400
        route = ONE_ROUTE.replace("talk", "client-streaming-talk") + f"?model_id=made/up-{number}"
        lines = {"content-type": "application/x-ndjson"}
        assert server.http("POST", route, b"no JSON", lines).status == 400
    metrics = server.metrics()
    assert len(metrics) < before + 20_000
    assert "up-" not in metrics
    assert re.search(r'predict_rpc_count_total\{code="OK",.*model_id="plain"\}', metrics)


@pytest.mark.parametrize("protocol", ["grpc", "rest", "stream"])
def test_more_bytes_than_are_collected(server: Victim, protocol: str) -> None:
    """Requests that are still coming in share one room."""
    size = BUFFERED - 20_000
    head = frame(b"", size=size) if protocol != "rest" else b""
    name = "ClientStreamingTalkTask" if protocol == "stream" else "TalkTask"
    path = ONE_ROUTE if protocol == "rest" else ONE.replace("TalkTask", name)
    headers = GRPC if protocol != "rest" else [("content-type", "application/json")]
    with server.http2() as client:
        first = client.open(path, headers, end=False)
        client.write(first, head + b"x" * (size - 5000), end=False)
        wait_for(lambda: server.in_flight() == 1, what="the first to come in")
        answers = []
        for _ in range(2):
            second = client.open(path, headers, end=False)
            # Not all of it in one piece, which would need no room.
            client.write(second, head, end=False)
            for _ in range(7):
                client.write(second, b"x" * 10_000, end=False)
                client.read(0.05)
            answers.append(client.answer(second))
        client.reset(first)
    for answer in answers:
        assert (answer.status, answer.headers.get("grpc-status")) in ((429, None), (200, "8"))
        assert f"{BUFFERED} bytes" in answer.text
        assert "server.max_buffered_size" in answer.text
    assert server.rest_call(rest_body(30_000), "Content-Length: 30000") is not None


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_small_answers_that_nobody_takes(server: Victim, protocol: str) -> None:
    """However many connections they are spread over, in the end new requests are refused."""
    body: bytes
    if protocol == "grpc":
        path, headers = ONE, GRPC
        body = frame(request("one", text="x", size=60_000).SerializeToString())
    else:
        path, headers, body = ONE_ROUTE, JSON, rest_body(60_000)
    refused: list[Answer] = []
    most = 0
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(server.http2(window=0))
            for _ in range(60):
                answer = client.answers[client.open(path, headers, body=body)]
                client.wait(lambda answer=answer: answer.headers)
                if answer.status == 429 or "grpc-message" in answer.headers:
                    refused.append(answer)
            most = max(most, server.memory())
        with server.http2() as client:  # one that reads what it is told
            refused.append(client.call(path, headers, body))
    assert len(refused) > 100
    assert most < server.before + 5 * ENGINE
    for answer in refused:
        assert is_to_try_again(answer)
    assert f"{ENGINE} bytes" in refused[-1].text
    assert "server.max_engine_size" in refused[-1].text
    wait_for(lambda: is_taken(server, path, headers, body), what="requests to be taken again")


def test_small_answers_that_stay_in_connections(server: Victim) -> None:
    """Streams have room for them, but nobody reads from the sockets."""
    body = frame(request("one", text="x", size=60_000).SerializeToString())
    refused: Answer | None = None
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS - 5):
            client = stack.enter_context(server.http2(receive_buffer=4096))
            client.connection.increment_flow_control_window(1 << 30)
            client.flush()
            for _ in range(100):
                client.open(ONE, GRPC, body=body)
                wait_for(lambda: server.in_flight() == 0, what="the answer")
            with server.http2() as other:
                answer = other.call(ONE, GRPC, body)
            if "server.max_engine_size" in answer.text:
                refused = answer
                break
        # Refusals that are taken make no room.
        assert server.http("GET", "/health").status == 429
        assert server.http("GET", "/livez").status == 200
        assert server.memory() < server.before + 5 * ENGINE
    assert refused is not None
    assert is_to_try_again(refused)
    wait_for(lambda: is_taken(server, ONE, GRPC, body), what="requests to be taken again")


def is_to_try_again(answer: Answer) -> bool:
    if answer.status == 429:
        return answer.headers["retry-after"] == "1"
    details = answer.headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    retry = error_details_pb2.RetryInfo()
    told = status.message == answer.text and status.details[0].Unpack(retry)
    return told and answer.grpc_status == 8 and retry.retry_delay.seconds == 1


def is_taken(server: Victim, path: str, headers: list[tuple[str, str]], body: bytes) -> bool:
    with server.http2() as client:
        return len(client.call(path, headers, body).body) > 60_000 - 100


def test_more_connections_than_there_may_be(server: Victim) -> None:
    """Those that are there are served; one more is closed; and when they go, others come in."""
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"

    def is_served(client: Http1) -> bool:
        return client.send(ask) and client.answer() is not None

    with contextlib.ExitStack() as stack:
        served: list[Http1] = []

        def is_full() -> bool:
            client = Http1(server.http_port)
            stack.enter_context(client)
            if is_served(client):
                served.append(client)
                assert len(served) <= CONNECTIONS
                return False
            return True

        # Those of the test before may go a little later.
        wait_for(is_full, what="no room")
        wait_for(lambda: is_full() and is_full() and is_full(), what="no room at all")
        assert all(is_served(client) for client in served)

    def is_room() -> bool:
        with Http1(server.http_port) as client:
            return is_served(client)

    wait_for(is_room, what="room for connections")
