"""Requests as large as a server takes by default, made to be as much work as they can be.

While one of them is read others are answered, and what it took is given back.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from http.client import HTTPResponse

import pytest

from tests.abuse.conftest import (
    ENGINES,
    GRPC,
    JSON,
    ONE,
    ONE_ROUTE,
    Victim,
    is_unharmed,
    others,
    rest_body,
    rest_head,
    start,
    word,
)
from tests.abuse.wire import Answer, Http1, frame

LIMIT = 32 << 20
TOO_LARGE = 8
"""gRPC's RESOURCE_EXHAUSTED."""


@pytest.fixture(scope="module", params=ENGINES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """A server with the limits that it has by default."""
    made = start(tmp_path_factory.mktemp(request.param), request.param, LOG_LEVEL="error")
    yield made
    assert made.stop() == 0, made.log


@pytest.fixture
def server(running: Victim) -> Iterator[Victim]:
    before = running.state()
    running.before = before.memory
    yield running
    # Allocators keep more of messages that are so large.
    is_unharmed(running, before, kept=4 * LIMIT, too_much=8 * LIMIT)


def filled(head: bytes, filling: bytes, tail: bytes) -> bytes:
    """A body that is as large as it may be."""
    return head + filling * ((LIMIT - len(head) - len(tail)) // len(filling)) + tail


END = b'"model_id": "plain"}'
BODIES = {
    "text": (filled(b'{"inputs": "', b"x", b'", ' + END), 200),
    "escapes": (filled(b'{"inputs": "', b"\\n", b'", ' + END), 200),
    "arrays": (filled(b'{"inputs": [', b"[],", b"[]], " + END), 422),
    "unknown names": (
        filled(b'{"inputs": "a", "parameters": {', b'"a0":0,', b'"b":0}, ' + END),
        422,
    ),
    "one name over and over": (
        filled(b'{"inputs": "a", "parameters": {', b'"pause":0,', b'"pause":0}, ' + END),
        200,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_rest_bodies(server: Victim, name: str) -> None:
    body, status = BODIES[name]
    with others(server), server.http2() as client:
        answer = client.call(ONE_ROUTE, JSON, body)
    assert answer.status == status, answer.text
    assert status == 200 or len(answer.body) < 100_000


def test_a_form(server: Victim) -> None:
    parts = b'--x\r\nContent-Disposition: form-data; name="inputs.%d"\r\n\r\na\r\n'
    body = filled(b"", parts, b"--x--\r\n")
    headers = [("content-type", "multipart/form-data; boundary=x")]
    with others(server), server.http2() as client:
        answer = client.call(ONE_ROUTE, headers, body)
    assert answer.status == 422


def test_lines_without_anything(server: Victim) -> None:
    route = ONE_ROUTE.replace("talk", "client-streaming-talk")
    headers = [("content-type", "application/x-ndjson")]
    with others(server), server.http2() as client:
        answer = client.call(route, headers, b"\n" * (LIMIT // 8) + b'{"inputs": "a", ' + END)
        assert answer.status == 200, answer.text
        answer = client.call(route, headers, b" \n" * (LIMIT // 32) + b'{"inputs": 1, ' + END)
    assert answer.status == 422
    assert f"line {LIMIT // 32 + 1}" in answer.text


def grpc_call(server: Victim, message: bytes, flag: int = 0) -> Answer:
    headers = [*GRPC, ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")]
    with others(server), server.http2() as client:
        return client.call(ONE, headers, frame(message, flag=flag))


@pytest.mark.parametrize("flag", [0, 1])
def test_messages(server: Victim, flag: int) -> None:
    """A text, as large as it may be and as it may unpack to; and an answer that is packed."""
    size = LIMIT - 100 if not flag else 2 * LIMIT - 100
    message = b"\x0a" + varint(size) + b"x" * size
    answer = grpc_call(server, gzip.compress(message, 1) if flag else message, flag)
    assert answer.grpc_status == 0, answer.text
    assert len(gzip.decompress(answer.body[5:])) > size


def test_fields_over_and_over(server: Victim) -> None:
    assert grpc_call(server, b"\x0a\x01x" * ((LIMIT - 100) // 3)).grpc_status == 0
    unknown = b"\xfa\x01\x00" * ((LIMIT - 100) // 3)
    assert grpc_call(server, b"\x0a\x01x" + unknown).grpc_status == 0


def rest_with_length(server: Victim, size: int) -> Answer:
    with server.http1() as client:
        client.send(rest_head(f"Content-Length: {size}"))
        client.send(rest_body(size))
        return whole_answer(client)


def rest_in_chunks(server: Victim, size: int) -> Answer:
    """Without a length that could be refused before the last byte has come."""
    body = memoryview(rest_body(size))
    with server.http1() as client:
        client.send(rest_head("Transfer-Encoding: chunked"))
        for start in range(0, size, _CHUNK):
            piece = bytes(body[start : start + _CHUNK])
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        return whole_answer(client)


def rest_over_http2(server: Victim, size: int) -> Answer:
    with server.http2() as client:
        return client.call(ONE_ROUTE, JSON, rest_body(size))


def whole_answer(client: Http1) -> Answer:
    """What a client reads that has sent all that it could."""
    answer = HTTPResponse(client.socket)
    answer.begin()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, headers, [answer.read()])


_CHUNK = 1 << 20


@pytest.mark.parametrize("ask", [rest_with_length, rest_in_chunks, rest_over_http2])
def test_a_rest_body_at_the_limit_and_one_byte_over(
    server: Victim, ask: Callable[[Victim, int], Answer]
) -> None:
    answer = ask(server, LIMIT)
    assert answer.status == 200, answer.text[:500]
    assert len(json.loads(answer.body)["text"]) == LIMIT - len(rest_body(0))
    answer = ask(server, LIMIT + 1)
    assert answer.status == 413
    assert f"{LIMIT} bytes" in answer.text
    assert "server.max_message_size" in answer.text


@pytest.mark.parametrize("shape", ["", "BidiStreaming"])
def test_a_message_at_the_limit_and_one_byte_over(server: Victim, shape: str) -> None:
    path = ONE.replace("TalkTask", f"{shape}TalkTask")
    head = b"\x0a" + varint(LIMIT - 5)
    assert len(head) == 5
    answer = server.grpc_call(frame(head + b"x" * (LIMIT - 5)), path=path)
    assert word(answer).lower() == "x" * (LIMIT - 5)
    answer = server.grpc_call(frame(head + b"x" * (LIMIT - 4)), path=path)
    assert answer.grpc_status == TOO_LARGE
    assert f"{LIMIT} " in answer.text
    assert "server.max_message_size" in answer.text


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
