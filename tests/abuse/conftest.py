"""Servers with small limits on both engines, and what must hold after whatever a client did."""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.abuse.wire import Answer, Http1, Http2
from tests.server.shapes import KINDS, SERVICE, WORD, ShapesServer, model, request
from tests.waiting import wait_for

T = TypeVar("T")

ENGINES = ("envoy", "hypercorn")
MESSAGE = 128 * 1024
DECOMPRESSED = 256 * 1024
HEADERS = 16 * 1024
UNSENT = 32 << 20
HEADER_COUNT = 60
HEADER_SECONDS = 1
REQUEST_SECONDS = 2
IDLE_SECONDS = 3
LIMITS = {
    "SERVER_MAX_MESSAGE_SIZE": str(MESSAGE),
    "SERVER_MAX_DECOMPRESSED_SIZE": str(DECOMPRESSED),
    "SERVER_MAX_UNSENT_SIZE": str(UNSENT),
    "SERVER_MAX_HEADER_SIZE": str(HEADERS),
    "SERVER_MAX_HEADERS": str(HEADER_COUNT),
    "SERVER_HEADER_SECONDS": str(HEADER_SECONDS),
    "SERVER_REQUEST_SECONDS": str(REQUEST_SECONDS),
    "SERVER_STREAM_IDLE_SECONDS": str(IDLE_SECONDS),
    "LOG_LEVEL": "error",
}
MUCH = 100 << 20
"""How many bytes more than before may be held in an abuse."""
_KEPT = 64 << 20
"""How many more than before may be held after it: allocators keep half of that."""
_TOO_MUCH = 200 << 20
"""How many more than at the start may be held after all of them."""
_CALLS = 200
"""How many calls of a healthy client are looked at."""
_SLOWER, _LATER = 4, 0.02
"""How many times slower, or by how many seconds later, its calls may be answered than before. Not
at once, but soon: the machine is busy with other things as well."""
_SLOWEST = 10.0
"""Seconds for one call of a healthy client in an abuse; large bodies have taken half a minute."""
_MORE_FILES = 5
"""How many files more may be open than before: those of who asks, and of what is being closed."""
_MOST_THREADS = 450
"""More than all pools of threads together may hold, and less than one for each of many clients."""

GRPC = [("content-type", "application/grpc"), ("te", "trailers"), ("mm-model-id", "plain")]
JSON = [("content-type", "application/json")]
ONE, ONE_ROUTE = f"/{SERVICE}/{KINDS['one']}", "/api/v1/task/talk"
MANY, MANY_ROUTE = f"/{SERVICE}/{KINDS['many']}", "/api/v1/task/server-streaming-talk"


class Victim(ShapesServer):
    """A server that is abused."""

    baseline: int = 0
    """The bytes that it held when it had answered its first calls."""
    before: int = 0
    """The bytes that it held before the present abuse."""
    normal: "State | None" = None
    """How it was before the present abuse."""
    read: int = 0
    """How much of its log was looked at."""

    def memory(self) -> int:
        return self.metric("process_resident_memory_bytes")

    def http1(self) -> Http1:
        return Http1(self.http_port)

    def http2(self, *, window: int = 1 << 20, receive_buffer: int | None = None) -> Http2:
        return Http2(self.grpc_port, window=window, receive_buffer=receive_buffer)

    def grpc_call(self, message: bytes, *headers: tuple[str, str], path: str = ONE) -> Answer:
        """One gRPC call of bytes as they are."""
        with self.http2() as client:
            return client.call(path, [*GRPC, *headers], message)

    def rest_call(self, body: bytes, *lines: str) -> Answer | None:
        """One REST call over HTTP/1, with the headers as they are."""
        with self.http1() as client:
            client.send(rest_head(*lines) + body)
            return client.answer()

    def pace(self, calls: int = 11) -> float:
        """How long a healthy client's calls take, in the middle."""
        return statistics.median(self.paces(calls))

    def paces(self, calls: int) -> list[float]:
        """How long a healthy client's calls take, one after the other."""
        seconds = []
        with self.channel() as channel:
            method = self.method(channel, "one")
            for number in range(calls):
                started = time.perf_counter()
                word = method(request("one", text=str(number)), metadata=model("plain"), timeout=60)
                seconds.append(time.perf_counter() - started)
                assert word.text == str(number)
        return seconds

    def state(self) -> "State":
        """How it is."""
        seconds = sorted(self.paces(_CALLS))
        return State(
            middle=seconds[_CALLS // 2],
            slow=seconds[_CALLS * 99 // 100],
            memory=self.memory(),
            files=self.metric("process_open_fds"),
        )

    def is_quick(self) -> bool:
        """Whether a healthy client is answered as before the present abuse."""
        assert self.normal is not None
        return is_quick(self.state(), self.normal)

    def threads(self) -> int:
        """The threads of all its processes."""
        assert self.process is not None
        return _threads(self.process.pid)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """How a server is, for a client that does nothing wrong."""

    middle: float
    """Seconds of a call in the middle."""
    slow: float
    """Seconds that only one call of a hundred takes longer than."""
    memory: int
    """The bytes that the serving process holds."""
    files: int
    """The files and connections that it has open."""


def _threads(process: int) -> int:
    """The threads of a process and of those that it has started."""
    tasks = list(Path(f"/proc/{process}/task").iterdir())
    found = len(tasks)
    for task in tasks:
        with contextlib.suppress(OSError):  # it has just ended
            found += sum(_threads(int(child)) for child in (task / "children").read_text().split())
    return found


def rest_head(*lines: str) -> bytes:
    """The head of a REST request."""
    fixed = [f"POST {ONE_ROUTE} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode("latin-1")


def rest_body(size: int) -> bytes:
    """A REST body of so many bytes."""
    body = b'{"inputs": "%b", "model_id": "plain"}'
    return body % (b"x" * (size - len(body) + 2))


def grpc_message(size: int) -> bytes:
    """A request message of so many bytes."""
    text = "x" * (size - len(request("one", text="x" * 20_000).SerializeToString()) + 20_000)
    message: bytes = request("one", text=text).SerializeToString()
    assert len(message) == size
    return message


def word(answer: Answer) -> str:
    """What a call of `one` was answered."""
    assert answer.headers.get("grpc-status") == "0", answer.text
    return str(WORD.FromString(answer.body[5:]).text)


def all_at_once(work: Callable[[T], str], cases: Sequence[T]) -> None:
    """Plays cases beside each other; fails with what is wrong with any."""
    with ThreadPoolExecutor(12) as pool:
        found = zip(cases, pool.map(work, cases), strict=True)
        told = [f"{case!r}: {text}" for case, text in found if text]
    assert not told, "\n".join(told)


@contextlib.contextmanager
def others(server: Victim) -> Iterator[None]:
    """Another client that calls all the time, and is answered."""
    ended = threading.Event()
    longest: list[float] = []

    def call() -> None:
        while not ended.is_set():
            started = time.perf_counter()
            server.pace(1)
            longest.append(time.perf_counter() - started)

    client = threading.Thread(target=call)
    client.start()
    try:
        yield
    finally:
        ended.set()
        client.join(60)
    assert max(longest) < _SLOWEST


def start(folder: Path, engine: str, **environment: str) -> Victim:
    """A running server."""
    made = Victim.make(folder, SERVER_ENGINE=engine, **environment)
    assert isinstance(made, Victim)
    made.start()
    made.pace()
    made.baseline = made.memory()
    return made


def is_unharmed(
    server: Victim, before: State, *, kept: int = _KEPT, too_much: int = _TOO_MUCH
) -> None:
    """Fails unless the server is as it was before.

    Args:
        server: The server.
        before: What it was like.
        kept: How many bytes more than before it may hold.
        too_much: How many more than at its start.
    """
    assert server.http("GET", "/health").status == 200
    body = {"inputs": "still there", "model_id": "plain"}
    assert server.http("POST", ONE_ROUTE, body).json["text"] == "still there"
    wait_for(lambda: server.in_flight() == 0, what="all calls to end")
    wait_for(lambda: server.metric("probes_in_flight") == 0, what="all watches to end")
    wait_for(lambda: is_quick(server.state(), before), what="healthy calls to be as before")
    most = before.files + _MORE_FILES
    wait_for(lambda: server.metric("process_open_fds") <= most, what="all connections to end")
    most_memory = min(before.memory + kept, server.baseline + too_much)
    wait_for(lambda: server.memory() < most_memory, seconds=60, what="the memory to be given back")
    assert server.threads() < _MOST_THREADS
    log = server.log[server.read :]
    server.read += len(log)
    assert "Traceback" not in log, log[-5000:]


def is_quick(now: State, before: State) -> bool:
    """Whether calls are answered as quickly as before: those in the middle and the slow ones."""
    pairs = (now.middle, before.middle), (now.slow, before.slow)
    return all(one <= max(_SLOWER * other, other + _LATER) for one, other in pairs)


@pytest.fixture(
    scope="session",
    params=ENGINES,
)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """A server with small limits, on each engine."""
    made = start(tmp_path_factory.mktemp(request.param), request.param, **LIMITS)
    yield made
    assert made.stop() == 0, made.log


@pytest.fixture
def server(running: Victim) -> Iterator[Victim]:
    """The same; it must be unharmed after the test."""
    before = running.state()
    running.before, running.normal = before.memory, before
    yield running
    is_unharmed(running, before)


@pytest.fixture
def engine(server: Victim) -> str:
    return server.environment["SERVER_ENGINE"]
