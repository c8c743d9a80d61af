"""HTTP/2 frames by the thousand: each costs a client nothing, and must not cost the server much.

What a flood is answered by (the connection's end, refused streams, nothing at all) is the engine's
own business; what is asked for is that nobody else notices.
"""

import contextlib
import os
import random
import struct
from concurrent.futures import ThreadPoolExecutor

import hpack
import pytest

from tests.abuse.conftest import (
    GRPC,
    HEADERS,
    JSON,
    MANY,
    ONE,
    ONE_ROUTE,
    Victim,
    rest_body,
    rest_head,
)
from tests.abuse.wire import PREFACE, Http1, Http2, connected, frame, http2_frame
from tests.server.shapes import request

SIZE = int(os.environ.get("KITFOX_ABUSE", "1"))
"""How many times as much of everything: 1 in a test run, more by `make abuse`."""

DATA, HEAD, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def head(*more: tuple[str, str], path: str = ONE, encoder: hpack.Encoder | None = None) -> bytes:
    """A block of request headers."""
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    block: bytes = (encoder or hpack.Encoder()).encode([*pseudo, *GRPC, *more])
    return block


def flood(server: Victim, data: bytes, times: int) -> None:
    """Sends the same bytes again and again until the connection is ended, or that was all."""
    with server.http2() as client:
        client.socket.settimeout(10)
        block = data * 100
        for _ in range(times // 100):
            if not client.send(block):
                return


def test_rapid_resets(server: Victim) -> None:
    """CVE-2023-44487: requests that are taken back at once."""
    message = frame(request("one", text="a", pause=0.2).SerializeToString())

    def attack(_: int) -> bool:
        with server.http2() as client:
            client.socket.settimeout(10)
            encoder = hpack.Encoder()
            for stream in range(1, 4000 * SIZE, 2):
                sent = client.send(
                    http2_frame(HEAD, head(encoder=encoder), flags=END_HEADERS, stream=stream)
                    + http2_frame(DATA, message, flags=END_STREAM, stream=stream)
                    + http2_frame(RESET, struct.pack(">I", 8), stream=stream)
                )
                if not sent:
                    return True
            return client.is_turned_away()

    with ThreadPoolExecutor(3) as pool:
        attacks = [pool.submit(attack, number) for number in range(3)]
        server.pace(3)
        assert all(attack.result() for attack in attacks)


def test_resets_that_the_server_is_made_to_send(server: Victim) -> None:
    """CVE-2025-8671: requests that the client breaks, so that the server takes them back."""
    message = frame(request("one", text="a", pause=0.2).SerializeToString())
    with server.http2() as client:
        client.socket.settimeout(10)
        encoder = hpack.Encoder()
        for number in range(1000 * SIZE):
            stream = 2 * number + 1
            sent = client.send(
                http2_frame(HEAD, head(encoder=encoder), flags=END_HEADERS, stream=stream)
                + http2_frame(DATA, message, flags=END_STREAM, stream=stream)
                + http2_frame(WINDOW, struct.pack(">I", 0), stream=stream)
            )
            if not sent:
                break


def test_more_streams_than_may_be_open(server: Victim) -> None:
    message = frame(request("one", text="a", pause=0.5).SerializeToString())
    with server.http2() as client:
        encoder = hpack.Encoder()
        for number in range(3000):
            stream = 2 * number + 1
            block = head(encoder=encoder)
            sent = client.send(
                http2_frame(HEAD, block, flags=END_HEADERS, stream=stream)
                + http2_frame(DATA, message, flags=END_STREAM, stream=stream)
            )
            if not sent:
                break
        server.pace(3)


def test_headers_without_end(server: Victim) -> None:
    """CVE-2024-27316 and its kind: CONTINUATION frames for ever."""
    piece = b"".join(b"\x00\x08name%04d\x05value" % number for number in range(50))
    with server.http2() as client:
        client.socket.settimeout(10)
        client.send(http2_frame(HEAD, head(), stream=1))
        more = http2_frame(CONTINUATION, piece, stream=1)
        sent = 0
        while sent < 3000 * SIZE and client.send(more):
            sent += 1
        assert sent < 3000 * SIZE or client.is_turned_away()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(http2_frame(SETTINGS, struct.pack(">HI", 4, 65535) * 10), id="settings"),
        pytest.param(http2_frame(SETTINGS), id="empty settings"),
        pytest.param(http2_frame(PING, b"12345678"), id="ping"),
        pytest.param(http2_frame(PING, b"12345678", flags=ACK), id="pong"),
        pytest.param(http2_frame(PRIORITY, struct.pack(">IB", 3, 1), stream=1), id="priority"),
        pytest.param(http2_frame(WINDOW, struct.pack(">I", 1)), id="window"),
        pytest.param(http2_frame(250, b"unknown", stream=1), id="unknown"),
        pytest.param(http2_frame(CONTINUATION, b"", stream=1), id="continuation"),
    ],
)
def test_frames_that_ask_for_nothing(server: Victim, data: bytes) -> None:
    flood(server, data, 10_000 * SIZE)


def test_empty_data_frames(server: Victim) -> None:
    """CVE-2019-9518."""
    with server.http2() as client:
        client.socket.settimeout(10)
        client.open(ONE, GRPC, end=False)
        empty = http2_frame(DATA, b"", stream=1) * 100
        for _ in range(100 * SIZE):
            if not client.send(empty):
                break


def test_padding_without_data(server: Victim) -> None:
    """Frames of nothing but padding count for the windows, and for nothing else."""
    with server.http2() as client:
        stream = client.open(ONE, GRPC, end=False)
        padded = http2_frame(DATA, b"\xff" + bytes(255), flags=8, stream=stream)
        for _ in range(200):
            client.send(padded)
        client.wait(lambda: stream in client.ended or client.goaway is not None, seconds=1)


@pytest.mark.parametrize("value", ["x" * 4000, ""])
def test_a_bomb_of_compressed_headers(server: Victim, value: str) -> None:
    """A long header in the table, then references to it: a byte each on the wire."""
    encoder = hpack.Encoder()
    block = head(("bomb", value), encoder=encoder)
    again = encoder.encode([("bomb", value)])
    assert len(again) == 1
    with server.http2() as client:
        stream = client.reserve()
        bomb = block + again * 15_000
        client.send(http2_frame(HEAD, bomb, flags=END_STREAM | END_HEADERS, stream=stream))
        is_refused(client, stream, "setting server.max_header")


def is_refused(client: Http2, stream: int, text: str) -> None:
    """Fails unless a request was refused in so many words, or along with its connection."""
    client.wait(lambda: stream in client.ended or client.is_gone)
    answer = client.answers[stream]
    assert client.is_gone or answer.reset is not None or text in answer.text, answer


def test_a_table_that_shrinks_and_grows(server: Victim) -> None:
    """Updates of the size of HPACK's table, as many as fit."""
    with server.http2() as client:
        block = b"\x20\x3f\xe1\x1f" * 4000 + head()
        client.send(http2_frame(HEAD, block, flags=END_STREAM | END_HEADERS, stream=1))
        client.is_turned_away(1)


def test_windows_that_overflow(server: Victim) -> None:
    with server.http2() as client:
        for _ in range(3):
            client.send(http2_frame(WINDOW, struct.pack(">I", 2**31 - 1)))
        assert client.is_turned_away()
    with server.http2() as client:
        stream = client.open(MANY, GRPC, end=False)
        client.send(http2_frame(WINDOW, struct.pack(">I", 2**31 - 1), stream=stream) * 2)
        assert client.wait(lambda: stream in client.ended or client.is_gone)


def test_a_stream_of_answers_in_windows_of_a_byte(server: Victim) -> None:
    """CVE-2019-9511: an answer that is asked for byte by byte."""
    # Few enough to be taken in the time that there is for an answer that is complete.
    body = frame(request("many", text="x", size=50, count=2).SerializeToString())
    with server.http2(window=1) as client:
        stream = client.open(MANY, GRPC, body=body)
        answer = client.answer(stream)
    assert answer.grpc_status == 0
    assert len(answer.body) > 100


def test_a_client_that_gives_room_back_for_each_message(server: Victim) -> None:
    """As stock ones do that take small messages one by one: that is no flood."""
    with server.http2() as client:
        for _ in range(2):
            body = frame(request("many", text="x", count=2000).SerializeToString())
            stream = client.open(MANY, GRPC, body=body)
            answer = client.answers[stream]
            assert client.wait(lambda answer=answer: answer.pieces)
            room = struct.pack(">I", 7)
            client.send(
                (http2_frame(WINDOW, room, stream=stream) + http2_frame(WINDOW, room)) * 2000
            )
            assert client.answer(stream).grpc_status == 0


def test_connections_that_come_and_go(server: Victim) -> None:
    firsts = (
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + http2_frame(SETTINGS) + http2_frame(HEAD, head(), flags=END_HEADERS, stream=1),
        b"POST ",
        b"POST /api/v1/task/talk HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    )
    for number in range(600 * SIZE):
        with connected(server.http_port) as client:
            client.sendall(firsts[number % len(firsts)])


def test_many_requests_at_once_in_one_write(server: Victim) -> None:
    """Pipelining: HTTP/1.1 requests that do not wait for their answers."""
    body = rest_body(60)
    one = rest_head("Content-Length: 60") + body
    with Http1(server.http_port) as client:
        client.send(one * 200)
        statuses: list[int] = []
        with contextlib.suppress(TimeoutError):
            while len(statuses) < 200 and (answer := client.answer()) is not None:
                statuses.append(answer.status)
    assert statuses == [200] * 200


def test_random_bytes(server: Victim) -> None:
    """On both ports, alone and after a good beginning."""
    chance = random.Random(7)  # noqa: S311 -- no secret
    good = PREFACE + http2_frame(SETTINGS)
    begun = good + http2_frame(HEAD, head(), flags=END_HEADERS, stream=1)
    firsts = (b"", good, begun, b"POST / HTTP/1.1\r\nHost: x\r\n", b"GET ", begun)
    for number in range(300 * SIZE):
        port = server.http_port if number % 2 else server.grpc_port
        with connected(port) as client:
            data = bytearray(chance.randbytes(chance.choice((1, 10, 100, 1000, 20_000))))
            if number % 3 == 0:
                # Frames of all kinds, of their true length.
                data = bytearray()
                for _ in range(20):
                    content = chance.randbytes(chance.choice((0, 4, 5, 8, 30)))
                    kind, flags = chance.randrange(11), chance.randrange(256)
                    data += http2_frame(kind, content, flags=flags, stream=chance.randrange(4))
            with contextlib.suppress(OSError):
                client.sendall(chance.choice(firsts) + data)


def test_headers_that_are_too_large_or_too_many(server: Victim) -> None:
    with server.http2() as client:
        large = client.open(ONE, [*GRPC, ("x", "y" * (HEADERS + 1000))])
        is_refused(client, large, "setting server.max_header_size")
    with server.http2() as client:
        many = client.open(ONE_ROUTE, [*JSON, *((f"x{n}", "y") for n in range(200))])
        is_refused(client, many, "setting server.max_headers")
