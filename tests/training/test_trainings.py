"""Trainings from the caller's chair: real worker processes, a real store, real modules."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import AlreadyExists, InvalidArgument, JobNotFound, ResourceExhausted
from kitfox.modules import ModuleBase, load_model
from kitfox.training import JobState
from kitfox.training.jobs import JobOptions
from kitfox.training.processes import start_token
from tests.waiting import wait_for

from .conftest import Trainings
from .trainers import (
    Counter,
    Crash,
    Empty,
    Endless,
    Family,
    Raiser,
    Stubborn,
    Talker,
    Unsaved,
    Waiter,
)

pytestmark = pytest.mark.slow

Start = Callable[..., Trainings]
ROWS = {"data_stream": {"data": [{"word": "a", "number": 3}, {"word": "b", "number": 4}]}}


def value_of(path: Path | None) -> Any:
    """What a test's module has learnt."""
    assert path is not None
    return load_model(path).value  # type: ignore[attr-defined] # as all modules of the tests have


def test_a_training_becomes_a_model(trainings: Trainings) -> None:
    job = trainings.service.start(
        Counter, {"rows": ROWS, "words": ["x", "y"], "factor": 10}, "my model"
    )
    assert job.state is JobState.QUEUED
    found = trainings.ended(job)
    assert (found.state, found.reasons) == (JobState.COMPLETED, ())
    place = trainings.service.model_path(job.id)
    assert place == trainings.folder / "models" / job.id / "my model"
    assert value_of(place) == {
        "rows": 2,
        "sum": 70,
        "words": ["x", "y"],
        "base": None,
        "cwd": str(trainings.folder),
    }
    assert (found.module_id, found.module_version) == (Counter.MODULE_ID, "1.2.3")
    assert (found.attempt, found.model_name) == (1, "my model")
    assert trainings.leftovers() == []


def test_the_record_tells_when_where_and_how_much(trainings: Trainings) -> None:
    found = trainings.ended(trainings.service.start(Empty, {}))
    assert found.started is not None
    assert found.finished is not None
    assert found.created <= found.started <= found.finished
    assert found.duration == found.finished - found.started
    assert found.peak_memory is not None
    assert 5_000_000 < found.peak_memory < 1_000_000_000
    assert set(found.environment) >= {"python", "platform", "host", "kitfox", "msgspec"}


def test_the_manifest_names_every_file(trainings: Trainings) -> None:
    job = trainings.ended(trainings.service.start(Empty, {}))
    place = Path(job.output_path)
    manifest = json.loads((place / "manifest.json").read_text())
    assert (manifest["format"], manifest["training_id"], manifest["attempt"]) == (1, job.id, 1)
    content = (place / "config.yml").read_bytes()
    assert manifest["files"] == [
        {
            "path": "config.yml",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]


def test_parameters_that_are_null_or_absent_have_their_defaults(trainings: Trainings) -> None:
    job = trainings.service.start(Counter, {"rows": ROWS, "factor": None})
    trainings.ended(job)
    value = value_of(trainings.service.model_path(job.id))
    assert (value["sum"], value["words"]) == (7, None)


def test_a_stream_without_elements_is_allowed(trainings: Trainings) -> None:
    job = trainings.service.start(Counter, {"rows": {"data_stream": {"data": []}}})
    assert trainings.ended(job).state is JobState.COMPLETED
    assert value_of(trainings.service.model_path(job.id))["rows"] == 0


def test_data_comes_from_a_file_below_the_data_folder(trainings: Trainings) -> None:
    (trainings.folder / "data").mkdir()
    (trainings.folder / "data" / "rows.csv").write_text("word,number\na,20\nb,22\n")
    job = trainings.service.start(Counter, {"rows": {"data_stream": {"filename": "rows.csv"}}})
    assert trainings.ended(job).reasons == ()
    assert value_of(trainings.service.model_path(job.id))["sum"] == 42


def test_a_file_without_rows_is_an_error_that_says_so(trainings: Trainings) -> None:
    (trainings.folder / "data").mkdir()
    (trainings.folder / "data" / "rows.csv").touch()
    job = trainings.service.start(Counter, {"rows": {"data_stream": {"filename": "rows.csv"}}})
    found = trainings.ended(job)
    assert found.state is JobState.ERRORED
    assert "rows.csv" in found.reasons[0]


def test_a_model_can_be_given_to_train_on(trainings: Trainings) -> None:
    base = trainings.ended(trainings.service.start(Empty, {}))
    job = trainings.service.start(
        Counter,
        {"rows": ROWS, "base": {"model_id": "the base"}},
        model_paths={"the base": base.output_path},
    )
    trainings.ended(job)
    assert value_of(trainings.service.model_path(job.id))["base"] == "nothing"


def test_a_value_of_a_wrong_type_is_named(trainings: Trainings) -> None:
    found = trainings.ended(trainings.service.start(Counter, {"rows": ROWS, "factor": "many"}))
    assert found.state is JobState.ERRORED
    assert found.reasons[0].startswith("factor: ")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("ValueError", "the words do not rhyme"),
        ("KeyError", "KeyError: 'absent'"),
        ("silent", "RuntimeError"),
        ("exit", "SystemExit: 4"),
    ],
)
def test_what_a_module_raises_is_the_reason(trainings: Trainings, kind: str, reason: str) -> None:
    job = trainings.service.start(Raiser, {"kind": kind})
    found = trainings.ended(job)
    assert (found.state, found.reasons) == (JobState.ERRORED, (reason,))
    assert found.finished is not None
    assert found.log_tail.startswith("about to raise\n")
    assert "Traceback" in found.log_tail
    assert "trainers/__init__.py" in found.log_tail
    assert trainings.service.model_path(job.id) is None
    assert list(trainings.folder.glob("models/*")) == []


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("SIGKILL", "worker was killed by signal 9 (SIGKILL)"),
        ("SIGSEGV", "worker was killed by signal 11 (SIGSEGV)"),
        ("SIGTERM", "the worker was stopped by signal 15 (SIGTERM)"),
        ("exit", "worker exited with status 7"),
    ],
)
@pytest.mark.parametrize("launcher", ["cold", "warm"])
def test_a_worker_that_dies_is_noticed(
    start_trainings: Start, launcher: str, how: str, reason: str
) -> None:
    trainings = start_trainings(launcher=launcher)
    found = trainings.ended(trainings.service.start(Crash, {"how": how}))
    assert (found.state, found.reasons) == (JobState.ERRORED, (reason,))
    assert "last words\n" in found.log_tail


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("raises", "The disk is full while saving the model: at least "),
        ("nothing", "has made no folder at the path it was given"),
        ("no module", "returned dict; expected a module to save"),
    ],
)
def test_a_model_that_cannot_be_saved(trainings: Trainings, manner: str, reason: str) -> None:
    job = trainings.service.start(Unsaved, {"manner": manner})
    found = trainings.ended(job)
    assert found.state is JobState.ERRORED
    assert reason in found.reasons[0]
    assert list(trainings.folder.glob("models/*")) == []


def test_a_place_that_cannot_be_written(start_trainings: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trainings = start_trainings(output_dir=tmp_path / "file")
    found = trainings.ended(trainings.service.start(Empty, {}, "m"))
    assert found.state is JobState.ERRORED
    assert str(tmp_path / "file") in found.reasons[0]


def test_a_package_that_cannot_be_imported(start_trainings: Start) -> None:
    trainings = start_trainings(libraries=())
    found = trainings.ended(trainings.service.start(Empty, {}))
    assert found.state is JobState.ERRORED
    assert Empty.MODULE_ID in found.reasons[0]


def test_threads_that_never_end_do_not_keep_the_worker(trainings: Trainings) -> None:
    found = trainings.ended(trainings.service.start(Endless, {}))
    assert found.state is JobState.COMPLETED


def test_progress_and_log_can_be_watched(trainings: Trainings) -> None:
    gate = trainings.folder / "gate"
    job = trainings.service.start(Talker, {"gate": str(gate)})
    # The progress may be seen before the rest has been said.
    running = wait_for(
        lambda: (
            (now := trainings.store.get(job.id)).progress and "from a child" in now.log_tail and now
        )
    )
    assert running.progress.fraction == 0.25
    assert running.progress.metrics == {"loss": 0.5}
    for text in ("on standard output", "from C", "logged", "from a child", "told to the context"):
        assert text in running.log_tail
    gate.touch()
    found = trainings.ended(job)
    assert found.progress is not None
    assert (found.progress.fraction, found.progress.step, found.progress.total) == (1.0, 4, 4)
    assert found.progress.metrics == {"loss": 0.25, "accuracy": 1.0}
    assert "from C" in Path(found.log_path).read_text()


def test_the_processes_of_a_cancelled_training_all_end(trainings: Trainings) -> None:
    note = trainings.folder / "note"
    job = trainings.service.start(Family, {"note": str(note)})
    wait_for(note.exists)
    processes = json.loads(note.read_text())
    assert all(start_token(pid) for pid in processes)
    assert trainings.service.cancel(job.id).state in (JobState.CANCELING, JobState.CANCELED)
    found = trainings.in_state(job, JobState.CANCELED)
    assert [start_token(pid) for pid in processes] == [""] * 4
    assert found.finished is not None
    assert note.with_name("note.finally").exists(), "the module could clean up"
    assert trainings.service.cancel(job.id) == found


def test_a_training_that_resists_is_killed(start_trainings: Start) -> None:
    trainings = start_trainings(cancel_grace=0.3)
    note = trainings.folder / "note"
    job = trainings.service.start(Stubborn, {"note": str(note)})
    wait_for(note.exists)
    trainings.service.cancel(job.id)
    trainings.in_state(job, JobState.CANCELED)
    assert start_token(int(note.read_text())) == ""


def test_a_waiting_training_is_cancelled_and_the_queue_goes_on(start_trainings: Start) -> None:
    trainings = start_trainings(max_concurrent=1, queue_limit=2)
    gate = trainings.folder / "gate"
    first = trainings.service.start(Waiter, {"gate": str(gate)})
    trainings.in_state(first, JobState.RUNNING)
    second = trainings.service.start(Empty, {})
    third = trainings.service.start(Empty, {})
    with pytest.raises(ResourceExhausted, match=r"training\.queue_limit is 2"):
        trainings.service.start(Empty, {})
    assert trainings.service.cancel(second.id).state is JobState.CANCELED
    gate.touch()
    assert trainings.ended(third).state is JobState.COMPLETED
    listed = trainings.service.list(states=[JobState.COMPLETED])
    assert [job.id for job in listed] == [third.id, first.id]


def test_without_ids_training_again_replaces_the_model(start_trainings: Start) -> None:
    trainings = start_trainings(save_with_id=False)
    first = trainings.service.start(Counter, {"rows": ROWS}, "m")
    assert trainings.ended(first).state is JobState.COMPLETED
    place = trainings.folder / "models" / "m"
    assert trainings.service.model_path(first.id) == place
    second = trainings.service.start(Counter, {"rows": ROWS, "factor": 2}, "m")
    assert trainings.ended(second).state is JobState.COMPLETED
    assert value_of(place)["sum"] == 14
    assert trainings.service.model_path(second.id) == place
    assert trainings.service.model_path(first.id) is None
    assert trainings.leftovers() == []


def test_a_failed_training_leaves_the_old_model(start_trainings: Start) -> None:
    trainings = start_trainings(save_with_id=False)
    trainings.ended(trainings.service.start(Empty, {}, "m"))
    for module_cls, parameters in ((Raiser, {}), (Unsaved, {"manner": "raises"})):
        trainings.ended(trainings.service.start(module_cls, parameters, "m"))
    assert value_of(trainings.folder / "models" / "m") == "nothing"


@pytest.mark.parametrize(
    "name", ["a/b", "../b", "..", ".", "/etc", "a\0b", ".hidden", "x" * 201, "ü" * 101, "a\nb"]
)
def test_names_that_are_refused(trainings: Trainings, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^model_name: "):
        trainings.service.start(Empty, {}, name)
    assert trainings.service.list() == []


@pytest.mark.parametrize("name", ["x" * 200, "with space", "日本語", "a..b", "-v", "c:\\d"])
def test_names_that_are_accepted(trainings: Trainings, name: str) -> None:
    job = trainings.ended(trainings.service.start(Empty, {}, name))
    assert job.reasons == ()
    assert value_of(trainings.folder / "models" / job.id / name) == "nothing"


def test_a_name_is_needed_where_it_is_the_place(start_trainings: Start) -> None:
    trainings = start_trainings(save_with_id=False)
    with pytest.raises(InvalidArgument, match="save_with_id is false"):
        trainings.service.start(Empty, {})


def test_ids(trainings: Trainings) -> None:
    job = trainings.service.start(Empty, {}, training_id="my-id")
    assert job.id == "my-id"
    with pytest.raises(AlreadyExists, match="my-id"):
        trainings.service.start(Empty, {}, training_id="my-id")
    for bad in ("", "../x", "a/b", "x" * 65):
        with pytest.raises(InvalidArgument, match="training_id"):
            trainings.service.start(Empty, {}, training_id=bad)
    with pytest.raises(JobNotFound, match=r"^Unknown training_id: x$"):
        trainings.service.get("x")
    with pytest.raises(JobNotFound, match=r"^Unknown training_id: x$"):
        trainings.service.cancel("x")
    assert trainings.service.model_path("x") is None


def test_a_worker_that_is_killed_from_outside(trainings: Trainings) -> None:
    job = trainings.service.start(Waiter, {"gate": "never"})
    pid = wait_for(lambda: trainings.store.get(job.id).worker_pid)
    os.kill(pid, signal.SIGKILL)
    found = trainings.ended(job)
    assert found.reasons == ("worker was killed by signal 9 (SIGKILL)",)


def test_a_worker_that_is_asked_to_end_from_outside_is_followed_by_another(
    trainings: Trainings,
) -> None:
    gate = trainings.folder / "gate"
    options = JobOptions(retries=1)
    job = trainings.service.start(Waiter, {"gate": str(gate)}, options=options)
    os.kill(trainings.begun(job), signal.SIGTERM)
    wait_for(lambda: trainings.store.get(job.id).attempt == 2, what="the second attempt")
    assert trainings.store.get(job.id).reasons == ("worker exited with status 143",)
    gate.touch()
    found = trainings.ended(job)
    assert (found.state, found.reasons, found.deaths) == (JobState.COMPLETED, (), 1)
    assert trainings.leftovers() == []


def test_what_was_trained_is_a_module(trainings: Trainings) -> None:
    job = trainings.ended(trainings.service.start(Empty, {}))
    assert isinstance(load_model(job.output_path), ModuleBase)
