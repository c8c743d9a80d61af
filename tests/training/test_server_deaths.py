"""Real servers that are killed, doubled, or whose clock jumps, and their trainings."""

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.courses import PROJECT, CoursesServer, Hold, courses
from tests.training.faults import environment, set_clock

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    """A server whose wall clock is in `clock`, beside its project."""
    folder = tmp_path_factory.mktemp("clock")
    set_clock(folder / "clock", 0)
    # Not with Envoy, which has timers of its own to lose.
    options = {"SERVER_ENGINE": "hypercorn", "TRAINING_MAX_CONCURRENT": "1"}
    with courses(folder, **options, **environment(clock=folder / "clock")) as running:
        yield running


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
    clock = server.project.parent / "clock"
    hold = Hold(tmp_path / "hold")
    running, waiting = server.begin("held", hold=str(hold)), server.begin("waited")
    hold.begun()
    set_clock(clock, jump)
    assert [server.show(training)["state"] for training in (running, waiting)] == [
        "RUNNING",
        "QUEUED",
    ]
    late = server.begin("late")
    created = datetime.datetime.fromisoformat(server.show(late)["created"])
    wrong = (created - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert abs(wrong - jump) < 60
    hold.release()
    for training in (running, waiting, late):
        assert server.ended(training)["duration_seconds"] >= 0
    second = Hold(tmp_path / "second")
    cancelled = server.begin("held", hold=str(second))
    second.begun()
    server.cancel(cancelled)
    set_clock(clock, 0)
    assert server.ended(cancelled, "CANCELED")["duration_seconds"] >= 0
