"""Small requests that Envoy's filter holds for Python: however they come in, and without it."""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitfox.server.express import is_there
from tests.conftest import Server
from tests.waiting import wait_for

PATH = "/api/v1/task/hello-world"
METHOD = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
BODY = json.dumps({"model_id": "example", "inputs": {"name": "World"}}).encode()
GREETING = b'{"greeting":"Hello World"}'
LONGER = 0.15
"""Seconds after which a request is held no more."""


def request(body: bytes = BODY, **headers: str) -> bytes:
    """A request in HTTP/1.1."""
    fields = {"host": "here", "content-type": "application/json", **headers}
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=60) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield opened


def answer(connection: socket.socket) -> tuple[int, bytes]:
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def test_it_is_built_where_the_tests_run() -> None:
    """Else each of them would pass without it."""
    libraries = Path(sys.modules["kitfox.server"].__path__[0]).glob("_express.*.so")
    assert [*libraries], "install Kitfox with a C compiler and Python's headers"


def test_it_is_for_the_process_of_envoy() -> None:
    assert not is_there()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, len(request()) - 1), max_size=4, unique=True).map(sorted),
    pauses=st.lists(st.sampled_from([0, 0, 0.005, LONGER]), min_size=4, max_size=4),
)
def test_a_request_in_pieces_is_answered_as_a_whole_one(
    connection: socket.socket, cuts: list[int], pauses: list[float]
) -> None:
    whole = request()
    for start, end, pause in zip([0, *cuts], [*cuts, len(whole)], [*pauses, 0], strict=False):
        connection.sendall(whole[start:end])
        time.sleep(pause)
    assert answer(connection) == (200, GREETING)


def test_requests_that_come_together_are_answered_in_their_order(
    connection: socket.socket,
) -> None:
    names = ["one", "two", "three", "four"]
    bodies = [BODY.replace(b"World", name.encode()) for name in names]
    connection.sendall(b"".join(map(request, bodies)))
    data = b""
    while data.count(b"greeting") < len(names):
        data += connection.recv(65536)
    assert [data.index(name.encode()) for name in names] == sorted(
        data.index(name.encode()) for name in names
    )


@pytest.mark.parametrize("pause", [0, LONGER])
def test_a_message_whose_stream_ends_later_is_answered(server: Server, pause: float) -> None:
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=60) as opened:
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        client.initiate_connection()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "here",
            ":path": METHOD,
            "te": "trailers",
            "content-type": "application/grpc",
            "mm-model-id": "example",
        }
        client.send_headers(1, [*headers.items()])
        opened.sendall(client.data_to_send())
        time.sleep(pause)
        client.send_data(1, b"\0\0\0\0\x09\n\x07\n\x05World")
        opened.sendall(client.data_to_send())
        time.sleep(pause)
        client.end_stream(1)
        opened.sendall(client.data_to_send())
        body, status = b"", None
        while status is None:
            for event in client.receive_data(opened.recv(65536)):
                body += event.data if isinstance(event, h2.events.DataReceived) else b""
                if isinstance(event, h2.events.TrailersReceived):
                    status = dict(event.headers)[b"grpc-status"]
    assert b"Hello World" in body
    assert status == b"0"


def test_who_sends_the_header_of_calls_that_go_on_begins_a_call(
    connection: socket.socket,
) -> None:
    mark = {"kitfox-goes-on": "0" * 32}
    for headers in (mark, {**mark, "request-timeout": "60"}):
        connection.sendall(request(BODY, **headers))
        assert answer(connection) == (200, GREETING)


def test_a_client_that_leaves_between_headers_and_body_harms_nobody(server: Server) -> None:
    whole = request()
    for pause in (0, LONGER):
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.http_port)) as opened:
                opened.sendall(whole[: -len(BODY)])
                time.sleep(pause / 10)
        wait_for(lambda: server.http("POST", PATH, BODY).body == GREETING)


@pytest.mark.slow
def test_a_server_without_it_answers_the_same_and_says_so(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(
        "import sys\nsys.modules['kitfox.server._express'] = None\n"
    )
    server = make_server(PYTHONPATH=str(hiding)).start()
    assert "its filter for quick calls was not compiled" in server.log
    assert server.http("POST", PATH, BODY).body == GREETING
    assert server.http("POST", PATH, {}).status == 400
