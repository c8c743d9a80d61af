"""Limits are kept on either engine, and a refusal says which one it was and where it is set."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import grpc
import h2.config
import h2.connection
import pytest

from tests.waiting import wait_for

from .conftest import Start
from .small_server import SmallServer, accepts, call, everything, get, raw, refusal

LIMITS = {
    "max_header_bytes": 8192,
    "max_headers": 50,
    "header_seconds": 0.3,
    "stream_seconds": 0.7,
    "max_connections": 30,
}
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"
TOO_LARGE = (
    "the request's headers take more than 8192 bytes together (setting server.max_header_size)"
)
TOO_MANY = "the request has more than 50 headers (setting server.max_headers)"


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    running = SmallServer(tmp_path_factory.mktemp(engine), engine, limits=LIMITS)
    running.ready()
    yield running
    status = running.stop()
    running.close()
    assert status == 0, running.outputs


@pytest.fixture
def port(server: SmallServer) -> int:
    return int(server.ready()["ports"][0])


@pytest.mark.parametrize(
    ("headers", "details"),
    [
        (b"a: " + b"x" * 20_000 + b"\r\n", TOO_LARGE),
        (b"a: " + b"x" * 300_000 + b"\r\n", TOO_LARGE),
        (b"".join(b"a%d: x\r\n" % number for number in range(110)), TOO_MANY),
    ],
)
def test_headers_past_a_limit_are_refused(port: int, headers: bytes, details: str) -> None:
    status, answer = refusal(raw(port, HEAD + headers + b"\r\n"))
    assert answer.pop("id")
    assert (status, answer) == (431, {"details": details, "code": 431})


@pytest.mark.parametrize(
    ("size", "count", "details"),
    [(9000, 1, TOO_LARGE), (1, 60, TOO_MANY)],
)
def test_metadata_past_a_limit_is_refused(
    port: int, engine: str, size: int, count: int, details: str
) -> None:
    if engine == "envoy":
        # It leaves what is less than twice too much to the application.
        size, count = 2 * size, 2 * count
    metadata = tuple((f"a{number}", "x" * size) for number in range(count))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/", bytes, bytes)
        with pytest.raises(grpc.RpcError) as failure:
            method(b"", metadata=metadata, timeout=60)
        if engine == "hypercorn":
            # Envoy resets the stream and has no setting to say why: the application does before.
            assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert failure.value.details() == details
        assert method(b"", metadata=(("a", "x" * 4000),), timeout=60) == b"hello 2"


def test_headers_that_trickle_are_not_waited_for(port: int) -> None:
    client = raw(port, HEAD)
    with contextlib.suppress(OSError):
        for _ in range(40):
            client.sendall(b"a")
            time.sleep(0.01)
    status, answer = refusal(client)
    assert status == 408
    text = "the request's headers took more than 0.3 s to come (setting server.header_seconds)"
    assert answer["details"] == text


def test_a_connection_may_rest_for_longer_than_headers_may_take(port: int) -> None:
    with raw(port, b"") as client:
        for _ in range(2):
            time.sleep(0.5)
            client.sendall(HEAD + b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


IDLE = "nothing was sent or received for 0.7 s (setting server.stream_idle_seconds)"


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc", 408),
        (b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n", 504),
    ],
)
def test_a_request_that_stands_still_is_ended(port: int, start: bytes, status: int) -> None:
    found, answer = refusal(raw(port, start))
    assert (found, answer["details"]) == (status, IDLE)


def test_a_call_that_stands_still_is_ended(port: int) -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as failure,
    ):
        call(channel, "/endless")
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert failure.value.details() == IDLE


def test_an_answer_that_nobody_reads_is_ended(port: int) -> None:
    with raw(port, b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n") as client:
        client.recv(100)
        wait_for(lambda: "/flood" in json.loads(get(port, "/tell"))["left"])
        with contextlib.suppress(ConnectionResetError):
            everything(client)


def test_connections_past_the_limit_are_closed(port: int) -> None:
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(raw(port, b"")) for _ in range(40)]
        for client in open_ones:
            client.setblocking(False)

        def closed() -> int:
            return sum(map(is_closed, open_ones))

        wait_for(lambda: closed() >= 10)
        # Those of the test before may have counted when the first of these came.
        assert closed() <= 12
    wait_for(lambda: get_or_nothing(port) == b"hello 1.1")


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def get_or_nothing(port: int) -> bytes:
    with contextlib.suppress(OSError):
        return get(port)
    return b""


class Http2Client:
    """A client that does as little as it is told."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        settings = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(settings)
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def request(self, path: str, *, end_stream: bool = True) -> int:
        number = self.connection.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]
        self.connection.send_headers(number, pseudo, end_stream=end_stream)
        return number

    def read_to_the_end(self) -> bytes:
        """What comes until the connection is closed; nothing of it is answered."""
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                parts.append(data)
        return b"".join(parts)


def test_a_client_that_takes_back_most_of_its_requests_is_turned_away(port: int) -> None:
    """https://nvd.nist.gov/vuln/detail/CVE-2023-44487"""
    client = Http2Client(port)
    with client.socket:
        with contextlib.suppress(OSError):
            for _ in range(1200):
                client.connection.reset_stream(client.request("/endless"))
                client.flush()
        client.read_to_the_end()
    assert get(port) == b"hello 1.1"


def test_a_client_that_sends_nothing_again_and_again_is_turned_away(port: int) -> None:
    client = Http2Client(port)
    with client.socket:
        number = client.request("/count", end_stream=False)
        with contextlib.suppress(OSError):
            for _ in range(300):
                client.connection.send_data(number, b"")
                client.flush()
        client.read_to_the_end()
    assert get(port) == b"hello 1.1"


@pytest.mark.slow
# hypercorn leaves it to the kernel's probes, which a living machine answers.
@pytest.mark.parametrize("engine", ["envoy"], indirect=True)
def test_a_client_that_vanished_is_noticed(start: Start) -> None:
    """By a server that asks soon: the others must not lose patience with a client that is slow."""
    server = start(limits={"ping_seconds": 0.3, "ping_timeout_seconds": 0.3})
    port = server.ready()["ports"][0]
    client = Http2Client(port)
    with client.socket:
        # It sends no more, not even the answer to a ping.
        assert client.read_to_the_end()
    assert accepts(port)
    assert server.stop() == 0, server.outputs
