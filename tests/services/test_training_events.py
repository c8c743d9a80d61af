"""Who follows a training sees its states, its progress, and every line of its log once."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.client import service_package
from kitfox.interfaces.runtime.trainings import FollowTrainingRequest, TrainingEvent
from tests.services.courses import MANAGE, CoursesServer, Hold, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    folder = tmp_path_factory.mktemp("courses")
    with courses(folder, TRAINING_MAX_CONCURRENT="1") as running:
        yield running


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    return Hold(tmp_path / "hold")


def steps_in(log: list[str]) -> list[str]:
    """What the module itself has said."""
    return [line for line in log if line.startswith("step ")]


def following(server: CoursesServer, training_id: str, **fields: Any) -> Iterator[TrainingEvent]:
    request: Any = FollowTrainingRequest
    return server.stream("Follow", request(training_id=training_id, **fields), TrainingEvent)


def test_all_of_a_training_is_seen_over_rest(server: CoursesServer, hold: Hold) -> None:
    first = server.begin("one", hold=str(hold))
    hold.begun()
    training = server.begin("two", steps=3)  # it waits for the place
    events = server.events(training)
    seen = [next(events)]
    assert seen[0]["state"] == "QUEUED"
    hold.release()
    seen += events
    states = [state for state, _ in itertools.groupby(event["state"] for event in seen)]
    assert states[-1] == "COMPLETED"
    assert set(states) <= {"QUEUED", "RUNNING", "COMPLETED"}
    assert len(states) == len(set(states))
    assert seen[-1]["progress"]["step"] == 3
    assert seen[-1]["progress"]["metrics"] == {"loss": 1 / 3}
    log = [line for event in seen for line in event["log"]]
    assert steps_in(log) == ["step 1", "step 2", "step 3"]
    assert "\n".join(log) == server.http("GET", f"{MANAGE}/log?training_id={training}").json[
        "text"
    ].removesuffix("\n")
    server.ended(first)


def test_the_same_over_grpc(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", hold=str(hold), steps=2)
    seen: list[TrainingEvent] = []
    for event in following(server, training):
        seen.append(event)
        if event.progress and event.progress.fraction == 0.5:
            hold.release()
    assert [event.state for event in seen][-1] == "COMPLETED"
    assert "RUNNING" in {event.state for event in seen}
    last = seen[-1].progress
    assert last is not None
    assert (last.fraction, last.step) == (1, 2)
    assert steps_in([line for event in seen for line in event.log]) == ["step 1", "step 2"]
    (again,) = following(server, training)  # of one that has ended there is one event
    assert steps_in(again.log) == ["step 1", "step 2"]


def test_who_comes_back_goes_on_in_the_log(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", hold=str(hold), steps=2)
    log: list[str] = []
    for event in server.events(training):
        log += event["log"]
        offset = event["log_offset"]
        if "step 1" in log:
            break  # the connection is closed
    assert "step 2" not in log
    hold.release()
    for event in server.events(training, f"&log_from={offset}"):
        log += event["log"]
    assert steps_in(log) == ["step 1", "step 2"]
    (last,) = following(server, training, log_from=offset + 1_000_000)
    assert last.state == "COMPLETED"


def test_python_clients_have_a_stub(server: CoursesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(server.project))
    trainings = service_package("courses", "trainings")
    training = server.begin("one", steps=2)
    request = trainings.messages.FollowTrainingRequest(training_id=training)
    with server.channel() as channel:
        stub = trainings.stub_class(channel)
        *_, last = stub.Follow(request, timeout=60)
        assert last.state == "COMPLETED"
        shown = stub.Show(trainings.messages.TrainingIdRequest(training_id=training), timeout=60)
    assert shown.progress.metrics["loss"] == 0.5
    assert service_package("courses", "models").service == "kitfox.models.Models"


def test_many_follow_one_training(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", hold=str(hold))
    hold.begun()
    seen: list[list[str]] = [[] for _ in range(8)]

    def follow(lines: list[str]) -> None:
        for event in server.events(training):
            lines += event["log"]

    threads = [threading.Thread(target=follow, args=(lines,)) for lines in seen]
    for thread in threads:
        thread.start()
    wait_for(lambda: all("step 1" in lines for lines in seen), what="the first step")
    hold.release()
    for thread in threads:
        thread.join(30)
    assert [steps_in(lines) for lines in seen] == [["step 1", "step 2"]] * 8


def test_a_failure_is_told_with_its_reason(server: CoursesServer) -> None:
    *_, last = server.events(server.begin("this", end="fail"))
    assert last["state"] == "ERRORED"
    assert "could not learn ['this']" in last["reasons"][0]


def test_what_is_not_there_cannot_be_followed(server: CoursesServer) -> None:
    assert server.http("GET", f"{MANAGE}/follow?training_id=nope").status == 404
    answer = server.http("GET", f"{MANAGE}/follow?training_id=nope&log_from=-1")
    assert answer.status == 400
    with pytest.raises(grpc.RpcError) as caught:
        list(following(server, "nope"))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_who_follows_is_told_that_the_server_stops(tmp_path: Path, engine: str) -> None:
    hold = Hold(tmp_path / "hold")
    with courses(tmp_path, SERVER_ENGINE=engine) as server:
        training = server.begin("one", hold=str(hold))
        hold.begun()
        over_rest = server.events(training)
        next(over_rest)
        over_grpc = following(server, training)
        next(over_grpc)
        assert server.process is not None
        server.process.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            list(over_grpc)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "about to stop" in error.details()
        assert list(over_rest)[-1]["code"] == 503
        hold.release()
        assert server.process.wait(60) == 0
