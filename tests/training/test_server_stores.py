"""Real servers on each kind of job store, and two of them that share one."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from kitfox.training import JobState, JobStore
from kitfox.training.jobs import TERMINAL
from tests.cli.command_lines import CommandLines
from tests.services.courses import CoursesServer, Hold, courses
from tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPTIONS = {
    "TRAINING_MAX_CONCURRENT": "1",
    "TRAINING_LEASE_SECONDS": "10",
    "TRAINING_CANCEL_SECONDS": "1",
    "TRAINING_AUTO_PROMOTE": "true",
    "RUNTIME_LAZY_LOAD_POLL_PERIOD_SECONDS": "1",  # how a server learns what another has promoted
}


def ended(url: str) -> bool:
    """Whether nothing of a store waits or runs."""
    store = JobStore(url, create=False)
    try:
        return not store.list(states=frozenset(JobState) - TERMINAL)
    finally:
        store.close()


@pytest.fixture
def server(store_url: str, tmp_path: Path) -> Iterator[CoursesServer]:
    """A server on each kind of store."""
    with courses(tmp_path, TRAINING_STORE=store_url, **OPTIONS) as running:
        yield running
        assert ended(store_url)


@contextmanager
def two_servers(
    folder: Path, url: str, **options: str
) -> Iterator[tuple[CoursesServer, CoursesServer]]:
    """Two servers of one project that share a store."""
    options = {"TRAINING_STORE": url, **OPTIONS, **options}
    with courses(folder, **options) as one, courses(folder, **options) as other:
        yield one, other
        assert ended(url)


@pytest.fixture
def pair(postgresql_url: str, tmp_path: Path) -> Iterator[tuple[CoursesServer, CoursesServer]]:
    with two_servers(tmp_path, postgresql_url) as servers:
        yield servers


def is_promoted(server: CoursesServer, training: str) -> bool:
    return bool(server.show(training)["promotion"] == "done")


def test_a_training_is_followed_cancelled_and_promoted(
    server: CoursesServer, tmp_path: Path
) -> None:
    holds = [Hold(tmp_path / name) for name in ("first", "second")]
    first, second = (
        server.begin(str(hold.folder.name), name="fox", hold=str(hold)) for hold in holds
    )
    waiting = server.begin("waits", name="fox")
    holds[0].begun()
    states = [server.show(training)["state"] for training in (first, second, waiting)]
    assert states == ["RUNNING", "QUEUED", "QUEUED"]
    events = server.events(first)
    assert next(events)["state"] == "RUNNING"
    holds[0].release()
    *_, last = events
    assert (last["state"], last["progress"]["step"]) == ("COMPLETED", 2)
    wait_for(lambda: is_promoted(server, first), what="the promotion")
    assert server.recited("fox") == server.recited(first) == "first"
    server.cancel(waiting)
    assert server.show(waiting)["state"] == "CANCELED"
    holds[1].begun()
    events = server.events(second)
    assert next(events)["state"] == "RUNNING"
    server.cancel(second)
    *_, last = events
    assert last["state"] == "CANCELED"
    assert server.listed("states=COMPLETED") == [first]
    assert server.listed() == [waiting, second, first]
    assert server.recited("fox") == "first"


@pytest.mark.parametrize("first", [0, 1])
def test_what_one_server_trains_the_other_shows_serves_and_ends(
    pair: tuple[CoursesServer, CoursesServer], tmp_path: Path, first: int
) -> None:
    here, there = pair[first], pair[1 - first]
    old = here.begin("old", name="fox")
    here.ended(old)
    wait_for(lambda: is_promoted(there, old), what="the promotion")
    assert here.recited("fox") == there.recited("fox") == "old"
    hold = Hold(tmp_path / "hold")
    training = here.begin("new", name="fox", hold=str(hold))
    hold.begun()
    assert there.show(training)["state"] == "RUNNING"
    events = there.events(training)
    hold.release()
    *_, last = events
    assert (last["state"], last["progress"]["step"]) == ("COMPLETED", 2)
    assert here.listed() == there.listed() == [training, old]
    for name in (training, f"fox@{training}"):
        assert here.recited(name) == there.recited(name) == "new"
    for server in pair:
        wait_for(partial(is_reciting, server, "fox", "new"), what="the new version on both")
    endless = here.begin("endless", hold=str(Hold(tmp_path / "endless")))
    here.reaches(endless, "RUNNING")
    there.cancel(endless)
    here.ended(endless, "CANCELED")


def is_reciting(server: CoursesServer, model: str, text: str) -> bool:
    return server.recited(model) == text


class Desk:
    """Has trainings run by the server that is asked for them.

    Any server takes what waits in the store, so one that the other has taken is cancelled, and
    another one asked for.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._asked = 0

    def trained(self, server: CoursesServer, line: str, **options: str) -> str:
        """A training that has ended well."""
        training = wait_for(
            lambda: self._begun(server, line, options), what="a training of this server"
        )
        server.ended(training)
        return str(training)

    def _begun(self, server: CoursesServer, line: str, options: dict[str, str]) -> str | None:
        """A training, unless the other server has taken it."""
        assert server.process is not None
        self._asked += 1
        hold = Hold(self._folder / f"asked-{self._asked}")
        training = server.begin(line, hold=str(hold), **options)
        hold.begun()
        store = JobStore(self._url, create=False)
        try:
            _, pid, _ = store.get(training).scheduler.split(" ", 2)
        finally:
            store.close()
        if os.getsid(int(pid)) == server.process.pid:
            hold.release()
            return training
        server.cancel(training)
        server.ended(training, "CANCELED")
        return None


def test_an_older_model_that_takes_long_to_load_replaces_no_newer_one(
    postgresql_url: str, tmp_path: Path
) -> None:
    """One server is at the older one when the other, where nothing is to be loaded, overtakes."""
    options = {"RUNTIME_LAZY_LOAD_POLL_PERIOD_SECONDS": "0"}
    with two_servers(tmp_path, postgresql_url, **options) as (one, other):
        desk = Desk(postgresql_url, tmp_path)
        first = desk.trained(one, "first", name="fox")
        wait_for(lambda: is_promoted(one, first), seconds=60, what="the promotion")
        assert one.recited("fox") == "first"  # so it is loaded again before a switch
        load = Hold(tmp_path / "load")
        desk.trained(one, "slow", name="fox", slow=str(load))
        load.begun()
        quick = desk.trained(other, "quick", name="fox")
        wait_for(lambda: is_promoted(other, quick), seconds=60, what="the promotion")
        load.release()
        # Promoted when the slow one is.
        marker = desk.trained(one, "marker", name="marker")
        wait_for(lambda: is_promoted(one, marker), seconds=60, what="the promotion")
        for server in (one, other):
            assert server.recited("fox") == "quick"
            answer = server.http("GET", "/api/v1/management/models/show?model_id=fox")
            assert answer.json["version"] == quick


def test_a_killed_server_leaves_its_trainings_to_the_other(
    pair: tuple[CoursesServer, CoursesServer], tmp_path: Path
) -> None:
    """One runs on each and one waits; all answer afterwards and end right, the first time."""
    one, other = pair
    holds = [Hold(tmp_path / f"hold-{number}") for number in range(2)]
    running = []
    for server, hold in zip(pair, holds, strict=True):
        running.append(server.begin("held", hold=str(hold)))
        hold.begun()
    waiting = one.begin("waited")
    trainings = [*running, waiting]
    assert [one.show(training)["state"] for training in trainings] == ["RUNNING"] * 2 + ["QUEUED"]
    one.kill()
    assert other.listed() == trainings[::-1]
    assert [other.show(training)["state"] for training in trainings] == (
        ["RUNNING"] * 2 + ["QUEUED"]
    )
    for hold in holds:
        hold.release()
    for training in trainings:
        shown = other.ended(training)
        assert (shown["attempt"], shown["reasons"] or []) == (1, [])
    assert [other.recited(item) for item in trainings] == ["held", "held", "waited"]
    one.start()
    assert one.listed() == trainings[::-1]
    assert [one.recited(item) for item in trainings] == ["held", "held", "waited"]
    late = one.begin("late")
    one.ended(late)
    assert one.recited(late) == other.recited(late) == "late"


def test_the_survivor_sees_to_what_a_killed_server_was_to_end(
    pair: tuple[CoursesServer, CoursesServer], tmp_path: Path
) -> None:
    one, other = pair
    holds = [Hold(tmp_path / f"hold-{number}") for number in range(2)]
    running = [one.begin("held", hold=str(hold)) for hold in holds]
    for hold in holds:
        hold.begun()
    waiting = one.begin("waited")
    one.kill()
    other.cancel(waiting)  # before there is a place for it
    other.cancel(running[0])
    other.ended(running[0], "CANCELED")
    other.ended(waiting, "CANCELED")
    holds[1].release()
    other.ended(running[1])
    one.start()


def test_what_one_server_has_loaded_the_other_does_not_remove(
    pair: tuple[CoursesServer, CoursesServer], postgresql_url: str
) -> None:
    """Retention of one knows what is in use on both."""
    one, other = pair
    used, unused, promoted = (one.begin(name, name=name) for name in ("a", "b", "c"))
    for training in (used, unused, promoted):
        one.ended(training)
        wait_for(partial(is_promoted, one, training), what="the promotion")
    newer = [one.begin(f"{name}2", name=name) for name in ("a", "b")]
    for training in newer:
        one.ended(training)
        wait_for(partial(is_promoted, one, training), what="the promotion")
    assert other.recited(used) == "a"
    wait_for(lambda: is_noted(postgresql_url, used), what="the note", seconds=60)
    one.kill()
    one.environment |= {"TRAINING_RETENTION_SECONDS": "0"}
    one.start()
    wait_for(lambda: unused not in one.listed(), what="the removal", seconds=60)
    assert set(one.listed()) == {used, promoted, *newer}
    assert other.recited(used) == one.recited(used) == "a"


def is_noted(url: str, training: str) -> bool:
    """Whether a server says that it uses the model of a training."""
    store = JobStore(url, create=False)
    try:
        with store.database.read() as connection:
            rows = connection.query("SELECT model FROM models_in_use")
        return any(training in row["model"] for row in rows)
    finally:
        store.close()


def test_commands_do_without_a_server(
    pair: tuple[CoursesServer, CoursesServer], tmp_path: Path
) -> None:
    one, other = pair
    holds = [Hold(tmp_path / f"hold-{number}") for number in range(2)]
    first, second = (one.begin("held", name="a", hold=str(hold)) for hold in holds)
    waiting = one.begin("waited", name="b")
    for hold in holds:
        hold.begun()
    for server in pair:
        server.kill()
    shell = CommandLines(one)
    listing = shell.run("jobs list")
    for training, state in ((first, "RUNNING"), (second, "RUNNING"), (waiting, "QUEUED")):
        assert re.search(rf"^{training} +{state} ", listing, re.MULTILINE), listing
    assert waiting not in shell.run("jobs list --model a --state running")
    assert "RUNNING" in shell.run(f"jobs show {first}")
    assert "CANCELED" in shell.run(f"jobs cancel {waiting}")
    assert "CANCELED" in shell.run(f"jobs cancel {first}")
    holds[1].release()
    assert "COMPLETED" in shell.run(f"jobs follow {second}")
    shell.close()
    for server in pair:
        server.start()
    states = [other.show(training)["state"] for training in (first, second, waiting)]
    assert states == ["CANCELED", "COMPLETED", "CANCELED"]
    assert one.recited(second) == other.recited(second) == "held"
