"""gRPC-Web: its framing by itself, and over HTTP/1.1 from a real server."""

import asyncio
import base64
import http.client
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # it has no types
from grpc_reflection.v1alpha import reflection_pb2  # type: ignore[import-untyped] # as above
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import InvalidArgument
from kitfox.server.asgi import Message, Receive, Scope, Send, read_body
from kitfox.server.grpc_web import grpc_web, is_grpc_web
from tests.conftest import Server

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
PREDICT = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
NAMED_ANN = b"\x0a\x05\x0a\x03Ann"  # HelloWorldTaskRequest(text_input={"name": "Ann"})


# -- the framing by itself


class Exchange:
    """One request through `grpc_web`, with an endpoint that answers what it is told to."""

    def __init__(self, content_type: str, accept: str = "") -> None:
        self.scope: Scope = {
            "type": "http",
            "headers": [
                (b"content-type", content_type.encode()),
                (b"accept", accept.encode()),
                (b"content-length", b"1000"),
                (b"mm-model-id", b"example"),
            ],
        }
        self.seen: list[Any] = []
        self.sent: list[Message] = []

    def run(self, chunks: list[bytes], answers: list[Message], *, limit: int = 10_000) -> None:
        events = [{"type": "http.request", "body": item, "more_body": True} for item in chunks]
        events.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> Message:
            return events.pop(0) if events else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            self.seen = [scope, await read_body(await receive(), receive, limit), await receive()]
            for message in answers:
                await send(message)

        asyncio.run(grpc_web(endpoint, self.scope, receive, send))

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def start(*headers: tuple[bytes, bytes], trailers: bool = True, status: int = 200) -> Message:
    fixed = (b"content-type", b"application/grpc")
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [fixed, *headers],
        "trailers": trailers,
    }


def body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def trailers(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": False}


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        flag, size = struct.unpack_from(">BI", data)
        found.append((flag, data[5 : 5 + size]))
        assert len(data) >= 5 + size
        data = data[5 + size :]
    return found


def frame(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


def untext(data: bytes) -> bytes:
    """Decodes base64 with padding anywhere, four characters at a time."""
    assert len(data) % 4 == 0
    pieces = (data[index : index + 4] for index in range(0, len(data), 4))
    return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[first:last] for first, last in pairwise(edges)]


places = st.lists(st.integers(0, 2**16), max_size=6)


@given(st.binary(max_size=200), places, places)
def test_text_is_read_wherever_it_is_padded_and_cut(
    data: bytes, pads: list[int], cuts: list[int]
) -> None:
    text = b"".join(base64.b64encode(piece) for piece in cut(data, pads))
    exchange = Exchange(TEXT)
    exchange.run(cut(text, cuts), [])
    assert exchange.seen[1] == data
    assert exchange.seen[2] == {"type": "http.disconnect"}


@given(st.binary(max_size=200), places)
def test_binary_requests_are_left_as_they_are(data: bytes, cuts: list[int]) -> None:
    exchange = Exchange(BINARY)
    exchange.run(cut(data, cuts), [])
    scope = exchange.seen[0]
    assert exchange.seen[1] == data
    assert (b"content-type", b"application/grpc+proto") in scope["headers"]
    assert (b"mm-model-id", b"example") in scope["headers"]
    assert (b"content-length", b"1000") in scope["headers"]


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.sampled_from([BINARY, TEXT]))
def test_the_trailers_are_the_last_frame(parts: list[bytes], content_type: str) -> None:
    exchange = Exchange(content_type)
    outcome = trailers((b"grpc-status", b"0"), (b"grpc-message", b"fine%2C really"))
    messages = [body(frame(part)) for part in parts]
    exchange.run([], [start(), *messages, body(b"", more=False), outcome])
    data = untext(exchange.body) if content_type == TEXT else exchange.body
    *found, (flag, block) = frames(data)
    assert found == [(0, part) for part in parts]
    assert flag == 0x80
    assert block == b"grpc-status: 0\r\ngrpc-message: fine%2C really\r\n"
    assert exchange.headers == {b"content-type": content_type.encode()}
    assert "trailers" not in exchange.sent[0]
    assert [message["more_body"] for message in exchange.sent[1:]] == [True] * len(parts) + [False]


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
def test_each_message_leaves_when_it_is_ready(content_type: str) -> None:
    exchange = Exchange(content_type)
    exchange.run([], [start(), body(frame(b"one")), body(frame(b"four"))])
    _, first, second = exchange.sent
    decode = untext if content_type == TEXT else bytes
    assert [frames(decode(item["body"])) for item in (first, second)] == [
        [(0, b"one")],
        [(0, b"four")],
    ]


def test_the_only_header_block_of_an_answer_goes_into_the_body() -> None:
    """A page of another origin may see no headers."""
    exchange = Exchange(BINARY)
    outcome = ((b"grpc-status", b"3"), (b"grpc-message", b"bad"), (b"x-request-id", b"7"))
    exchange.run([], [start(*outcome, trailers=False), body(b"", more=False)])
    assert frames(exchange.body) == [(0x80, b"grpc-status: 3\r\ngrpc-message: bad\r\n")]
    assert exchange.headers == {b"content-type": BINARY.encode(), b"x-request-id": b"7"}


def test_an_answer_that_is_not_of_grpc_is_left_as_it_is() -> None:
    exchange = Exchange(TEXT)
    refusal = {"type": "http.response.start", "status": 503, "headers": []}
    exchange.run([], [refusal, body(b"busy", more=False)])
    assert exchange.sent == [refusal, body(b"busy", more=False)]


@pytest.mark.parametrize("text", [b"QQ=", b"Q", b"QQ===", b"Q Q=", b"=QQQ", b"QQ==Q", b"\xff" * 4])
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument, match="base64"):
        Exchange(TEXT).run([text], [])


@given(st.binary(max_size=60), places)
def test_whatever_text_comes_is_read_or_refused(text: bytes, cuts: list[int]) -> None:
    exchange = Exchange(TEXT)
    try:
        exchange.run(cut(text, cuts), [])
    except InvalidArgument:
        return
    assert exchange.seen[1] == untext(text)


@pytest.mark.parametrize(
    ("content_type", "accept", "answered"),
    [
        ("application/grpc-web", "", BINARY),
        ("application/grpc-web", "*/*", BINARY),
        ("application/grpc-web-text", "*/*", TEXT),
        ("application/grpc-web-text; charset=utf-8", "", TEXT),
        ("application/grpc-web-text", "application/grpc-web", BINARY),
        ("application/grpc-web", "application/grpc-web-text", TEXT),
        ("Application/gRPC-Web", "text/html, Application/gRPC-Web-Text+proto;q=1", TEXT),
    ],
)
def test_the_answer_is_text_as_the_client_accepts_it(
    content_type: str, accept: str, answered: str
) -> None:
    assert is_grpc_web(content_type.encode())
    exchange = Exchange(content_type, accept)
    exchange.run([], [start(), body(b"", more=False), trailers((b"grpc-status", b"0"))])
    assert exchange.headers[b"content-type"] == answered.encode()
    assert (exchange.body[:1] == b"\x80") == (answered == BINARY)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/grpc", "application/grpc-web+json", "application/grpc-website", "text/plain"],
)
def test_other_content_types_are_not_its_business(content_type: str) -> None:
    assert not is_grpc_web(content_type.encode())


# -- over HTTP/1.1


class Page:
    """A client such as a browser's: HTTP/1.1, no trailers."""

    def __init__(self, server: Server) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)

    def post(
        self, path: str, data: bytes, content_type: str = BINARY, **headers: str
    ) -> http.client.HTTPResponse:
        given = {"content-type": content_type, "x-grpc-web": "1", "mm-model-id": "example"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("POST", path, data, given)
        return self.connection.getresponse()

    def call(self, path: str, data: bytes, content_type: str = BINARY, **headers: str) -> "Outcome":
        answer = self.post(path, data, content_type, **headers)
        assert answer.status == 200
        return Outcome(answer.headers, answer.read())


class Outcome:
    """The messages and the trailers of an answer."""

    def __init__(self, headers: http.client.HTTPMessage, data: bytes) -> None:
        self.headers = headers
        is_text = headers["content-type"] == TEXT
        *messages, (flag, block) = frames(untext(data) if is_text else data)
        assert flag == 0x80
        self.messages = [message for _, message in messages]
        lines = (line.partition(": ") for line in block.decode().splitlines())
        self.trailers = {name: value for name, _, value in lines}


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    made = Page(server)
    yield made
    made.connection.close()


@pytest.mark.parametrize("content_type", [BINARY, "application/grpc-web"])
def test_a_page_calls_a_model(content_type: str, page: Page) -> None:
    outcome = page.call(PREDICT, frame(NAMED_ANN), content_type)
    assert outcome.messages == [b"\x0a\x09Hello Ann"]
    assert outcome.trailers == {"grpc-status": "0"}
    assert outcome.headers["content-type"] == BINARY
    assert "grpc-status" not in outcome.headers


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_a_page_calls_a_model_in_text(size: int, page: Page) -> None:
    data = frame(NAMED_ANN)
    pieces = (data[index : index + size] for index in range(0, len(data), size))
    text = b"".join(base64.b64encode(piece) for piece in pieces)
    outcome = page.call(PREDICT, text, TEXT)
    assert outcome.headers["content-type"] == TEXT
    assert outcome.messages == [b"\x0a\x09Hello Ann"]
    assert outcome.trailers == {"grpc-status": "0"}


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
def test_many_calls_go_over_one_connection(content_type: str, page: Page) -> None:
    data = frame(NAMED_ANN)
    for _ in range(20):
        sent = base64.b64encode(data) if content_type == TEXT else data
        assert page.call(PREDICT, sent, content_type).trailers["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        (PREDICT, frame(b"\x0a\x03\x0a\x01\xff"), "3"),
        (PREDICT, b"x", "3"),
        (PREDICT, frame(NAMED_ANN)[:-1], "3"),
        ("/caikit.runtime.Example.ExampleService/Nothing", frame(b""), "12"),
    ],
    ids=["text that is not UTF-8", "no frame", "a frame cut off", "unknown method"],
)
@pytest.mark.parametrize("content_type", [BINARY, TEXT])
def test_a_failure_comes_in_the_body(
    path: str, data: bytes, code: str, content_type: str, page: Page
) -> None:
    sent = base64.b64encode(data) if content_type == TEXT else data
    outcome = page.call(path, sent, content_type)
    assert outcome.messages == []
    assert outcome.trailers["grpc-status"] == code
    assert outcome.trailers["grpc-message"]


def test_text_that_is_not_base64_is_an_invalid_argument(page: Page) -> None:
    outcome = page.call(PREDICT, b"no base64!", TEXT)
    assert outcome.trailers["grpc-status"] == "3"
    assert "base64" in outcome.trailers["grpc-message"]


def test_deadlines_count(page: Page) -> None:
    outcome = page.call(PREDICT, frame(NAMED_ANN), grpc_timeout="0n")
    assert outcome.trailers["grpc-status"] == "4"


def test_other_content_types_are_refused(page: Page) -> None:
    answer = page.post(PREDICT, b"", "application/grpc-web+json")
    assert answer.status == 415


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
def test_streams_of_messages_come_in_order(content_type: str, page: Page) -> None:
    names = ["grpc/health/v1/health.proto", "nothing.proto", "infoservice.proto"]
    questions = [reflection_pb2.ServerReflectionRequest(file_by_filename=name) for name in names]
    data = b"".join(frame(question.SerializeToString()) for question in questions)
    sent = base64.b64encode(data) if content_type == TEXT else data
    outcome = page.call(REFLECT, sent, content_type)
    answers = map(reflection_pb2.ServerReflectionResponse.FromString, outcome.messages)
    assert [answer.original_request.file_by_filename for answer in answers] == names
    assert outcome.trailers == {"grpc-status": "0"}


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
def test_a_message_arrives_while_its_stream_goes_on(content_type: str, page: Page) -> None:
    data = frame(health_pb2.HealthCheckRequest().SerializeToString())
    sent = base64.b64encode(data) if content_type == TEXT else data
    answer = page.post(WATCH, sent, content_type)
    size = len(frame(b"\x08\x01"))
    first = untext(answer.read((size + 2) // 3 * 4)) if content_type == TEXT else answer.read(size)
    assert frames(first) == [(0, b"\x08\x01")]
    answer.close()
