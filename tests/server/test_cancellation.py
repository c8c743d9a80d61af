"""Whoever goes away, or runs out of time, is worked for no longer; nothing stays behind."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

import grpc
import pytest

from tests.abuse.conftest import Victim, is_unharmed, start
from tests.abuse.wire import Http1
from tests.server.shapes import MODELS, ShapesServer, model, request, requests
from tests.server.shapes_http import PROTOCOLS, STREAMS, http_request
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """A server that runs two calls at a time, on each engine."""
    folder = tmp_path_factory.mktemp("shapes")
    made = start(folder, request.param, RUNTIME_SERVER_THREAD_POOL_SIZE="2")
    yield made
    assert made.stop() == 0, made.log


@pytest.fixture(autouse=True)
def unharmed(server: Victim) -> Iterator[None]:
    """Other clients are answered as before, and nothing is kept."""
    before = server.state()
    yield
    is_unharmed(server, before)


@pytest.fixture
def channel(server: ShapesServer) -> Iterator[grpc.Channel]:
    with server.channel() as found:
        yield found
    wait_for(lambda: server.in_flight() == 0, what="all calls to end")


TIMES = (0.3, 1, 5, 20)
"""Seconds that a call has, one after the other: until one has begun before its time was up, which
takes a busy machine longer. A call that has not is never run."""


def noted(server: ShapesServer, event: str) -> int:
    return server.journal().get(event, 0)


def status_of(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    error: Any = caught.value
    name: str = error.code().name
    return name


def test_a_call_that_waits_is_dropped_unrun(server: ShapesServer, channel: grpc.Channel) -> None:
    """By its deadline and by its client: of three calls for two threads the third never starts."""
    one = server.method(channel, "one")
    before = noted(server, "one started")
    busy = request("one", text=f"busy {time.monotonic_ns()}", pause=1000)
    running = [one.future(busy, metadata=model("plain")) for _ in range(2)]
    said = f"one says {busy.text}"
    wait_for(lambda: server.log.count(said) == 2, what="the first two to run")
    gone = one.future(request("one", text="gone"), metadata=model("plain"))
    wait_for(lambda: server.in_flight() == 3, what="the third to wait")
    late = one.future(request("one", text="late"), metadata=model("plain"), timeout=0.2)
    assert status_of(late) == "DEADLINE_EXCEEDED"
    # The server drops it a little later than its client does.
    wait_for(lambda: server.in_flight() == 3, what="the late one to be dropped")
    gone.cancel()
    wait_for(lambda: server.in_flight() == 2, what="the third to be dropped")
    assert not any(call.done() for call in running)
    for call in running:
        call.cancel()
    assert one(request("one", text="after"), metadata=model("plain")).text == "after"
    assert noted(server, "one started") == before + 3
    assert "one says late" not in server.log
    assert "one says gone" not in server.log


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_running_call_learns_that_it_is_over(
    server: ShapesServer, channel: grpc.Channel, how: str
) -> None:
    before = server.journal()
    seen = partial(have_all_ended, server, before, "one started", "one saw the cancellation")
    for seconds in TIMES:
        call = server.method(channel, "one").future(
            request("one", text="long", pause=1000),
            metadata=model("plain"),
            timeout=seconds if how == "deadline" else None,
        )
        if how == "cancel":
            wait_for(lambda: has_grown(server, before, "one started"), what="the call to run")
            call.cancel()
        else:
            assert status_of(call) == "DEADLINE_EXCEEDED"
        if has_grown(server, before, "one started"):
            break
    wait_for(seen, what="the module to see it")


def test_an_asynchronous_method_is_cancelled(server: ShapesServer, channel: grpc.Channel) -> None:
    before = server.journal()
    seen = partial(have_all_ended, server, before, "async one started", "async one was cancelled")
    for seconds in TIMES:
        call = server.method(channel, "one").future(
            request("one", text="long", pause=1000),
            metadata=model("asynchronous"),
            timeout=seconds,
        )
        assert status_of(call) == "DEADLINE_EXCEEDED"
        if has_grown(server, before, "async one started"):
            break
    wait_for(seen, what="the method")


def has_grown(server: ShapesServer, before: dict[str, int], event: str) -> bool:
    """Whether something was noted once more since then."""
    return noted(server, event) > before.get(event, 0)


def have_all_ended(server: ShapesServer, before: dict[str, int], started: str, ended: str) -> bool:
    """Whether there are calls that have begun since then, and each of them has ended so."""
    now = server.journal()
    began, over = (now.get(event, 0) - before.get(event, 0) for event in (started, ended))
    return 0 < began == over


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_stream_of_results_is_closed(
    server: ShapesServer, channel: grpc.Channel, name: str, taken: int
) -> None:
    event = "many closed" if name == "plain" else "async many closed"
    journal = server.journal()
    before = journal.get(event, 0)
    call = server.method(channel, "many")(
        request("many", text="w", count=10_000, pause=0.02), metadata=model(name)
    )
    for _ in range(taken):
        next(call)
    if not taken:
        started = event.replace("closed", "started")
        wait_for(lambda: has_grown(server, journal, started), what="the generator to run")
    call.cancel()
    wait_for(lambda: noted(server, event) == before + 1, what="the generator to be closed")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_stream_that_waits_for_requests_is_closed(
    server: ShapesServer, channel: grpc.Channel, name: str, how: str
) -> None:
    event = "answer" if name == "plain" else "async answer"
    before = server.journal()
    closed = partial(have_all_ended, server, before, f"{event} started", f"{event} closed")
    ended = Event()
    try:
        for seconds in TIMES:
            call = server.method(channel, "answer")(
                asked(ended), metadata=model(name), timeout=seconds if how == "deadline" else None
            )
            words = read(call, leave=how == "cancel")
            assert call.code().name == ("CANCELLED" if how == "cancel" else "DEADLINE_EXCEEDED")
            if words:
                break
        assert words == ["FIRST"]
        wait_for(closed, what="the method to end")
    finally:
        ended.set()


def read(call: Any, *, leave: bool) -> list[str]:
    """What a call answers until it fails; perhaps it is given up after the first of it."""
    words = []
    with contextlib.suppress(grpc.RpcError):
        for word in call:
            words.append(word.text)
            if leave:
                call.cancel()
    return words


def asked(ended: Event) -> Iterator[Any]:
    """One request, and then none, as from a client that thinks, until it is let go."""
    yield from requests("answer", "first")
    ended.wait()


def test_a_client_that_does_not_read_costs_little(
    server: ShapesServer, channel: grpc.Channel
) -> None:
    """A gigabyte of results is not made for somebody who takes none of them."""
    event = "many closed"
    before = noted(server, event)
    call = server.method(channel, "many")(
        request("many", text="w", count=1000, size=1_000_000), metadata=model("plain")
    )
    next(call)
    memory = server.metric("process_resident_memory_bytes")
    others = server.method(channel, "one")
    for _ in range(20):
        assert others(request("one", text="x"), metadata=model("plain"), timeout=60).text == "x"
    assert server.metric("process_resident_memory_bytes") - memory < 100_000_000
    call.cancel()
    wait_for(lambda: noted(server, event) == before + 1, what="the generator to be closed")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("protocol", STREAMS)
def test_a_client_that_leaves_its_stream_over_http(
    server: ShapesServer, protocol: str, name: str
) -> None:
    event = f"{STREAMS[protocol]} closed"
    event = event if name == "plain" else f"async {event}"
    before = noted(server, event)
    with Http1(server.http_port) as client:
        client.send(http_request(protocol, name, count=100_000))
        assert client.socket.recv(100)
        assert server.in_flight() == 1
    wait_for(lambda: noted(server, event) == before + 1, what="the generator to be closed")
    wait_for(lambda: server.in_flight() == 0, what="the call to end")


def test_random_cancels_leave_nothing_behind(server: ShapesServer) -> None:
    """Calls of all shapes over all protocols, each given up at a random moment."""
    chance = random.Random(4)  # noqa: S311 -- no secret
    count = CANCELS // 2

    def leave(number: int) -> None:
        with Http1(server.http_port) as client:
            client.send(http_request(chance.choice(PROTOCOLS), chance.choice(MODELS)))
            time.sleep(chance.random() * 0.03)

    with ThreadPoolExecutor(16) as pool:
        http = pool.map(leave, range(count))
        asyncio.run(abandon_all(server, chance, count))
        assert len(list(http)) == count
    wait_for(lambda: server.in_flight() == 0, what="all calls to end")
    for event in ("many", "answer", "async many", "async answer"):
        wait_for(partial(is_even, server, event), what=f"{event} to be closed")
    assert "Traceback" not in server.log


CANCELS = 1000 * int(os.environ.get("KITFOX_ABUSE", "1"))


def is_even(server: ShapesServer, event: str) -> bool:
    """Whether all that was started is closed."""
    counts = server.journal()
    return counts.get(f"{event} started", 0) == counts.get(f"{event} closed", 0)


async def abandon_all(server: ShapesServer, chance: random.Random, count: int) -> None:
    """Calls by a stock client."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(count // 50):
            await asyncio.gather(*(abandon(server, channel, chance) for _ in range(50)))


async def abandon(server: ShapesServer, channel: Any, chance: random.Random) -> None:
    shape = chance.choice(["one", "many", "gather", "answer"])
    name = chance.choice(MODELS)
    method = server.method(channel, shape)
    fields: dict[str, dict[str, Any]] = {
        "one": {"pause": 0.05},
        "many": {"count": 20, "pause": 0.005},
    }
    if shape in fields:
        call = method(request(shape, text="w", **fields[shape]), metadata=model(name))
    else:
        call = method(metadata=model(name))
        writing = asyncio.create_task(write(call, shape))
    await asyncio.sleep(chance.random() * 0.03)
    call.cancel()
    if shape not in fields:
        writing.cancel()
        await asyncio.wait([writing])


async def write(call: Any, shape: str) -> None:
    try:
        for text in ("a", "b", "c"):
            await call.write(request(shape, texts=text))
            await asyncio.sleep(0.005)
    except (asyncio.CancelledError, grpc.RpcError, asyncio.InvalidStateError):
        return
