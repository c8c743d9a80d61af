"""A model that is busy, stuck or given bad requests, as its callers and the operator see it."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # it has no types
from grpc_status import rpc_status  # type: ignore[import-untyped] # as above

from tests.cli.model_commands import run
from tests.conftest import Answer, Server
from tests.waiting import wait_for

PROJECT = Path(__file__).with_name("queues_project")
ROUTE = "/api/v1/task/say"
MANAGE = "/api/v1/management/models"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the library, for the tests of this file."""
    project = tmp_path_factory.mktemp("queues") / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    running = Server(project).start()
    yield running
    assert running.stop() == 0, running.log


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


def say(server: Server, model: str, text: str, request_id: str = "") -> Answer:
    headers = {"x-request-id": request_id} if request_id else {}
    return server.http("POST", ROUTE, {"model_id": model, "inputs": text}, headers)


def manage(server: Server, action: str) -> Answer:
    return server.http("POST", f"{MANAGE}/{action}", {"model_id": "mortal"})


def metrics(server: Server, model: str, *names: str) -> list[float]:
    """Several figures of one moment."""
    lines = server.metrics().splitlines()
    return [
        sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f'{name}{{model_id="{model}"')
        )
        for name in names
    ]


def metric(server: Server, name: str, model: str) -> float:
    return metrics(server, model, name)[0]


def wait_until_full(server: Server, model: str) -> None:
    """Waits until both threads of a model are busy and both places of its queue are taken."""
    kinds = ("model_calls_running", "model_calls_waiting")
    wait_for(lambda: metrics(server, model, *kinds) == [2, 2], what="the queue")


def test_a_stuck_model_stalls_nobody_else(
    server: Server, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    calls: list[Future[Answer]] = [
        pool.submit(say, server, "stuck", f"hold {gate}", f"req-{item}") for item in range(4)
    ]
    wait_until_full(server, "stuck")

    refused = say(server, "stuck", "more")
    assert refused.status == 429
    assert refused.headers["retry-after"]
    assert "2 calls of model 'stuck' wait" in refused.json["details"]
    assert "models.execution.queue_limit" in refused.json["details"]

    assert server.http("GET", "/health").status == 200
    quick = say(server, "quick", "hello")
    assert (quick.status, quick.json["text"]) == (200, "hello")

    wait_for(lambda: "<KFX20080W>" in server.log, what="the watchdog's line")
    lines = [json.loads(line) for line in server.log.splitlines() if "<KFX20080W>" in line]
    assert lines[0]["request_id"].startswith("req-")
    assert "model stuck" in lines[0]["message"]
    assert "in work" in lines[0]["message"]

    gate.touch()
    assert [item.result().status for item in calls] == [200] * 4
    assert metric(server, "model_queue_seconds_sum", "stuck") > 0


@pytest.mark.parametrize("model", ["stuck", "apart"])
def test_over_grpc_a_full_queue_is_resource_exhausted_and_says_when_to_come_back(
    server: Server, pool: ThreadPoolExecutor, tmp_path: Path, model: str
) -> None:
    """Of a model in threads, and of one in a process of its own."""
    gate = tmp_path / "go"
    calls = [pool.submit(say, server, model, f"hold {gate}") for _ in range(4)]
    wait_until_full(server, model)
    with server.channel() as channel:
        method: Any = channel.unary_unary("/caikit.runtime.Queues.QueuesService/SayTaskPredict")
        with pytest.raises(grpc.RpcError) as caught:
            method(b"\x0a\x01x", metadata=[("mm-model-id", model)], timeout=60)
    refused = say(server, model, "more")
    gate.touch()
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "models.execution.queue_limit" in error.details()
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(error).details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert [item.result().status for item in calls] == [200] * 4


def test_what_a_model_says_of_when_to_come_back_leaves_its_process(server: Server) -> None:
    assert say(server, "apart", "tire 7").headers["retry-after"] == "7"


def test_what_waits_is_answered_as_one_batch_each_by_its_own(
    server: Server, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    first = pool.submit(say, server, "batched", f"hold {gate}")
    wait_for(lambda: metric(server, "model_calls_running", "batched") == 1, what="the first call")
    others = [pool.submit(say, server, "batched", f"word {item:02}") for item in range(11)]
    bad = pool.submit(say, server, "batched", "refuse me")
    wait_for(lambda: metric(server, "model_calls_waiting", "batched") == 12, what="the queue")
    gate.touch()
    assert first.result().status == 200
    assert [item.result().json["text"] for item in others] == [f"word {i:02}" for i in range(11)]
    assert bad.result().status == 400
    assert "it will not say that" in bad.result().json["details"]
    assert max(item.result().json["batch"] for item in others) > 1
    assert metric(server, "model_batch_size_count", "batched") >= 2
    assert metric(server, "model_batch_size_sum", "batched") == 13


def test_a_held_event_loop_is_alive_and_not_well(
    server: Server, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    began = tmp_path / "begun"
    holds = pool.submit(say, server, "quick", f"hold {gate} {began}")
    wait_for(began.exists, what="the call that holds the event loop")
    health = pool.submit(server.http, "GET", "/health")
    try:
        assert [server.http("GET", path).status for path in ("/livez", "/livez?x=1")] == [200] * 2
        assert not health.done()
    finally:
        gate.touch()
    assert (holds.result().status, health.result().status) == (200, 200)


@pytest.mark.slow
def test_a_request_that_kills_is_refused_until_it_is_cleared(server: Server) -> None:
    for _ in range(2):
        wait_for(lambda: say(server, "mortal", "hello").status == 200, what="a replica")
        answer = say(server, "mortal", "die 3")
        assert (answer.status, "exited with status 3" in answer.json["details"]) == (503, True)
    # Without a replica for a while, it would be told of that.
    wait_for(lambda: say(server, "mortal", "hello").status == 200, what="a replica")
    refused = say(server, "mortal", "die 3")
    assert (refused.status, "ended two replicas" in refused.json["details"]) == (400, True)
    assert manage(server, "reload").status == 200
    assert manage(server, "unload").status == 200
    (entry,) = server.http("GET", f"{MANAGE}/quarantine?model_id=mortal").json["requests"]
    assert (entry["method"], entry["refused"]) == ("run", 1)
    assert manage(server, "load").json["quarantined"] == 1
    assert say(server, "mortal", "die 3").status == 400

    digest = entry["digest"]
    listed, misused, cleared, empty = run(
        server,
        "quarantine mortal",
        f"quarantine mortal {digest}",
        f"quarantine mortal --clear {digest}",
        "quarantine mortal",
    )
    assert (listed[0], digest in listed[1], "exited with status 3" in listed[1]) == (0, True, True)
    assert (misused[0], "needs --clear" in misused[1]) == (1, True)
    assert cleared == (0, "1 cleared\n")
    assert empty == (0, "nothing is in quarantine\n")
    assert say(server, "mortal", "die 3").status == 503


def test_the_author_may_ask_for_the_event_loop(server: Server) -> None:
    assert say(server, "quick", "x").json["where"] != say(server, "stuck", "x").json["where"]
    assert say(server, "stuck", "x").json["where"].startswith("stuck-")
    assert not say(server, "quick", "x").json["where"].startswith("quick-")


@pytest.mark.parametrize("model", ["stuck", "quick", "selfish", "batched", "apart"])
@pytest.mark.parametrize("text", ["exit 3", "interrupt"])
def test_a_call_that_wants_to_end_the_process_fails_alone(
    server: Server, model: str, text: str
) -> None:
    assert say(server, model, text).status == 500
    assert say(server, model, "x").json["text"] == "x"
