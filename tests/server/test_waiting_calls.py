"""Whoever waits for a thread and goes away, or runs out of time, is dropped and never run.

Over every protocol that is spoken over HTTP; `test_cancellation.py` has the same over gRPC.
"""

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from http.client import HTTPResponse

import grpc
import pytest

from tests.abuse.wire import Http1, Http2
from tests.server.shapes import ShapesServer, model, request
from tests.server.shapes_http import PROTOCOLS, STREAMS, http_parts, http_request
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PATIENCE = 60
LIMITS = {
    # Calls with a stream of results have threads of their own.
    "by shape": "RUNTIME_SERVER_THREAD_POOL_SIZE",
    "in all": "MODELS_EXECUTION_THREADS",
}
"""What says how many calls of a model run at a time: of each shape, or of all together."""


@pytest.fixture(
    scope="module",
    params=[(engine, limit) for engine in ("envoy", "hypercorn") for limit in LIMITS],
    ids=" ".join,
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShapesServer]:
    """A server that runs two calls of a model at a time."""
    engine, limit = request.param
    made = ShapesServer.make(
        tmp_path_factory.mktemp("shapes"), **{"SERVER_ENGINE": engine, LIMITS[limit]: "2"}
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log


class Busy:
    """Two calls are run, until `end`, for which a third one waits.

    Args:
        server: What runs them.
        channel: To it.
        shape: Of these calls.
    """

    def __init__(self, server: ShapesServer, channel: grpc.Channel, shape: str) -> None:
        self._server = server
        self._shape = shape
        self._before = server.journal()
        method = server.method(channel, shape)
        if shape == "one":
            work = request("one", text=f"busy {time.monotonic_ns()}", pause=1000)
            self._calls = [method.future(work, metadata=model("plain")) for _ in range(2)]
            said = f"one says {work.text}"
            wait_for(lambda: server.log.count(said) == 2, what="both to run", seconds=PATIENCE)
        else:
            work = request("many", text="busy", count=10_000, pause=0.1)
            self._calls = [method(work, metadata=model("plain")) for _ in range(2)]
            for call in self._calls:
                next(call)

    def end(self) -> None:
        for call in self._calls:
            call.cancel()
        wait_for(lambda: self._server.in_flight() == 0, what="both to end", seconds=PATIENCE)

    def let_another_wait(self) -> None:
        """Waits until the third call is there."""
        wait_for(lambda: self._server.in_flight() == 3, what="it to wait", seconds=PATIENCE)

    def drop_it_unrun(self) -> None:
        """Fails unless the third call is dropped while it waits, and is not run later."""
        wait_for(lambda: self._server.in_flight() == 2, what="it to be dropped", seconds=PATIENCE)
        self.end()
        # This call would be behind it, if it were still there.
        now = self._server.journal()
        ran = {name: count - self._before.get(name, 0) for name, count in now.items()}
        started = {name: count for name, count in ran.items() if count and "started" in name}
        assert started == {f"{self._shape} started": 2}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def busy(server: ShapesServer, protocol: str) -> Iterator[Busy]:
    """What a call over the protocol has to wait for."""
    shape = STREAMS.get(protocol, "one")
    if LIMITS["in all"] in server.environment:
        shape = "one"
    elif shape == "answer":
        pytest.skip("each call that reads a stream has a thread, or is refused")
    with server.channel() as channel:
        made = Busy(server, channel, shape)
        yield made
        made.end()


@pytest.mark.parametrize("deadline", ["grpc-timeout: 300m", "request-timeout: 0.3"])
def test_its_deadline_passes(
    server: ShapesServer, busy: Busy, protocol: str, deadline: str
) -> None:
    """Its client is told at once, while the others go on."""
    is_web = protocol.startswith("web")
    if is_web and "grpc" not in deadline:
        pytest.skip("gRPC-Web has gRPC's header")
    with Http1(server.http_port) as client:
        client.socket.settimeout(PATIENCE)
        client.send(http_request(protocol, "plain", more=(deadline,)))
        answer = HTTPResponse(client.socket)
        answer.begin()
        body = answer.read()
    if is_web:
        body = b64decode(body) if protocol == "web text" else body
        assert b"grpc-status: 4\r\n" in body
    else:
        assert answer.status == 504
        assert "deadline" in json.loads(body)["details"]
    busy.drop_it_unrun()


def test_its_client_closes_the_connection(server: ShapesServer, busy: Busy, protocol: str) -> None:
    with Http1(server.http_port) as client:
        client.send(http_request(protocol, "plain"))
        busy.let_another_wait()
    busy.drop_it_unrun()


def test_its_client_resets_the_stream(server: ShapesServer, busy: Busy, protocol: str) -> None:
    """Of a connection over HTTP/2, which goes on."""
    with Http2(server.http_port) as client:
        path, kind, body = http_parts(protocol, "plain")
        headers = [("content-type", kind), ("mm-model-id", "plain")]
        stream = client.open(path, headers, body=body, end=protocol != "lines")
        busy.let_another_wait()
        client.reset(stream)
        busy.drop_it_unrun()
        path, kind, body = http_parts("rest", "plain")
        assert client.call(path, [("content-type", kind)], body).status == 200
