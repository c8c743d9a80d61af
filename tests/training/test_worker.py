"""One attempt after the other: what workers do, whoever has started them."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.modules import load_model
from kitfox.training import JobState
from kitfox.training.processes import start_token
from kitfox.training.publication import checkpoint_root, newest_checkpoint, partial_path
from kitfox.training.pulse import LOST_STATUS
from tests.waiting import wait_for

from .trainers import Empty, Family, Plain, Stepper, Tireless
from .workers import Workers, running_workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with running_workers(tmp_path_factory.mktemp("workers"), digest_bytes=1000) as found:
        yield found


def steps(folder: Path | str) -> list[int]:
    """For each step of a model the attempt that did it."""
    model = load_model(str(folder))
    assert isinstance(model, Stepper)
    return model.done


def alter(workers: Workers, job_id: str, before: JobState, after: JobState) -> None:
    wait_for(lambda: workers.store.get(job_id).checkpoint, what="a checkpoint")
    assert workers.store.move(job_id, [before], after) is not None


def test_a_training_without_reports_is_watched_by_its_bar(workers: Workers) -> None:
    (workers.folder / "rows.csv").write_text("word,number\na,1\nb,2\nc,3\n")
    job = workers.run(Plain, '{"rows": {"file": {"filename": "rows.csv"}}}')
    assert (job.state, job.reasons) == (JobState.COMPLETED, ())
    assert job.progress is not None
    assert (job.progress.step, job.progress.fraction) == (3, 1.0)
    assert job.progress.metrics == {"sum": 6}
    assert "rows:" not in Path(job.log_path).read_text()


def test_the_record_tells_of_data_and_environment(workers: Workers) -> None:
    content = b"word,number\na,1\nb,2\nc,3\n"
    path = workers.folder / "counted.csv"
    path.write_bytes(content)
    job = workers.run(Plain, '{"rows": {"file": {"filename": "counted.csv"}}}')
    (data,) = job.data
    assert (data.parameter, data.kind, data.name) == ("rows", "file", str(path))
    assert (data.rows, data.size) == (3, len(content))
    assert data.sha256 == hashlib.sha256(content).hexdigest()
    assert data.changed
    assert job.environment.keys() >= {"python", "host", "kitfox", "tqdm", "msgspec"}
    assert job.output_bytes == sum(
        file.stat().st_size
        for file in Path(job.output_path).rglob("*")
        if file.is_file() and file.name != "manifest.json"
    )


def test_a_killed_training_goes_on_from_its_last_checkpoint(workers: Workers) -> None:
    job = workers.add(Stepper, '{"steps": 7, "every": 2, "die_at": 5}', retries=1)
    _, handle = workers.launch()
    assert workers.ended(handle).status == -signal.SIGKILL
    dead = workers.store.get(job.id)
    recorded = newest_checkpoint(dead)
    assert recorded == Path(dead.checkpoint)
    assert steps(dead.checkpoint) == [1, 1, 1, 1], "it is a whole model"
    found = workers.again(job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)
    assert steps(found.output_path) == [1, 1, 1, 1, 2, 2, 2]
    assert workers.leftovers(job) == []


def test_a_training_that_a_shutdown_ends_may_be_begun_again(workers: Workers) -> None:
    """As when a machine or a container asks all of its processes to end."""
    job = workers.add(Stepper, '{"steps": 150, "every": 10, "hold_at": 145}', retries=1)
    _, handle = workers.launch()
    wait_for(lambda: workers.store.get(job.id).checkpoint, what="a checkpoint")
    os.kill(handle.pid, signal.SIGTERM)
    assert workers.ended(handle).status == 128 + signal.SIGTERM
    found = workers.again(job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)
    assert set(steps(found.output_path)) == {1, 2}


def test_a_new_job_goes_on_from_the_checkpoint_of_another(workers: Workers) -> None:
    job = workers.add(Stepper, '{"steps": 5, "every": 2, "die_at": 3}')
    _, handle = workers.launch()
    workers.ended(handle)
    checkpoint = workers.store.get(job.id).checkpoint
    found = workers.run(Stepper, '{"steps": 3}', resume_path=checkpoint)
    assert steps(found.output_path) == [1, 1, 1]
    assert Path(checkpoint).is_dir(), "it is still the other's"
    workers.store.move(job.id, [JobState.RUNNING], JobState.ERRORED)


def test_the_newest_checkpoints_are_kept_while_it_trains(workers: Workers) -> None:
    job = workers.add(Stepper, '{"steps": 100000, "looks": true}')
    claimed, handle = workers.launch()
    wait_for(
        lambda: (now := workers.store.get(job.id).progress) and (now.step or 0) > 5,
        what="some steps",
    )
    kept = [path.name for path in checkpoint_root(claimed).glob("[0-9]*")]
    assert 1 <= len(kept) <= 3, kept
    alter(workers, job.id, JobState.RUNNING, JobState.STOPPING)
    workers.ended(handle)
    assert workers.leftovers(job) == []


@pytest.mark.parametrize("looks", [True, False])
def test_a_training_that_is_asked_to_stop_keeps_what_it_has(workers: Workers, looks: bool) -> None:
    """Whether its `train` looks at `should_stop` or only makes checkpoints."""
    job = workers.add(Stepper, json.dumps({"steps": 100_000, "looks": looks}))
    _, handle = workers.launch()
    alter(workers, job.id, JobState.RUNNING, JobState.STOPPING)
    assert workers.ended(handle).status == 0
    found = workers.store.get(job.id)
    assert (found.state, found.reasons) == (JobState.COMPLETED, ())
    assert found.progress is not None
    assert len(steps(found.output_path)) == found.progress.step
    assert workers.leftovers(job) == []


def test_a_stopping_training_whose_time_is_up_keeps_its_last_checkpoint(workers: Workers) -> None:
    job = workers.add(Stepper, '{"steps": 100000, "every": 3}')
    _, handle = workers.launch()
    wait_for(lambda: workers.store.get(job.id).checkpoint, what="a checkpoint")
    # While no checkpoint is being made, as it stops at the next one by itself.
    workers.faults.write()
    assert workers.store.move(job.id, [JobState.RUNNING], JobState.STOPPING) is not None
    os.kill(handle.pid, signal.SIGTERM)
    assert workers.ended(handle).status == 0
    found = workers.store.get(job.id)
    assert found.state is JobState.COMPLETED
    assert len(steps(found.output_path)) % 3 == 0


def test_without_a_checkpoint_there_is_nothing_to_keep(workers: Workers) -> None:
    job = workers.add(Stepper, '{"steps": 100000, "every": 0}')
    _, handle = workers.launch()
    wait_for(lambda: workers.store.get(job.id).progress, what="some steps")
    assert workers.store.move(job.id, [JobState.RUNNING], JobState.STOPPING) is not None
    os.kill(handle.pid, signal.SIGTERM)
    assert workers.ended(handle).status == 0
    assert workers.store.get(job.id).state is JobState.STOPPING, "the scheduler ends it"
    assert workers.leftovers(job) == []
    workers.store.move(job.id, [JobState.STOPPING], JobState.CANCELED)


def test_a_cancel_comes_by_the_store_too(workers: Workers) -> None:
    """No scheduler sends a signal here."""
    job = workers.add(Stepper, '{"steps": 100000}')
    _, handle = workers.launch()
    alter(workers, job.id, JobState.RUNNING, JobState.CANCELING)
    assert workers.ended(handle).status == 128 + signal.SIGTERM
    found = workers.store.get(job.id)
    assert (found.state, found.reasons) == (JobState.CANCELING, ())
    assert not Path(found.output_path).exists()
    workers.store.move(job.id, [JobState.CANCELING], JobState.CANCELED)


def test_an_attempt_that_does_not_count_any_more_leaves_nothing_of_what_it_saves(
    workers: Workers,
) -> None:
    note = workers.folder / "tireless"
    job = workers.add(Tireless, json.dumps({"note": str(note)}), retries=1)
    _, handle = workers.launch()
    wait_for(note.exists)
    assert workers.store.release(job.id, attempt=1, reasons=("lease",)) is not None
    assert workers.ended(handle).status == LOST_STATUS
    assert workers.leftovers(job) == []
    workers.store.move(job.id, [JobState.QUEUED], JobState.CANCELED)


def test_an_attempt_that_does_not_count_any_more_ends_with_its_children(workers: Workers) -> None:
    note = workers.folder / "family"
    job = workers.add(Family, json.dumps({"note": str(note)}), retries=1)
    lost, handle = workers.launch()
    family = json.loads(wait_for(lambda: note.exists() and note.read_text()))
    assert workers.store.release(job.id, attempt=1, reasons=("lease",)) is not None
    assert workers.ended(handle).status == LOST_STATUS
    wait_for(lambda: not start_token(family[1]), what="the end of its child")
    assert not partial_path(lost).exists()
    workers.store.move(job.id, [JobState.QUEUED], JobState.CANCELED)
    for pid in family[2:]:  # of a session of their own: those the scheduler finds
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_training_whose_store_is_gone_ends_and_says_why(tmp_path: Path) -> None:
    note = tmp_path / "tireless"
    with running_workers(tmp_path) as workers:
        job = workers.add(Tireless, json.dumps({"note": str(note)}), retries=1)
        _, handle = workers.launch()
        wait_for(note.exists)
        for file in (tmp_path / "store").glob("jobs.sqlite3*"):
            file.unlink()
        assert workers.ended(handle).status == LOST_STATUS
        assert workers.leftovers(job) == []
        found = Path(job.log_path).read_text()
        assert found.count("is gone: its file was removed. Nobody would learn") == 1
        assert found.count("jobs.sqlite3") == 1


def test_a_second_worker_of_an_attempt_is_not_wanted(workers: Workers) -> None:
    job = workers.add(Empty)
    claimed, handle = workers.launch()
    second = workers.launcher.launch(claimed)
    assert {workers.ended(handle).status, workers.ended(second).status} == {0}
    assert workers.store.get(job.id).state is JobState.COMPLETED


def test_files_of_the_trainings_own_go_with_it(workers: Workers) -> None:
    job: Any = workers.run(Stepper, '{"steps": 2}')
    assert job.state is JobState.COMPLETED
    assert not checkpoint_root(job).exists()
