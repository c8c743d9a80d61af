"""The port that Prometheus reads, and clients that want something else of it."""

import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from kitfox.server.metrics_port import MetricsServer
from tests.waiting import wait_for

CONNECTIONS = 3


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with running(seconds=30) as made:
        yield made


@contextlib.contextmanager
def running(*, seconds: float) -> Iterator[MetricsServer]:
    """A port on which a connection may last for so long."""
    registry = CollectorRegistry()
    Counter("foxes", "Seen", registry=registry).inc(7)
    made = MetricsServer(
        registry, address="127.0.0.1", port=0, connections=CONNECTIONS, seconds=seconds
    )
    try:
        yield made
    finally:
        made.shutdown()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", made.port), 30)


def read(server: MetricsServer, **headers: str) -> tuple[str, str]:
    """The type and the text of what is told."""
    url = f"http://127.0.0.1:{server.port}/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as found:
        return found.headers["content-type"], found.read().decode()


def test_it_tells_the_metrics(server: MetricsServer) -> None:
    kind, text = read(server)
    assert kind.startswith("text/plain")
    assert "foxes_total 7.0" in text
    kind, text = read(server, Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("verb", ["POST", "DELETE"])
def test_it_does_nothing_else(server: MetricsServer, verb: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/", method=verb)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as answer:
        assert (answer.code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\n" + b"x" * 100_000])
def test_who_does_not_ask_is_not_waited_for(sent: bytes) -> None:
    """However many they are, they take no threads, and others are answered when they are gone."""
    with running(seconds=0.5) as server:
        threads = threading.active_count()
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(5 * CONNECTIONS):
                client = socket.create_connection(("127.0.0.1", server.port), 30)
                clients.append(stack.enter_context(client))
                with contextlib.suppress(OSError):
                    client.sendall(sent)
            # A thread of the tests before may end meanwhile.
            assert threading.active_count() <= threads
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    assert client.recv(100) == b""
        wait_for(lambda: is_answered(server), what="an answer")


def is_answered(server: MetricsServer) -> bool:
    with contextlib.suppress(OSError):
        return "foxes_total" in read(server)[1]
    return False
