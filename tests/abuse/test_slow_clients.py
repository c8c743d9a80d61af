"""Clients that take their time: to send, to read, or to do anything at all."""

import contextlib
import json
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.abuse.conftest import (
    GRPC,
    HEADER_SECONDS,
    IDLE_SECONDS,
    JSON,
    MANY,
    MANY_ROUTE,
    MUCH,
    ONE,
    ONE_ROUTE,
    REQUEST_SECONDS,
    UNSENT,
    Victim,
    rest_body,
    rest_head,
)
from tests.abuse.wire import PREFACE, Answer, Http2, connected, frame, frames, http2_frame
from tests.server.shapes import MODELS, request
from tests.waiting import wait_for

IDLE_CONNECTIONS = 2000
CROWD = 300
ATTEMPTS = 5
"""How often others may be found slow beside what lasts for a few seconds: the machine is busy with
other things as well."""
STREAMED = 400 << 20
"""More bytes than a server that keeps what nobody reads could hide."""
_MANY = MANY_ROUTE.rsplit("/", 1)[1].encode()


def trickle(send: Callable[[bytes], bool], data: bytes, seconds: float) -> int:
    """Sends a byte every now and then, for so long; gives how many were taken."""
    ends = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < ends and sent < len(data) and send(data[sent : sent + 1]):
        sent += 1
        time.sleep(0.2)
    return sent


def is_given_up(client: Http2) -> bool:
    """Whether the server ends the first stream, or the connection."""
    data = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while more := client.socket.recv(65536):
            data += more
            if any(kind in (3, 7) for kind, _ in frames(data)):
                return True
        return True
    return False


class Slow:
    """Slow clients, all at the same time, and what each of them was told.

    Args:
        server: Whose they are.
    """

    def __init__(self, server: Victim) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(16)
        self._outcomes = {
            name.removeprefix("do_"): self._pool.submit(getattr(self, name))
            for name in dir(self)
            if name.startswith("do_")
        }

    def __call__(self, name: str) -> Answer | None:
        """What a client was told; None when its connection was closed without a word."""
        answer = self._outcomes[name].result(120)
        assert answer is None or isinstance(answer, Answer)
        return answer

    def is_given_up(self, name: str) -> bool:
        """Whether a client that has begun a request is waited for no longer."""
        return self._outcomes[name].result(120) is True

    def close(self) -> None:
        self._pool.shutdown()

    def do_headers(self) -> Answer | None:
        with self._server.http1() as client:
            head = rest_head("X: " + "x" * 1000)
            assert trickle(client.send, head, 10 * HEADER_SECONDS) < len(head)
            answer = client.answer()
            assert client.is_closed()
            return answer

    def do_preface(self) -> bool:
        """To the server it is a head of HTTP/1, or none at all."""
        with self._server.http1() as client:
            trickle(client.send, PREFACE, 4 * HEADER_SECONDS)
            return client.is_closed()

    def do_frame(self) -> bool:
        with self._server.http2() as client:
            begun = http2_frame(1, b"\x00\x01a\x01b" * 400, stream=1)
            client.send(begun[:20])
            trickle(client.send, begun[20:-1], 2 * HEADER_SECONDS)
            return is_given_up(client)

    def do_continuation(self) -> bool:
        with self._server.http2() as client:
            client.send(http2_frame(1, b"\x00\x01a\x01b" * 4, stream=1))
            more = http2_frame(9, b"\x00\x01a\x01b" * 400, stream=1)
            trickle(client.send, more, 2 * HEADER_SECONDS)
            return is_given_up(client)

    def do_rest_body(self) -> Answer | None:
        with self._server.http1() as client:
            client.send(rest_head("Content-Length: 1000"))
            trickle(client.send, rest_body(1000), 5 * REQUEST_SECONDS)
            return client.answer()

    def do_message(self) -> Answer:
        with self._server.http2() as client:
            stream = client.open(ONE, GRPC, end=False)

            def send(data: bytes) -> bool:
                client.write(stream, data, end=False)
                client.read(0.01)
                return stream not in client.ended

            trickle(send, frame(b"x" * 1000), 5 * REQUEST_SECONDS)
            return client.answer(stream)

    def do_no_rest_body(self) -> Answer:
        with self._server.http2() as client:
            return client.answer(client.open(ONE_ROUTE, JSON, end=False))

    def do_no_message(self) -> Answer:
        with self._server.http2() as client:
            return client.answer(client.open(ONE, GRPC, end=False))

    def do_stream(self) -> Answer:
        """A stream that lasts for longer than a request may, and then stops."""
        path = ONE.replace("TalkTask", "ClientStreamingTalkTask")
        with self._server.http2() as client:
            stream = client.open(path, GRPC, end=False)
            message = frame(request("gather", texts="a").SerializeToString())
            started = time.monotonic()
            while time.monotonic() - started < 1.5 * REQUEST_SECONDS:
                client.write(stream, message, end=False)
                time.sleep(0.2)
            assert stream not in client.ended
            return client.answer(stream)


@pytest.fixture(scope="module")
def slow(running: Victim) -> Iterator[Slow]:
    made = Slow(running)
    yield made
    made.close()


def test_headers_that_trickle(server: Victim, slow: Slow) -> None:
    """However many bytes come: they have a time to be complete."""
    answer = slow("headers")
    assert answer is not None
    assert answer.status == 408
    assert answer.headers["x-request-id"] == json.loads(answer.body)["id"]
    assert f"{HEADER_SECONDS} s " in answer.text
    assert "server.header_seconds" in answer.text


@pytest.mark.parametrize("part", ["preface", "frame", "continuation"])
def test_headers_that_trickle_over_http2(server: Victim, slow: Slow, part: str) -> None:
    """A head that never ends is not waited for."""
    assert slow.is_given_up(part)


@pytest.mark.parametrize(("name", "status"), [("rest_body", 408), ("message", 4)])
def test_a_body_that_trickles(server: Victim, slow: Slow, name: str, status: int) -> None:
    answer = slow(name)
    assert answer is not None
    assert status == (answer.status if name == "rest_body" else answer.grpc_status)
    assert f"{REQUEST_SECONDS} s " in answer.text
    assert "server.request_seconds" in answer.text


def test_a_crowd_that_trickles(server: Victim) -> None:
    """Hundreds of heads and bodies, of which a byte comes now and then; others do not wait."""
    assert any(_is_quick_beside_a_crowd(server) for _ in range(ATTEMPTS))


def _is_quick_beside_a_crowd(server: Victim) -> bool:
    heads, bodies = rest_head("X: " + "x" * 1000), rest_head("Content-Length: 1000")
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(CROWD):
            client = stack.enter_context(connected(server.http_port))
            client.sendall(heads[:30] if number % 2 else bodies)
            clients.append(client)
        quick = False
        ends = time.monotonic() + 30
        while clients and time.monotonic() < ends:
            clients = [client for client in clients if _takes_a_byte(client)]
            quick = quick or (bool(clients) and server.is_quick())
            time.sleep(0.1)
        assert not clients
    return quick


def _takes_a_byte(client: socket.socket) -> bool:
    """Sends one; gives whether the server has said nothing yet."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            client.send(b"x")
            client.recv(1)
        except ConnectionError:
            return False
        return False
    return True


@pytest.mark.parametrize("name", ["no_rest_body", "no_message"])
def test_a_body_that_never_comes(server: Victim, slow: Slow, name: str) -> None:
    answer = slow(name)
    assert answer is not None
    assert "(setting server." in answer.text


def test_a_stream_of_requests_that_stops(server: Victim, slow: Slow) -> None:
    """A stream may last as long as it wants, but not say nothing for ever."""
    answer = slow("stream")
    assert answer is not None
    # Either it is told why, or it is cut off.
    assert answer.reset is not None or "server.stream_idle_seconds" in answer.text


def test_answers_that_nobody_reads(server: Victim) -> None:
    """Their making stops; nobody else notices; and after a while they are given up."""
    assert any(_is_quick_beside_unread_answers(server) for _ in range(ATTEMPTS))


def _is_quick_beside_unread_answers(server: Victim) -> bool:
    size = 100_000
    count = STREAMED // size
    streams = 3 * len(MODELS)
    with contextlib.ExitStack() as stack:
        for name in MODELS:
            body = b'{"inputs": "x", "parameters": {"size": %d, "count": %d}, "model_id": "%b"}'
            body %= size, count, name.encode()
            head = rest_head(f"Content-Length: {len(body)}").replace(b"talk", _MANY)
            client = stack.enter_context(connected(server.http_port, receive_buffer=4096))
            client.sendall(head + body)
            fields = request("many", text="x", size=size, count=count).SerializeToString()
            for path, headers, content in (
                (MANY, [*GRPC[:2], ("mm-model-id", name)], frame(fields)),
                (MANY_ROUTE, JSON, body),
            ):
                # The protocol would allow all of it; only the socket is not read.
                other = server.http2(window=2**30, receive_buffer=4096)
                stack.enter_context(other)
                other.connection.increment_flow_control_window(2**30)
                other.open(path, headers, body=content)
        most, until = 0, time.monotonic() + IDLE_SECONDS
        quick = False
        while time.monotonic() < until:
            most = max(most, server.memory())
            # Where it took long to ask for all of them, the first are given up by now.
            quick = quick or (server.in_flight() >= streams and server.is_quick())
        assert most < server.before + MUCH
        wait_for(lambda: server.in_flight() == 0, what="the streams to be given up")
    return quick


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_large_answers_that_nobody_takes(server: Victim, protocol: str) -> None:
    """They are kept up to a limit, and for a time."""
    size = 4_000_000
    if protocol == "grpc":
        path, headers = ONE, GRPC
        body = frame(request("one", text="x", size=size).SerializeToString())
    else:
        path, headers = ONE_ROUTE, JSON
        given = {"inputs": "x", "parameters": {"size": size}, "model_id": "plain"}
        body = json.dumps(given).encode()
    with server.http2(window=0) as client:
        streams = []
        for _ in range(80):
            streams.append(client.open(path, headers, body=body))
            client.read(0.01)
            # Not all at once: what models have just made is bounded by how many run.
            wait_for(lambda: server.in_flight() < UNSENT // size + 3, what="it to be kept or not")
        assert server.memory() < server.before + MUCH
        assert server.pace(3) > 0
        told = [client.answers[one] for one in streams if one in client.ended]
        if protocol == "grpc":  # a refusal without a body needs no window
            refused = [one for one in told if "server.max_unsent_size" in one.text]
            assert len(refused) > UNSENT // size
            assert {one.grpc_status for one in refused} == {8}
        wait_for(lambda: server.in_flight() == 0, what="the others to be given up")


SHAPES = ("grpc", "rest", "grpc stream", "rest stream", "rest single")


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_that_an_engine_takes_and_nobody_else(server: Victim, shape: str) -> None:
    """An engine keeps so much of an answer; of all answers it keeps no more than may be unsent."""
    size, count = 300_000, 400
    path, headers, body = _asking(shape, size)
    with server.http2(window=0) as client:
        streams = []
        for _ in range(count):
            streams.append(client.open(path, headers, body=body))
            client.read(0.01)
        while client.read(0.5):
            pass
        most = 0
        for _ in range(5):
            most = max(most, server.memory())
            server.pace(3)
        assert most < server.before + MUCH
        told = [client.answers[one] for one in streams if one in client.ended]
        refused = [one for one in told if "server.max_unsent_size" in one.text]
        if shape == "grpc":  # a refusal without a body needs no window
            assert refused
            assert {one.grpc_status for one in refused} == {8}
        # A client that takes its answers gets them, as soon as there is room.
        client.socket.close()
    wait_for(lambda: _is_taken(server, path, headers, body), what="room for answers")


def _asking(shape: str, size: int) -> tuple[str, list[tuple[str, str]], bytes]:
    """The request for an answer of so many bytes: its path, its headers, its body."""
    rest_fields = {"size": size} if shape == "rest" else {"size": size // 10, "count": 10}
    given = {"inputs": "x", "parameters": rest_fields, "model_id": "plain"}
    match shape:
        case "grpc":
            return ONE, GRPC, frame(request("one", text="x", size=size).SerializeToString())
        case "grpc stream":
            fields = request("many", text="x", size=size // 10, count=10)
            return MANY, GRPC, frame(fields.SerializeToString())
        case "rest single":
            text = {"inputs": "x" * 100_000, "model_id": "plain"}
            lines = json.dumps(text).encode() + b"\n"
            headers = [("content-type", "application/x-ndjson")]
            path = ONE_ROUTE.replace("talk", "client-streaming-talk")
            return path, headers, lines * (size // 100_000)
        case _:
            path = ONE_ROUTE if shape == "rest" else MANY_ROUTE
            return path, JSON, json.dumps(given).encode()


def _is_refused(answer: Answer) -> bool:
    return "server.max_unsent_size" in answer.text


def _is_taken(server: Victim, path: str, headers: list[tuple[str, str]], body: bytes) -> bool:
    with server.http2() as client:
        answer = client.call(path, headers, body)
    assert answer.status in (200, 429), answer.text
    is_whole = len(answer.body) > 250_000
    assert is_whole or _is_refused(answer)
    return is_whole


def test_answers_that_are_taken_leave_room_for_others(server: Victim) -> None:
    """Many times what may be unsent goes through, one after the other and some at a time."""
    message = frame(request("one", text="x", size=900_000).SerializeToString())
    with server.http2(window=1 << 24) as client:
        client.connection.increment_flow_control_window(1 << 24)
        client.flush()
        for _ in range(5 * UNSENT // (4 * 900_000)):
            streams = [client.open(ONE, GRPC, body=message) for _ in range(4)]
            answers = [client.answer(stream) for stream in streams]
            assert [answer.grpc_status for answer in answers] == [0] * 4, answers[0].text
            client.answers.clear()


def test_answers_that_nobody_takes_before_leaving(server: Victim) -> None:
    """Large ones, over and over: what waits for a client goes when the client goes."""
    message = frame(request("one", text="x", size=4_000_000).SerializeToString())
    other = frame(request("one", text="x", size=300_000).SerializeToString())
    for _ in range(4):
        with server.http2(window=0) as client:
            for _ in range(15):
                client.open(ONE, GRPC, body=message)
            # As many wait as there is room for: the others are refused.
            answers = client.answers
            assert client.wait(lambda answers=answers: any(map(_is_refused, answers.values())))
        wait_for(lambda: _is_taken(server, ONE, GRPC, other), what="room for others")


def test_a_client_without_a_window(server: Victim) -> None:
    """It asks again and again, and lets nothing be sent."""
    with server.http2(window=0) as client:
        fields = request("many", text="x", size=10_000, count=5000).SerializeToString()
        client.open(MANY, GRPC, body=frame(fields))
        wait_for(lambda: server.in_flight() > 0, what="the streams to run")
        for _ in range(29):
            client.open(MANY, GRPC, body=frame(fields))
        server.pace(3)
        assert server.memory() < server.before + MUCH
    wait_for(lambda: server.in_flight() == 0, what="the streams to end with their connection")


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process have as many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * IDLE_CONNECTIONS
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"at most {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_two_thousand_idle_connections(server: Victim) -> None:
    """Half speak HTTP/1, half HTTP/2; some have asked something before, some are mute."""
    preface = PREFACE + http2_frame(4)
    asked = rest_head("Content-Length: 60") + rest_body(60)
    firsts = (b"", asked, preface, preface + http2_frame(6, bytes(8)))
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(IDLE_CONNECTIONS):
            port = server.http_port if number % 2 else server.grpc_port
            client = stack.enter_context(connected(port))
            client.sendall(firsts[number % 4])
            clients.append(client)
        wait_for(lambda: server.in_flight() == 0, what="what they asked to be answered")
        wait_for(server.is_quick, what="healthy calls to be as before beside them")
        memory = server.memory()
        answered = sum(b"200 OK" in client.recv(4096) for client in clients[1::4])
        assert answered == IDLE_CONNECTIONS // 4
        # Some of them end at once without a word.
        for client in clients[::3]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    assert memory < server.before + MUCH
