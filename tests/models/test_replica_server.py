"""A server whose models run in replica processes, seen from its clients."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.models.replica_models import workers_of
from tests.server.shapes import MODELS, ShapesServer, model, request, requests, texts
from tests.waiting import wait_for

SETTINGS = """
models:
    settings:
        plain: {mode: process, replicas: 2, threads: 1}
"""
TALK = "/api/v1/task/talk"
SHOW = "/api/v1/management/models/show"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShapesServer]:
    running = ShapesServer.make(tmp_path_factory.mktemp("replicas"))
    running.config.write_text(running.config.read_text() + SETTINGS)
    running.start()
    wait_for(lambda: len(workers_of(running)) == 2, what="two replicas")
    yield running
    pids = workers_of(running)
    assert running.stop() == 0, running.log
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def channel(server: ShapesServer) -> Iterator[grpc.Channel]:
    with server.channel() as found:
        yield found


def test_every_call_shape_is_answered(server: ShapesServer, channel: grpc.Channel) -> None:
    one = server.method(channel, "one")(request("one", text="fox"), metadata=model("plain"))
    assert one.text == "fox"
    many = server.method(channel, "many")(
        request("many", text="w", count=3), metadata=model("plain")
    )
    assert [word.number for word in many] == [0, 1, 2]
    gathered = server.method(channel, "gather")(
        requests("gather", "a", "b", separator="-"), metadata=model("plain")
    )
    assert gathered.text == "a-b"
    answered = server.method(channel, "answer")(
        requests("answer", "a", "b"), metadata=model("plain")
    )
    assert texts(answered) == ["A", "B"]
    body = {"inputs": "fox"}
    for name in MODELS:
        answer = server.http("POST", TALK, {**body, "model_id": name})
        assert (answer.status, answer.json["text"]) == (200, "fox"), answer.body


def test_a_killed_replica_costs_its_calls_and_nothing_else(
    server: ShapesServer, channel: grpc.Channel
) -> None:
    one = server.method(channel, "one")
    calls = [
        one.future(request("one", text="long", pause=30), metadata=model("plain")) for _ in range(2)
    ]
    wait_for(lambda: server.log.count("one says long") == 2, what="two calls to run")
    victim = workers_of(server)[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: any(call.done() for call in calls), what="the end of a call")
    (failed,) = [call for call in calls if call.done()]
    assert failed.code() is grpc.StatusCode.UNAVAILABLE
    assert "SIGKILL" in failed.details()
    assert server.healthy()
    wait_for(lambda: len(workers_of(server)) == 2, what="another replica")
    for call in calls:
        call.cancel()
    assert victim not in workers_of(server)
    assert one(request("one", text="fox"), metadata=model("plain"), timeout=60).text == "fox"


def test_one_of_two_replicas_is_enough_to_be_ready(server: ShapesServer) -> None:
    """While the other is dead, the model serves, and says that there is one."""

    def shown() -> Any:
        return server.http("GET", f"{SHOW}?model_id=plain").json

    for _ in range(5):  # the other may be there again before anybody looks
        wait_for(lambda: shown()["replicas"] == 2, seconds=60, what="two replicas")
        os.kill(workers_of(server)[0], signal.SIGKILL)
        found, deadline = shown(), time.monotonic() + 5
        while found["replicas"] == 2 and time.monotonic() < deadline:
            found = shown()
        assert found["state"] == "ready"
        assert server.http("POST", TALK, {"inputs": "fox", "model_id": "plain"}).status == 200
        if found["replicas"] == 1:
            assert shown()["state"] == "ready"
            return
    pytest.fail("no look came while one replica was dead")


def test_open_streams_keep_no_calls_from_their_replicas(
    server: ShapesServer, channel: grpc.Channel
) -> None:
    end = threading.Event()

    def come() -> Iterator[Any]:
        yield request("answer", texts="a")
        end.wait(60)

    answer = server.method(channel, "answer")
    streams = [answer(come(), metadata=model("plain")) for _ in range(8)]
    assert [next(stream).text for stream in streams] == ["A"] * 8
    one = server.method(channel, "one")
    for _ in range(4):
        assert one(request("one", text="fox"), metadata=model("plain"), timeout=60).text == "fox"
    end.set()
    assert [texts(stream) for stream in streams] == [[]] * 8


def test_the_log_tells_model_replica_and_request(
    server: ShapesServer, channel: grpc.Channel
) -> None:
    one = server.method(channel, "one")
    one(request("one", text="traced"), metadata=model("plain", ("x-request-id", "req-17")))
    wait_for(lambda: "one says traced" in server.log, what="the line")
    (line,) = [item for item in server.log.splitlines() if "one says traced" in item]
    found = json.loads(line)
    assert (found["model_id"], found["request_id"]) == ("plain", "req-17")
    assert found["replica"] in (0, 1)
    assert found["level"] == "warning"
