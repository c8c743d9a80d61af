"""REST of a real server, on either engine: streams, clients that go away, odd requests."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.shapes import ShapesServer
from tests.waiting import wait_for

TASK = "/api/v1/task"
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShapesServer]:
    made = ShapesServer.make(
        tmp_path_factory.mktemp("rest"), SERVER_ENGINE=request.param, SERVER_REQUEST_SECONDS="1"
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log


class Connection:
    """An HTTP/1.1 connection whose body and answer are sent and read piece by piece."""

    def __init__(self, server: ShapesServer, head: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.http_port), 30)
        self.socket.sendall(head.replace("\n", "\r\n").encode())
        self.answer: http.client.HTTPResponse | None = None

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self) -> http.client.HTTPResponse:
        self.answer = http.client.HTTPResponse(self.socket)
        self.answer.begin()
        return self.answer

    def close(self) -> None:
        if self.answer is not None:
            self.answer.close()
        self.socket.close()


def head(path: str, *more: str) -> str:
    return "\n".join([f"POST {TASK}/{path} HTTP/1.1", "host: x", *more, "", ""])


def events(body: bytes) -> list[Any]:
    """The data of server-sent events."""
    lines = body.decode().split("\r\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]


@pytest.mark.parametrize("model", ["plain", "asynchronous"])
def test_events(server: ShapesServer, model: str) -> None:
    body = {"inputs": "fox", "parameters": {"count": 500}, "model_id": model}
    answer = server.http("POST", f"{TASK}/server-streaming-talk", body)
    assert answer.status == 200
    assert [word["number"] for word in events(answer.body)] == list(range(500))


@pytest.mark.parametrize("model", ["plain", "asynchronous"])
def test_lines_in(server: ShapesServer, model: str) -> None:
    words = [{"inputs": str(number)} for number in range(500)]
    words[0].update(model_id=model, parameters={"separator": ""})  # type: ignore[call-overload] # of mixed types
    body = b"".join(json.dumps(word).encode() + b"\n" for word in words)
    answer = server.http("POST", f"{TASK}/client-streaming-talk", body, LINES)
    assert answer.json == {"text": "".join(str(number) for number in range(500)), "number": 500}
    both = {**LINES, "accept": "application/x-ndjson"}
    body = b"\n".join(json.dumps({"inputs": str(number)}).encode() for number in range(500))
    path = f"{TASK}/bidi-streaming-talk?model_id={model}"
    answer = server.http("POST", path, body, both)
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [word["text"] for word in found] == [str(number) for number in range(500)]


def test_a_conversation(server: ShapesServer) -> None:
    """Each result is there before the next request is sent."""
    more = ("content-type: application/jsonl", "accept: application/jsonl", "mm-model-id: plain")
    connection = Connection(
        server, head("bidi-streaming-talk", "transfer-encoding: chunked", *more)
    )
    with contextlib.closing(connection):
        for number in range(3):
            connection.send(b'{"inputs": "word %d"}\n' % number)
            answer = connection.answer or connection.begin()
            assert json.loads(answer.readline())["text"] == f"WORD {number}"
        connection.socket.sendall(b"0\r\n\r\n")
        assert answer.read() == b""


@pytest.mark.parametrize("shape", ["many", "answer"])
@pytest.mark.parametrize("model", ["plain", "asynchronous"])
def test_a_client_that_goes_away_ends_the_stream(
    server: ShapesServer, model: str, shape: str
) -> None:
    name = f"{'async ' if model == 'asynchronous' else ''}{shape} closed"
    before = server.journal().get(name, 0)
    if shape == "many":
        body = {"inputs": "fox", "parameters": {"count": 100_000, "pause": 0.01}, "model_id": model}
        data = json.dumps(body).encode()
        more = ("content-type: application/json", f"content-length: {len(data)}")
        connection = Connection(server, head("server-streaming-talk", *more))
        connection.socket.sendall(data)
    else:
        more = ("content-type: application/x-ndjson", "transfer-encoding: chunked")
        connection = Connection(server, head("bidi-streaming-talk", *more))
        connection.send(b'{"inputs": "fox", "model_id": "%s"}\n' % model.encode())
    answer = connection.begin()
    assert answer.readline().startswith(b"event")
    connection.close()
    wait_for(lambda: server.journal().get(name, 0) > before)
    wait_for(lambda: server.in_flight() <= 1)  # the one that asks


def test_a_client_that_goes_away_ends_a_call(server: ShapesServer) -> None:
    before = server.journal()

    def has_grown(event: str) -> bool:
        return server.journal().get(event, 0) > before.get(event, 0)

    data = b'{"inputs": "fox", "parameters": {"pause": 1000}, "model_id": "plain"}'
    more = ("content-type: application/json", f"content-length: {len(data)}")
    connection = Connection(server, head("talk", *more))
    connection.socket.sendall(data)
    # One that only waits for a thread would be dropped unrun.
    wait_for(lambda: has_grown("one started"))
    connection.close()
    wait_for(lambda: has_grown("one saw the cancellation"))


def test_a_body_that_stops_is_given_up(server: ShapesServer) -> None:
    more = ("content-type: application/json", "content-length: 100")
    connection = Connection(server, head("talk", *more))
    with contextlib.closing(connection):
        connection.socket.sendall(b'{"inputs":')
        answer = connection.begin()
        assert answer.status == 408
        assert "server.request_seconds" in json.loads(answer.read())["details"]


@pytest.mark.parametrize(
    "more",
    [
        ("content-length: 99999999999999999999999999",),
        ("content-length: nonsense",),
        ("content-length: -5",),
        ("content-length: 5", "content-length: 6"),
        ("transfer-encoding: chunked", "content-length: 5"),
        ("transfer-encoding: gzip",),
    ],
)
def test_lengths_that_cannot_be(server: ShapesServer, more: tuple[str, ...]) -> None:
    connection = Connection(server, head("talk", "content-type: application/json", *more))
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.socket.sendall(b"hello")
        assert connection.begin().status in (400, 408, 413, 501)
    assert server.http("GET", "/health").status == 200


def test_a_body_over_the_limit_is_refused_before_it_comes(server: ShapesServer) -> None:
    more = ("content-type: application/json", "content-length: 33554433")
    connection = Connection(server, head("talk", *more))
    with contextlib.closing(connection):
        answer = connection.begin()
        assert answer.status == 413
        assert "server.max_message_size" in json.loads(answer.read())["details"]


def test_head_options_and_redirects(server: ShapesServer) -> None:
    plain = server.http("GET", "/info/version")
    answer = server.http("HEAD", "/info/version")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(plain.body))
    answer = server.http("OPTIONS", f"{TASK}/talk")
    assert (answer.status, answer.headers["allow"]) == (204, "OPTIONS, POST")
    answer = server.http("GET", "/info/version/")
    assert answer.body == plain.body
