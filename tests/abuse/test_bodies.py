"""Bodies that are as large as they may be, larger, not what they are said to be, or a bomb."""

import gzip

import pytest

from tests.abuse.conftest import (
    DECOMPRESSED,
    GRPC,
    JSON,
    MESSAGE,
    ONE,
    ONE_ROUTE,
    Victim,
    all_at_once,
    grpc_message,
    rest_body,
    rest_head,
    word,
)
from tests.abuse.wire import frame
from tests.server.shapes import request

TOO_LARGE = 8
"""gRPC's RESOURCE_EXHAUSTED."""
WRONG = 3
"""gRPC's INVALID_ARGUMENT."""


def test_a_message_at_the_limit_and_one_byte_over(server: Victim) -> None:
    assert word(server.grpc_call(frame(grpc_message(MESSAGE))))[:2] == "xx"
    answer = server.grpc_call(frame(grpc_message(MESSAGE + 1)))
    assert answer.grpc_status == TOO_LARGE
    assert f"{MESSAGE} " in answer.text
    assert "server.max_message_size" in answer.text


def test_a_rest_body_at_the_limit_and_one_byte_over(server: Victim) -> None:
    answer = server.rest_call(rest_body(MESSAGE), f"Content-Length: {MESSAGE}")
    assert answer is not None
    assert answer.status == 200
    answer = server.rest_call(rest_body(MESSAGE + 1), f"Content-Length: {MESSAGE + 1}")
    assert answer is not None
    assert answer.status == 413
    assert f"{MESSAGE} " in answer.text
    assert "server.max_message_size" in answer.text


def test_a_message_whose_head_announces_four_gigabytes(server: Victim) -> None:
    answer = server.grpc_call(frame(b"x" * 100, size=2**32 - 1))
    assert answer.grpc_status == TOO_LARGE
    assert "server.max_message_size" in answer.text


def test_an_endless_message_is_refused_before_it_ends(server: Victim) -> None:
    with server.http2() as client:
        stream = client.open(ONE, GRPC, end=False)
        client.write(stream, frame(b"", size=MESSAGE) + b"x" * 50 * MESSAGE, end=False)
        answer = client.answer(stream)
    assert answer.grpc_status == TOO_LARGE


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_a_chunked_body_without_a_length(server: Victim) -> None:
    chunks = chunked(rest_body(MESSAGE), 5000) + b"0\r\n\r\n"
    answer = server.rest_call(chunks, "Transfer-Encoding: chunked")
    assert answer is not None
    assert answer.status == 200
    with server.http1() as client:
        client.send(rest_head("Transfer-Encoding: chunked"))
        piece = chunked(b"x" * 60_000, 60_000)
        sent = sum(client.send(piece) for _ in range(100))
        answer = client.answer()
    # It was answered, or it could not even send all of it.
    assert answer is not None or sent < 100
    assert answer is None or (answer.status, "server.max_message_size" in answer.text) == (
        413,
        True,
    )


@pytest.mark.parametrize("size", [1, 2])
def test_a_hundred_thousand_tiny_chunks(server: Victim, size: int) -> None:
    body = rest_body(100_000 * size)
    answer = server.rest_call(chunked(body, size) + b"0\r\n\r\n", "Transfer-Encoding: chunked")
    assert answer is not None
    # Where that takes longer than a body may take, it is refused for this.
    assert answer.status in ((200, 408) if size == 1 else (413, 408))
    assert answer.status != 408 or "server.request_seconds" in answer.text


def test_a_hundred_thousand_data_frames_of_a_byte(server: Victim) -> None:
    message = frame(grpc_message(99_995))
    with server.http2() as client:
        stream = client.open(ONE, GRPC, end=False)
        for start in range(0, len(message), 1000):
            for place in range(start, start + 1000):
                client.connection.send_data(stream, message[place : place + 1])
            if not client.flush():
                break
            while client.connection.local_flow_control_window(stream) < 2000:
                assert client.read()
        if not client.is_closed and client.goaway is None:
            client.connection.end_stream(stream)
            client.flush()
        client.wait(lambda: stream in client.ended or client.goaway is not None)
        answer = client.answers[stream]
    # The number of tiny frames may be what ends the connection.
    if client.goaway is None and not client.is_closed:
        assert answer.grpc_status in (0, 4), answer.text


LENGTHS = {
    "Content-Length: 60\r\nContent-Length: 70": {400},
    "Content-Length: -1": {400},
    "Content-Length: +60": {400},
    "Content-Length: 0x3c": {400},
    "Content-Length: 99999999999999999999999999": {400, 413},
    "Content-Length: 9000000000000000000": {400, 413},
    "Content-Length: ": {400},
    # Where the encoding wins, the body has no end.
    "Content-Length: 60\r\nTransfer-Encoding: chunked": {400, 408},
    "Transfer-Encoding: chunked, chunked": {400, 501},
    "Transfer-Encoding: gzip": {400, 501},
}


def test_lengths_that_cannot_be(server: Victim) -> None:
    def play(line: str) -> str:
        with server.http1() as client:
            client.send(rest_head(line) + rest_body(60))
            answer = client.answer()
            if answer is not None and answer.status not in LENGTHS[line]:
                return str(answer)
            return "" if client.is_closed() else "the connection goes on"

    all_at_once(play, list(LENGTHS))


def test_a_body_that_is_longer_than_announced(server: Victim) -> None:
    """What follows is taken for the next request, and is none."""
    with server.http1() as client:
        client.send(rest_head("Content-Length: 60") + rest_body(60) + b"xxxx" * 10 + b"\r\n\r\n")
        first = client.answer()
        assert first is not None
        assert first.status == 200
        second = client.answer()
        assert second is None or second.status == 400
        assert client.is_closed()


def test_a_body_that_is_shorter_than_announced(server: Victim) -> None:
    """Its client waits for an answer, and is told why there is none."""
    answer = server.rest_call(rest_body(60), "Content-Length: 100")
    assert answer is not None
    assert answer.status == 408
    assert "server.request_seconds" in answer.text
    answer = server.rest_call(rest_body(60)[:-2], "Content-Length: 58")
    assert answer is not None
    assert answer.status == 422


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_wrong_lengths_over_http2(server: Victim, protocol: str) -> None:
    asks_grpc = protocol == "grpc"
    path = ONE if asks_grpc else ONE_ROUTE
    message = frame(request("one", text="x" * 50).SerializeToString())
    body = message if asks_grpc else rest_body(60)

    def play(length: str) -> str:
        with server.http2() as client:
            headers = [*(GRPC if asks_grpc else JSON), ("content-length", length)]
            stream = client.open(path, headers, body=body)
            client.wait(lambda: stream in client.ended or client.is_gone)
            answer = client.answers[stream]
        is_refused = client.is_gone or answer.reset is not None or 400 <= answer.status < 500
        is_refused = is_refused or answer.headers.get("grpc-status", "0") != "0"
        return "" if is_refused else str(answer)

    all_at_once(play, ["100", "10", "-1", "99999999999999999999"])


def test_a_gzip_bomb_in_a_message(server: Victim) -> None:
    bomb = gzip.compress(bytes(100_000_000), 9)
    assert len(bomb) < MESSAGE
    answer = server.grpc_call(frame(bomb, flag=1), ("grpc-encoding", "gzip"))
    assert answer.grpc_status == TOO_LARGE
    assert f"{DECOMPRESSED} " in answer.text
    assert "server.max_decompressed_size" in answer.text


def test_a_gzip_bomb_in_a_rest_body(server: Victim) -> None:
    bomb = gzip.compress(bytes(100_000_000), 9)
    answer = server.rest_call(bomb, f"Content-Length: {len(bomb)}", "Content-Encoding: gzip")
    assert answer is not None
    assert answer.status == 413
    assert f"{DECOMPRESSED} " in answer.text
    assert "server.max_decompressed_size" in answer.text


def test_bombs_in_a_stream_of_messages(server: Victim) -> None:
    bomb = frame(gzip.compress(bytes(50_000_000), 9), flag=1)
    path = ONE.replace("TalkTask", "ClientStreamingTalkTask")
    answer = server.grpc_call(bomb * 20, ("grpc-encoding", "gzip"), path=path)
    assert answer.grpc_status == TOO_LARGE


def test_a_compressed_body_that_is_none(server: Victim) -> None:
    answer = server.grpc_call(frame(b"no gzip", flag=1), ("grpc-encoding", "gzip"))
    assert answer.grpc_status == WRONG
    rest = server.rest_call(b"no gzip", "Content-Length: 7", "Content-Encoding: gzip")
    assert rest is not None
    assert rest.status == 400


def test_json_that_is_nested_too_deep(server: Victim) -> None:
    def play(text: str) -> str:
        body = b'{"model_id": "plain", "inputs": %b}' % text.encode()
        answer = server.rest_call(body, f"Content-Length: {len(body)}")
        is_right = answer is not None and answer.status == 422
        return "" if is_right and "server.max_json_depth" in str(answer) else str(answer)

    all_at_once(play, ["[" * 60_000, '{"a":' * 20_000, "[" * 101 + "]" * 101])


def test_messages_that_are_nested_too_deep(server: Victim) -> None:
    """Unknown fields in unknown fields, groups in groups: a parser must not fall into them."""

    def play(message: bytes) -> str:
        answer = server.grpc_call(frame(message))
        return "" if answer.grpc_status in (0, WRONG) else str(answer)

    nested = [_nested(depth) for depth in (99, 101, 20_000)]
    all_at_once(play, [*nested, b"\x13" * 99, b"\x13" * 101, b"\x13" * 20_000])


def _nested(depth: int) -> bytes:
    message = b""
    for _ in range(depth):
        size = len(message)
        if size > MESSAGE - 10:
            break
        message = b"\x12" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + message
    return message
