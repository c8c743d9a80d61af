"""On two processors Envoy's thread and the threads of quick calls keep to one each."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="threads are pinned on Linux only"),
]

MakeServer = Callable[..., Server]


@pytest.fixture
def two() -> Iterator[list[int]]:
    """Two processors, which are all that a server started meanwhile may use."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("this machine has one processor")
    chosen = sorted(before)[:2]
    os.sched_setaffinity(0, chosen)
    yield chosen
    os.sched_setaffinity(0, before)


def calls(server: Server, count: int) -> None:
    body = json.dumps({"model_id": "example", "inputs": {"name": "World"}})
    connection = HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    for _ in range(count):
        connection.request(
            "POST", "/api/v1/task/hello-world", body, {"content-type": "application/json"}
        )
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"greeting":"Hello World"}')
    connection.close()


def places(server: Server) -> dict[str, list[set[int]]]:
    """The processors of each thread of Envoy's process, by the kind of thread."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    found: dict[str, list[set[int]]] = {"worker": [], "other": []}
    for child in children.read_text().split():
        if "envoy" not in Path("/proc", child, "comm").read_text():
            continue
        for thread in Path("/proc", child, "task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                is_worker = (thread / "comm").read_text().startswith("wrk:worker_")
                kind = "worker" if is_worker else "other"
                found[kind].append(os.sched_getaffinity(int(thread.name)))
    return found


def test_envoy_and_who_takes_its_requests_have_a_processor_each(
    make_server: MakeServer, two: list[int]
) -> None:
    server = make_server().start()
    calls(server, 10)
    found = places(server)
    assert found["worker"] == [{two[0]}]
    # pyvoy's thread; the model's is not known to be quick.
    assert found["other"].count({two[1]}) == 1
    assert found["other"].count(set(two)) == len(found["other"]) - 1


def test_it_can_be_turned_off(make_server: MakeServer, two: list[int]) -> None:
    server = make_server(SERVER_PIN_THREADS="false").start()
    calls(server, 10)
    found = places(server)
    assert [item for items in found.values() for item in items if item != set(two)] == []
    assert found["worker"]


def test_hypercorn_has_no_such_threads(make_server: MakeServer, two: list[int]) -> None:
    server = make_server(SERVER_ENGINE="hypercorn").start()
    calls(server, 3000)  # after a third of them a model's thread would have settled
    assert server.process is not None
    found = set()
    for thread in Path("/proc", str(server.process.pid), "task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            found.add(frozenset(os.sched_getaffinity(int(thread.name))))
    assert found == {frozenset(two)}
