"""A replica that the kernel ends for lack of memory, as its callers and the operator see it."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped] # it has no types
    health_pb2,
    health_pb2_grpc,
)

from kitfox.models.replicas.deaths import Death
from tests.conftest import Answer, Server
from tests.models.memory_limits import memory_limit
from tests.models.replica_models import alive, workers_of
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).with_name("queues_project")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = tmp_path_factory.mktemp("memory") / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    # So that the only replica that there is belongs to the other one.
    shutil.rmtree(project / "models" / "apart")
    running = Server(project).start()
    yield running
    assert running.stop() == 0, running.log


def say(server: Server, model: str, text: str) -> Answer:
    return server.http("POST", "/api/v1/task/say", {"model_id": model, "inputs": text})


def shown(server: Server) -> Any:
    return server.http("GET", "/api/v1/management/models/show?model_id=mortal").json


@contextlib.contextmanager
def watched(server: Server) -> Iterator[list[Any]]:
    """What those who watch the model's health are told, from now on."""
    with server.channel() as channel:
        told: list[Any] = []
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="model:mortal")
        )

        def follow() -> None:
            with contextlib.suppress(grpc.RpcError):  # the watch has been ended
                told.extend(answer.status for answer in watch)

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield told
        finally:
            watch.cancel()
            thread.join()


@pytest.mark.parametrize("by", ["the kernel", "a signal"])
def test_a_replica_without_memory_costs_its_call_and_nothing_else(
    server: Server, tmp_path: Path, by: str
) -> None:
    kernel = by == "the kernel"
    # What runs out of memory elsewhere on the machine meanwhile looks as if it were the replica:
    # that may happen, but not each time.
    begins = (tmp_path / f"begun-{attempt}" for attempt in range(1 if kernel else 5))
    assert any(lose_replica(server, begun, kernel=kernel) == kernel for begun in begins)


def lose_replica(server: Server, begun: Path, *, kernel: bool) -> bool:
    """Has a replica killed in a call; tells whether the caller was told that memory lacked."""
    wait_for(lambda: say(server, "mortal", "hello").status == 200, what="a replica")
    (pid,) = workers_of(server)
    limit = memory_limit(pid) if kernel else contextlib.nullcontext()
    with limit, watched(server) as told, ThreadPoolExecutor(1) as threads:
        wait_for(lambda: told == [SERVING], what="its health")
        text = "eat 600" if kernel else f"hold {begun.with_name('never')} {begun}"
        call = threads.submit(say, server, "mortal", text)
        if not kernel:
            wait_for(begun.exists, what="the call")
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid) or call.done(), seconds=60, what="its death")
        answer = call.result()
        assert answer.status == 503, answer.body
        assert "killed by SIGKILL" in answer.json["details"]
        assert say(server, "quick", "hello").status == 200
        wait_for(lambda: shown(server)["state"] == "ready", seconds=60, what="another replica")
        wait_for(lambda: told[-1:] == [SERVING] and NOT_SERVING in told, what="its health")
        assert told == [SERVING, NOT_SERVING, SERVING]
    assert server.http("GET", "/health").status == 200
    description = shown(server)
    assert description["replicas"] == 1
    assert "killed by SIGKILL" in description["last_error"]
    (other,) = workers_of(server)
    assert other != pid
    assert say(server, "mortal", "hello").json["text"] == "hello"
    return "for lack of memory" in answer.json["details"]


def test_the_caller_of_a_dead_replica_is_told_within_a_second(
    server: Server, tmp_path: Path
) -> None:
    took: list[float] = []
    while len(took) < 5 and min(took, default=9) >= 1:  # the machine may be busy
        wait_for(lambda: say(server, "mortal", "hello").status == 200, seconds=60, what="a replica")
        begun = tmp_path / f"begun-{len(took)}"
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(say, server, "mortal", f"hold {tmp_path / 'never'} {begun}")
            wait_for(begun.exists, what="the call")
            (pid,) = workers_of(server)
            died = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            answer = call.result()
            took.append(time.monotonic() - died)
        assert (answer.status, "killed by SIGKILL" in answer.json["details"]) == (503, True)
    assert min(took) < 1


def test_where_the_kernel_does_not_count_it_is_a_guess() -> None:
    known = {flag: str(Death(status=-signal.SIGKILL, out_of_memory=flag)) for flag in (True, False)}
    assert known == {
        True: "it was killed by SIGKILL, for lack of memory",
        False: "it was killed by SIGKILL",
    }
    unknown = Death(status=-signal.SIGKILL, out_of_memory=None)
    assert str(unknown) == "it was killed by SIGKILL, perhaps for lack of memory"
    assert str(Death(status=-signal.SIGSEGV)) == "it was killed by SIGSEGV"
