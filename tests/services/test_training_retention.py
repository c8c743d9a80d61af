"""Trainings go when they have been kept long enough, or when told; what is in use stays."""

import datetime
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kitfox.services.training_retention import KeptTrainings
from kitfox.training import Job, JobState, JobStore, Scheduler, TrainingService
from tests.services.courses import MANAGE, CoursesServer, Hold, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PROMOTE = {"kitfox-promote": "true"}


def is_there(server: CoursesServer, training_id: str) -> bool:
    return server.http("GET", f"{MANAGE}/show?training_id={training_id}").status == 200


def finished(server: CoursesServer, name: str = "", **options: Any) -> str:
    training = server.begin("one", name=name, **options)
    server.ended(training)
    return training


def test_what_is_pinned_current_or_in_use_stays(tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    with courses(tmp_path, TRAINING_MAX_CONCURRENT="1") as server:
        old, pinned = finished(server, "fox"), finished(server, "fox")
        server.managed("pin", training_id=pinned, pinned=True)
        current = finished(server, "fox", headers=PROMOTE)
        wait_for(lambda: server.show(current)["promotion"] == "done", what="the promotion")
        failed = server.begin("one", end="fail")
        server.ended(failed, "ERRORED")
        base = finished(server)
        running = server.begin("two", hold=str(hold))
        hold.begun()
        server.kill()
        server.environment |= {"TRAINING_RETENTION_SECONDS": "0"}
        server.start()
        wait_for(
            lambda: not any(is_there(server, item) for item in (old, base)), what="the removal"
        )
        assert all(is_there(server, item) for item in (pinned, current, failed, running))
        assert server.recited("fox") == server.recited(pinned) == "one"
        output = tmp_path / "courses_project" / "training_output"
        files = (output / old, output / "jobs.sqlite3.logs" / f"{old}.log")
        wait_for(lambda: not any(map(Path.exists, files)), what="the end of the files")
        hold.release()


@pytest.mark.parametrize(
    "rule", [{"TRAINING_RETENTION_COUNT": "2"}, {"TRAINING_RETENTION_BYTES": "2.5 MB"}]
)
def test_the_oldest_go_first(tmp_path: Path, rule: dict[str, str]) -> None:
    """Of four models of a megabyte two are kept, and one that is pinned."""
    with courses(tmp_path) as server:
        trainings = []
        for letter in "abcd":
            trainings.append(server.begin(letter, weight=1_000_000))
            server.ended(trainings[-1])
        server.managed("pin", training_id=trainings[0], pinned=True)
        server.kill()
        server.environment |= rule
        server.start()
        wait_for(lambda: not is_there(server, trainings[1]), what="the removal")
        assert server.listed() == [trainings[3], trainings[2], trainings[0]]
        output = tmp_path / "courses_project" / "training_output"
        wait_for(lambda: not (output / trainings[1]).exists(), what="the end of the model")
        for letter, training in (("a", trainings[0]), ("d", trainings[3])):
            assert server.recited(training) == letter


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    with courses(tmp_path_factory.mktemp("courses")) as running:
        yield running


def test_a_training_is_removed_with_its_model(server: CoursesServer) -> None:
    training = finished(server, "gone")
    folder = Path(server.show(training)["path"])
    assert server.recited(training) == server.recited(f"gone@{training}") == "one"
    assert server.managed("delete", training_id=training) == {"training_id": training}
    assert not is_there(server, training)
    assert training not in server.listed()
    assert not folder.exists()
    assert server.recite(training).status == server.recite(f"gone@{training}").status == 404
    assert server.manage("delete", training_id=training).status == 404


def test_what_goes_on_or_is_pinned_is_not_removed(server: CoursesServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    training = server.begin("one", hold=str(hold))
    hold.begun()
    answer = server.manage("delete", training_id=training)
    assert (answer.status, "RUNNING" in answer.json["details"]) == (400, True)
    hold.release()
    server.ended(training)
    server.managed("pin", training_id=training, pinned=True)
    answer = server.manage("delete", training_id=training)
    assert (answer.status, "pinned" in answer.json["details"]) == (400, True)
    server.managed("pin", training_id=training, pinned=False)
    assert server.manage("delete", training_id=training).status == 200


def test_what_is_being_downloaded_is_not_removed(server: CoursesServer) -> None:
    training = finished(server, weight=64 << 20)
    url = f"{server.url}{MANAGE}/download?training_id={training}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read(1000)
        refused = server.manage("delete", training_id=training)
        assert (refused.status, "downloaded" in refused.json["details"]) == (400, True)
    wait_for(
        lambda: server.manage("delete", training_id=training).status == 200,
        what="the end of the download",
    )


def test_who_follows_a_training_that_is_removed_is_told(
    server: CoursesServer, tmp_path: Path
) -> None:
    hold = Hold(tmp_path / "hold")
    training = server.begin("one", hold=str(hold))
    hold.begun()
    events = server.events(training)
    next(events)
    hold.release()
    server.ended(training)
    server.manage("delete", training_id=training)
    *_, last = events
    assert last.get("state") == "COMPLETED" or last["code"] == 404


def test_a_model_that_is_loaded_stays(tmp_path: Path) -> None:
    """Also under another name, and while it is being loaded."""
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    service = TrainingService(store=store, scheduler=Scheduler(store=store), output_dir=tmp_path)
    models: Any = SimpleNamespace(
        loaded={"other": SimpleNamespace(path=tmp_path / "a" / "fox")},
        loading=frozenset({"fox@b", "c"}),
        store=SimpleNamespace(root=tmp_path / "models"),
    )
    is_kept = KeptTrainings(service, models)

    def kept(job_id: str) -> bool:
        return is_kept(
            Job(
                id=job_id,
                module_id="m",
                model_name="fox",
                output_path=str(tmp_path / job_id / "fox"),
                created=datetime.datetime.now(datetime.UTC),
                state=JobState.COMPLETED,
            )
        )

    assert [job_id for job_id in "abcd" if kept(job_id)] == ["a", "b", "c"]
    store.close()
