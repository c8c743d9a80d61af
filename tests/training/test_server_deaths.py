"""Real servers that are killed, doubled, or whose clock jumps, and their trainings."""

import contextlib
import datetime
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitfox.training import JobStore
from tests.services.courses import PROJECT, CoursesServer, Hold, courses
from tests.training.faults import environment, python_with, set_clock
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

CLOCKS = ("clock", "workers")
"""The files that say how wrong the wall clocks are: of a server, and of its workers."""
TOLERANCE = 300
"""Seconds that may pass between a look at a clock that is wrong by an hour and one at ours."""


@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_a_killed_server_has_lost_nothing(tmp_path: Path, engine: str) -> None:
    """Three run, two wait, one has just ended: all six answer afterwards and end right."""
    options = {"SERVER_ENGINE": engine, "TRAINING_MAX_CONCURRENT": "3"}
    with courses(tmp_path, **options) as server:
        holds = [Hold(tmp_path / f"hold-{number}") for number in range(3)]
        running = [server.begin("held", hold=str(hold)) for hold in holds[:2]]
        ended = server.begin("quick")
        before = server.ended(ended)
        running.append(server.begin("held", hold=str(holds[2])))
        for hold in holds:
            hold.begun()
        waiting = [server.begin("waited") for _ in range(2)]
        server.kill()
        server.start()
        states = [server.show(training)["state"] for training in (*running, *waiting, ended)]
        assert states == ["RUNNING"] * 3 + ["QUEUED"] * 2 + ["COMPLETED"]
        assert server.show(ended) == before
        for hold in holds:
            hold.release()
        for training in (*running, *waiting):
            shown = server.ended(training)
            assert (shown["attempt"], shown["reasons"] or []) == (1, [])
        assert [server.recited(training) for training in (*running, *waiting, ended)] == (
            ["held"] * 3 + ["waited"] * 2 + ["quick"]
        )


@contextlib.contextmanager
def clocked(folder: Path, **options: str) -> Iterator[CoursesServer]:
    """A server whose wall clock is in `clock`, beside its project; its workers' is in `workers`."""
    clocks = [folder / name for name in CLOCKS]
    for clock in clocks:
        set_clock(clock, 0)
    options |= {
        "SERVER_ENGINE": "hypercorn",  # Envoy has timers of its own to lose
        "TRAINING_MAX_CONCURRENT": "1",
        "COURSES_PYTHON": str(python_with(folder / "python", environment(clock=clocks[1]))),
        **environment(clock=clocks[0]),
    }
    with courses(folder, **options) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    """A server whose workers come from a warm process, as soon as there is one."""
    with clocked(tmp_path_factory.mktemp("clock")) as running:
        yield running


@pytest.fixture(scope="module", params=["cold", "warm"])
def each_start(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CoursesServer]:
    """A server for each way in which workers begin."""
    if request.param == "warm":
        running: CoursesServer = request.getfixturevalue("server")
        wait_for(lambda: is_warm(running), seconds=60, what="the warm process")
        yield running
        return
    with clocked(tmp_path_factory.mktemp("cold"), TRAINING_WARM="false") as running:
        yield running


def is_warm(server: CoursesServer) -> bool:
    """Whether the worker of a training that is begun now comes from a warm process."""
    hold = Hold(server.project.parent / f"hold-{uuid.uuid4()}")
    training = server.begin("held", hold=str(hold))
    hold.begun()
    store = JobStore(f"sqlite:///{server.project / 'training_output' / 'jobs.sqlite3'}")
    worker = store.get(training).worker_pid
    store.close()
    command = Path(f"/proc/{worker}/cmdline").read_bytes()
    hold.release()
    server.ended(training)
    return b"kitfox.training.nursery" in command


def turn_clocks(server: CoursesServer, seconds: float, *names: str) -> None:
    for name in names or CLOCKS:
        set_clock(server.project.parent / name, seconds)


def wrong_by(moment: str) -> float:
    """By how many seconds the clock was wrong that has just given this time."""
    told = datetime.datetime.fromisoformat(moment)
    return (told - datetime.datetime.now(datetime.UTC)).total_seconds()


def test_a_second_server_of_a_store_refuses_and_names_the_first(
    server: CoursesServer, tmp_path: Path
) -> None:
    project = tmp_path / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    store = server.project / "training_output" / "jobs.sqlite3"
    second = CoursesServer(
        project, {"SERVER_ENGINE": "hypercorn", "TRAINING_STORE": f"sqlite:///{store}"}
    )
    assert second.launch().wait(60) == 1
    holder = store.with_name(store.name + ".lock").read_text().strip()
    assert (
        f"The job store {store} has a scheduler already: process {holder} holds {store}.lock"
    ) in second.log
    assert server.ended(server.begin("one"))["state"] == "COMPLETED"


@pytest.mark.parametrize("jump", [3600, -3600])
def test_trainings_do_not_care_what_time_it_is(
    server: CoursesServer, tmp_path: Path, jump: int
) -> None:
    hold = Hold(tmp_path / "hold")
    running, waiting = server.begin("held", hold=str(hold)), server.begin("waited")
    hold.begun()
    turn_clocks(server, jump)
    assert [server.show(training)["state"] for training in (running, waiting)] == [
        "RUNNING",
        "QUEUED",
    ]
    late = server.begin("late")
    assert abs(wrong_by(server.show(late)["created"]) - jump) < TOLERANCE
    hold.release()
    for training in (running, waiting, late):
        assert server.ended(training)["duration_seconds"] >= 0
    second = Hold(tmp_path / "second")
    cancelled = server.begin("held", hold=str(second))
    second.begun()
    server.cancel(cancelled)
    turn_clocks(server, 0)
    assert server.ended(cancelled, "CANCELED")["duration_seconds"] >= 0


@pytest.mark.parametrize("names", [CLOCKS, CLOCKS[1:]], ids=["all", "workers alone"])
@pytest.mark.parametrize("jump", [3600, -3600])
def test_workers_do_not_care_what_time_it_is(
    each_start: CoursesServer, tmp_path: Path, jump: int, names: tuple[str, ...]
) -> None:
    """Not while they train and save, nor between a checkpoint and who goes on from it."""
    server = each_start
    hold, failing = Hold(tmp_path / "hold"), Hold(tmp_path / "failing")
    training = server.begin("held", hold=str(hold), steps=3)
    hold.begun()
    turn_clocks(server, jump, *names)
    hold.release()
    shown = server.ended(training)
    assert abs(wrong_by(shown["finished"]) - jump) < TOLERANCE  # as the worker has told it
    assert (shown["progress"]["step"], shown["attempt"]) == (3, 1)
    assert shown["duration_seconds"] >= 0
    assert server.recited(training) == "held"
    training = server.begin("held", hold=str(failing), end="fail")
    failing.begun()
    turn_clocks(server, 0)
    failing.release()
    shown = server.ended(training, "ERRORED")
    assert (shown["progress"]["step"], shown["reasons"]) == (2, ["could not learn ['held']"])
    again = server.managed("retry", training_id=training)["training_id"]
    name = Path(shown["checkpoint"]).name
    assert f"goes on from {name}" in server.ended(again, "ERRORED")["log_tail"]
