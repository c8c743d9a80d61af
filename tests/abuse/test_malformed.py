"""Requests that are none: HTTP/1 and HTTP/2 that break their rules, gRPC frames that lie."""

from urllib.parse import quote

import hpack
import pytest

from tests.abuse.conftest import (
    GRPC,
    HEADER_COUNT,
    HEADERS,
    JSON,
    MUCH,
    ONE,
    ONE_ROUTE,
    Victim,
    all_at_once,
    others,
    rest_body,
    rest_head,
)
from tests.abuse.wire import PREFACE, Http1, connected, frame, frames, http2_frame
from tests.server.shapes import request

INVALID = 3
UNIMPLEMENTED = 12
DATA, HEAD, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 4, 7, 9
PROTOCOL, FLOW_CONTROL, FRAME_SIZE, COMPRESSION = 1, 3, 6, 9
"""HTTP/2's errors."""
END_STREAM, END_HEADERS = 1, 4


HTTP1 = [
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBad name: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"{}" * 100 + b"\r\n\r\n",
    b"A" * 20_000,
    b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1" + b";x" * 50_000,
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n",
]


def test_http1_that_is_none(server: Victim) -> None:
    """It is refused, or its connection ended, or it is harmless."""

    def play(data: bytes) -> str:
        with server.http1() as client:
            client.send(data)
            client.socket.settimeout(0.5)
            try:
                answer = client.answer()
            except TimeoutError:
                # It waits for the rest, and not for ever: that is tested elsewhere.
                return ""
        good = answer is None or 200 <= answer.status < 500 or answer.status in (501, 505)
        return "" if good else str(answer)

    all_at_once(play, HTTP1)


def test_too_many_headers(server: Victim) -> None:
    lines = [f"X-{number}: y" for number in range(HEADER_COUNT + 10)]
    answer = server.rest_call(rest_body(60), "Content-Length: 60", *lines)
    assert answer is not None
    assert answer.status == 431
    assert f"{HEADER_COUNT} headers" in answer.text
    assert "server.max_headers" in answer.text


@pytest.mark.parametrize("lines", [1, 40])
def test_headers_that_are_too_large(server: Victim, lines: int) -> None:
    size = HEADERS // lines + 100
    long = [f"X-{number}: {'y' * size}" for number in range(lines)]
    answer = server.rest_call(rest_body(60), "Content-Length: 60", *long)
    assert answer is not None
    assert answer.status == 431
    assert f"{HEADERS} bytes" in answer.text
    assert "server.max_header_size" in answer.text


def test_a_path_that_is_too_long(server: Victim) -> None:
    with server.http1() as client:
        client.send(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * (HEADERS + 1000)))
        answer = client.answer()
    assert answer is None or answer.status in (414, 431)


PATHS = ["/%ff", "/health%ff", "/%C3%28", "/%ed%a0%80", "/%f4%90%80%80", "/%c0%af", "/a%ff?b=%ff"]


@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST"])
def test_paths_that_are_no_text(server: Victim, verb: str) -> None:
    """They are refused, and not left without an answer."""

    def play(path: str) -> str:
        with server.http2() as client:
            answer = client.answer(client.open(path, JSON, verb=verb))
        with server.http1() as other:
            other.send(f"{verb} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            first = other.answer(is_head=verb == "HEAD")
        with server.http2() as client:
            call = client.answer(client.open(path, GRPC, body=frame(b""), verb=verb))
        with server.http2() as client:
            web = [("content-type", "application/grpc-web+proto")]
            page = client.answer(client.open(path, web, body=frame(b""), verb=verb))
        is_right = first is not None and {answer.status, first.status} <= {400, 404, 405}
        is_right = is_right and (call.status == 400 or call.grpc_status in (INVALID, UNIMPLEMENTED))
        is_right = is_right and page.status in (200, 400)
        return "" if is_right else f"{answer} {first} {call} {page}"

    all_at_once(play, PATHS)


def test_paths_of_other_letters(server: Victim) -> None:
    """Text is text, and finds no endpoint."""

    def play(path: str) -> str:
        with server.http2() as client:
            answer = client.answer(client.open(path, JSON, verb="GET"))
        return "" if answer.status == 404 else str(answer)

    letters = ["a", "\0", "\x7f", "é", "߿", "ࠀ", "日", "\ud7ff", "\ue000", "𐀀", "🦊", "\U0010ffff"]
    all_at_once(
        play, ["/a~!$&'()*+,;=:@-._?", "/a?%ff=%ff", *(f"/{quote(item)}" for item in letters)]
    )


def test_head_brings_no_body(server: Victim) -> None:
    """What is refused neither: the next answer on the connection begins where it should."""
    paths = ("/nowhere", ONE_ROUTE, "/health", ONE)
    with server.http1() as client:
        for path in paths:
            client.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = client.answer(is_head=True)
            assert answer is not None
            assert answer.status in (404, 405)
        client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        last = client.answer()
        assert last is not None
        assert last.body == b"OK"
    for path in paths:
        with server.http2() as other:
            answer = other.answer(other.open(path, verb="HEAD"))
        assert (answer.status in (404, 405), answer.body) == (True, b"")


GOOD = [(":method", "POST"), (":scheme", "http"), (":path", ONE), (":authority", "x"), *GRPC]


HTTP2_HEADERS: list[list[tuple[str, str]]] = [
    [],
    GOOD[1:],
    [*GOOD[:2], *GOOD[3:]],
    [*GOOD, (":path", "/other")],
    [*GOOD, (":unknown", "x")],
    [*GOOD[4:], *GOOD[:4]],
    [*GOOD[:2], (":path", ""), *GOOD[3:]],
    [*GOOD[:2], (":path", "no slash"), *GOOD[3:]],
    [(":method", ""), *GOOD[1:]],
    [(":method", "P ST"), *GOOD[1:]],
    [(":method", "CONNECT"), *GOOD[1:]],
    [*GOOD, ("Upper", "x")],
    [*GOOD, ("connection", "close")],
    [*GOOD, ("transfer-encoding", "chunked")],
    [*GOOD, ("te", "gzip")],
    [*GOOD, ("x", "a\r\nb: c")],
    [*GOOD, ("x", "a\0b")],
    [*GOOD, ("bad name", "x")],
    [*GOOD, ("", "x")],
    [*GOOD, (":status", "200")],
    [*GOOD, ("host", "other")],
    [*GOOD[:2], (":path", ONE_ROUTE + "?a=\r\nb: c"), *GOOD[3:]],
]


def test_http2_headers_that_cannot_be(server: Victim) -> None:
    """They are refused with their stream or their connection, or harmless."""
    message = frame(request("one", text="a").SerializeToString())

    def play(headers: list[tuple[str, str]]) -> str:
        with server.http2() as client:
            stream = client.reserve()
            block = hpack.Encoder().encode(headers)
            client.send(
                http2_frame(HEAD, block, flags=END_HEADERS, stream=stream)
                + http2_frame(0, message, flags=END_STREAM, stream=stream)
            )
            client.wait(lambda: stream in client.ended or client.is_gone)
            answer = client.answers[stream]
        if not client.is_gone and answer.reset is None and answer.status < 200:
            return "no answer"
        return "a header was smuggled" if "b" in answer.headers else ""

    all_at_once(play, HTTP2_HEADERS)


HTTP2 = [
    (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", None),
    (PREFACE + http2_frame(0, b"x", stream=1), PROTOCOL),
    (PREFACE + http2_frame(SETTINGS, b"12345"), FRAME_SIZE),
    (PREFACE + http2_frame(SETTINGS, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL),
    (PREFACE + http2_frame(SETTINGS, b"\0\5\0\0\0\1"), PROTOCOL),
    (PREFACE + http2_frame(SETTINGS, stream=1), PROTOCOL),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, b"\xff\xff\xff\xff\xff\xff", flags=4),
        PROTOCOL,
    ),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, b"\x80", flags=5, stream=1), COMPRESSION),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, b"\xbe" * 10, flags=5, stream=1),
        COMPRESSION,
    ),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, b"\x82", flags=5, stream=2), PROTOCOL),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(5, b"\0\0\0\2\x82", flags=4, stream=1),
        PROTOCOL,
    ),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(CONTINUATION, b"\x82", flags=4, stream=1),
        PROTOCOL,
    ),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, b"\xff\x82", flags=0xD, stream=1),
        PROTOCOL,
    ),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(0, b"\xffabc", flags=8, stream=1), PROTOCOL),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(3, b"\0\0\0", stream=1), FRAME_SIZE),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(3, b"\0\0\0\x08", stream=9), PROTOCOL),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(6, b"short"), FRAME_SIZE),
    (PREFACE + http2_frame(SETTINGS) + http2_frame(8, b"\0\0\0\0"), PROTOCOL),
    (PREFACE + http2_frame(SETTINGS) + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", FRAME_SIZE),
    (
        PREFACE + http2_frame(SETTINGS) + http2_frame(7, b"\0" * 8) + http2_frame(7, b"\0" * 3),
        FRAME_SIZE,
    ),
    (PREFACE + http2_frame(SETTINGS) + b"GET / HTTP/1.1\r\n\r\n", FRAME_SIZE),
]
"""What a client sends, and the error that it is; None where it may be any."""


def test_http2_that_is_none(server: Victim) -> None:
    """Its connection is ended with the reason, or at once; nothing is answered, others are."""

    def play(case: tuple[bytes, int | None]) -> str:
        data, error = case
        received = b""
        with connected(server.grpc_port) as client:
            client.sendall(data)
            try:
                while more := client.recv(65536):
                    received += more
            except TimeoutError:
                return f"the connection goes on: {received!r}"
            except ConnectionError:
                pass
        found = list(frames(received))
        if any(kind in (HEAD, DATA, CONTINUATION) for kind, _ in found):
            return f"it was answered: {received!r}"
        reasons = {int.from_bytes(content[4:8], "big") for kind, content in found if kind == GOAWAY}
        # An engine may call any of them a breach of the protocol, and need not give a reason.
        is_right = error is None or reasons <= {error, PROTOCOL}
        return "" if is_right else f"the reason is {reasons}"

    with others(server):
        all_at_once(play, HTTP2)


def test_a_large_frame_is_not_collected(server: Victim) -> None:
    """It is refused by its head, of which many connections have sent no more than a part."""
    head = PREFACE + http2_frame(SETTINGS) + b"\xff\xff\xff\0\0\0\0\0\1"

    def play(size: int) -> str:
        with connected(server.grpc_port) as client:
            try:
                client.sendall(head + b"x" * size)
                while client.recv(65536):
                    pass
            except TimeoutError:
                return "the connection goes on"
            except ConnectionError:
                pass
        return ""

    with others(server):
        all_at_once(play, [0, 1, 20_000, 4 << 20])
        assert server.memory() < server.before + MUCH


GRPC_BODIES = [
    b"",
    b"\0",
    b"\0\0\0\0",
    frame(b"", size=5),
    frame(b"\x0a\x01a", size=2),
    frame(b"\x0a\x01a") * 2,
    frame(b"\x0a\x01a", flag=1),
    frame(b"\x0a\x01a", flag=2),
    frame(b"\x0a\x01a", flag=255),
    frame(b"\x0a\x05a"),
    frame(b"\xff" * 100),
    frame(b"\x0a\x02\xc3\x28"),
    frame(b"\x0b\x0b\x0b"),
    frame(b"\x0c"),
    frame(b"\x07\x01"),
    frame(b"\x00\x01"),
    frame(b"\x0a\xff\xff\xff\xff\x0f"),
    b"{}",
    frame(b"\x0a\x01a") + b"\0\0",
]


@pytest.mark.parametrize("shape", ["", "ServerStreaming"])
def test_grpc_messages_that_are_none(server: Victim, shape: str) -> None:
    path = ONE.replace("TalkTask", f"{shape}TalkTask")

    def play(body: bytes) -> str:
        answer = server.grpc_call(body, path=path)
        is_right = answer.grpc_status in (INVALID, UNIMPLEMENTED) and answer.text
        return "" if is_right else str(answer)

    all_at_once(play, GRPC_BODIES)


@pytest.mark.parametrize("shape", ["ClientStreaming", "BidiStreaming"])
def test_a_stream_that_ends_in_the_middle_of_a_message(server: Victim, shape: str) -> None:
    path = ONE.replace("TalkTask", f"{shape}TalkTask")
    good = frame(request("gather", texts="a").SerializeToString())
    for body in (b"\0\0", good + good[:-1], good + frame(b"\xff" * 9), good + b"\2\0\0\0\1x"):
        answer = server.grpc_call(body, path=path)
        assert answer.grpc_status == INVALID, answer.text


JSON_BODIES = [
    b"",
    b"\0",
    b"{",
    b'{"inputs": "a", "model_id": "plain"',
    b'{"inputs": "\xff", "model_id": "plain"}',
    b'{"inputs": "\\ud800", "model_id": "plain"}',
    b'{"inputs": NaN, "model_id": "plain"}',
    b'{"inputs": "a", "parameters": {"size": 1e999}, "model_id": "plain"}',
    b'{"inputs": "a", "parameters": {"size": %b}, "model_id": "plain"}' % (b"9" * 5000),
    b'{"inputs": "a", "parameters": {"pause": %b}, "model_id": "plain"}' % (b"9" * 5000),
    b'{"inputs": "a", "parameters": {"size": 99999999999999999999}, "model_id": "plain"}',
    b"\xef\xbb\xbf{",
    b"[" * 1000,
]


def test_json_that_is_none(server: Victim) -> None:
    def play(body: bytes) -> str:
        answer = server.rest_call(body, f"Content-Length: {len(body)}")
        is_right = answer is not None and answer.status in (400, 422) and answer.text
        return "" if is_right else str(answer)

    all_at_once(play, JSON_BODIES)


def test_content_types_that_are_none(server: Victim) -> None:
    for kind in ("application/grpc\xff", "multipart/form-data", "text/plain", ";", "a" * 5000):
        with server.http2() as client:
            headers = [("content-type", kind), *GRPC[1:]]
            for path in (ONE, ONE_ROUTE):
                answer = client.call(path, headers, b"x")
                assert answer.reset is not None or 400 <= answer.status < 500 or answer.grpc_status


def test_half_a_request_on_every_port(server: Victim) -> None:
    """Clients that vanish in the middle of everything."""
    whole = rest_head("Content-Length: 60") + rest_body(60)
    for size in range(0, len(whole), 3):
        with Http1(server.http_port) as client:
            client.send(whole[:size])
    block = hpack.Encoder().encode(GOOD)
    message = frame(request("one", text="a").SerializeToString())
    whole = PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, block, flags=4, stream=1)
    whole += http2_frame(0, message, flags=END_STREAM, stream=1)
    for size in range(0, len(whole), 3):
        with connected(server.grpc_port) as other:
            other.sendall(whole[:size])
