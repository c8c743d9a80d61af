"""What becomes of a job whose worker is gone: each state it may be in, each thing it may leave."""

import datetime
import errno
import os
from pathlib import Path

import pytest

from kitfox.modules import load_model
from kitfox.modules.manifest import MANIFEST, UnreadableModel
from kitfox.modules.publication import make_folder
from kitfox.training import Job, JobState, JobStore, Scheduler
from kitfox.training.publication import checkpoint_root, discard, partial_path, put_in_place, seal
from kitfox.training.settlement import Settlement

from .trainers import Empty


@pytest.fixture
def job(store: JobStore, tmp_path: Path) -> Job:
    """A job whose worker has begun and is gone."""
    store.add(
        Job(
            id="the-job",
            module_id=Empty.MODULE_ID,
            created=datetime.datetime.now(datetime.UTC),
            output_path=str(tmp_path / "models" / "the-job" / "m"),
        )
    )
    store.claim(host=os.uname().nodename)
    begun = store.begin("the-job", attempt=1, pid=2**22 + 1, start="1@then", environment={})
    assert begun is not None
    return begun


def save(job: Job, value: str, folder: Path) -> None:
    make_folder(folder.parent)
    Empty(value).save(str(folder))
    seal(folder, job)


def save_checkpoint(store: JobStore, job: Job, value: str) -> None:
    folder = checkpoint_root(job) / f"1-{value}"
    save(job, value, folder)
    store.beat(job.id, attempt=1, checkpoint=str(folder))


def in_state(store: JobStore, job: Job, state: JobState) -> Job:
    """The job after somebody has asked for something."""
    if state is JobState.RUNNING:
        return store.get(job.id)
    moved = store.move(job.id, [JobState.RUNNING], state)
    assert moved is not None
    return moved


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.STOPPING, JobState.CANCELING])
def test_a_model_that_is_in_place_completes_its_job(
    store: JobStore, job: Job, state: JobState
) -> None:
    save_checkpoint(store, job, "early")
    save(job, "whole", partial_path(job))
    put_in_place(job)
    settled = Settlement(store).settle(in_state(store, job, state), "worker died")
    assert settled is not None
    assert (settled.state, settled.reasons) == (JobState.COMPLETED, ())
    assert load_model(job.output_path).value == "whole"  # type: ignore[attr-defined] # an Empty
    assert not checkpoint_root(job).exists()


@pytest.mark.parametrize(
    ("state", "end", "reasons"),
    [
        (JobState.RUNNING, JobState.ERRORED, ("worker died",)),
        (JobState.STOPPING, JobState.CANCELED, ("stopped before its first checkpoint",)),
        (JobState.CANCELING, JobState.CANCELED, ()),
    ],
)
def test_what_is_half_saved_is_cleared_away(
    store: JobStore, job: Job, state: JobState, end: JobState, reasons: tuple[str, ...]
) -> None:
    make_folder(partial_path(job))
    settled = Settlement(store).settle(in_state(store, job, state), "worker died")
    assert settled is not None
    assert (settled.state, settled.reasons) == (end, reasons)
    assert not Path(job.output_path).parent.exists()


def test_the_last_checkpoint_of_a_job_that_is_to_stop_becomes_its_model(
    store: JobStore, job: Job
) -> None:
    for value in ("first", "second"):
        save_checkpoint(store, job, value)
    settled = Settlement(store).settle(in_state(store, job, JobState.STOPPING), "worker died")
    assert settled is not None
    assert (settled.state, settled.reasons) == (JobState.COMPLETED, ())
    assert load_model(job.output_path).value == "second"  # type: ignore[attr-defined] # an Empty
    assert [path.name for path in Path(job.output_path).parent.iterdir()] == ["m"]


def test_something_else_in_the_place_of_a_job_that_is_to_stop_is_left_there(
    store: JobStore, job: Job
) -> None:
    save_checkpoint(store, job, "first")
    make_folder(Path(job.output_path))
    settled = Settlement(store).settle(in_state(store, job, JobState.STOPPING), "worker died")
    assert settled is not None
    assert settled.state is JobState.ERRORED
    assert "left as it is" in settled.reasons[0]
    assert list(Path(job.output_path).iterdir()) == []


def test_checkpoints_of_a_failure_and_of_a_job_that_is_tried_again_stay(
    store: JobStore, job: Job
) -> None:
    save_checkpoint(store, job, "first")
    settled = Settlement(store).settle(store.get(job.id), "worker died")
    assert settled is not None
    assert settled.state is JobState.ERRORED
    assert checkpoint_root(job).exists()


@pytest.mark.parametrize(
    ("ask", "end"), [("stop_job", JobState.COMPLETED), ("cancel", JobState.CANCELED)]
)
def test_the_checkpoint_of_a_job_that_waits_to_be_tried_again_is_kept_or_cleared_away(
    store: JobStore, job: Job, ask: str, end: JobState
) -> None:
    save_checkpoint(store, job, "first")
    store.move(job.id, [JobState.RUNNING], JobState.QUEUED, attempt=1)
    assert getattr(Scheduler(store=store), ask)(job.id).state is end
    assert store.get(job.id).state is end
    assert not checkpoint_root(job).exists()
    assert Path(job.output_path).exists() is (end is JobState.COMPLETED)


def test_a_job_that_somebody_has_changed_meanwhile_is_looked_at_again(
    store: JobStore, job: Job
) -> None:
    running = store.get(job.id)
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    assert Settlement(store).settle(running, "worker died") is None
    assert store.get(job.id).state is JobState.CANCELING


class UnreadableManifest:
    """A manifest that the disk does not give: a link that leads to itself."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self._aside = folder / "aside"
        self.path.rename(self._aside)
        self.path.symlink_to(self.path)

    def mend(self) -> None:
        self._aside.replace(self.path)


def test_a_checkpoint_that_cannot_be_read_just_now_is_waited_for(store: JobStore, job: Job) -> None:
    """A job that is to keep what it has does not end without because of an error of the disk."""
    save_checkpoint(store, job, "kept")
    unreadable = UnreadableManifest(checkpoint_root(job) / "1-kept")
    stopping, settlement = in_state(store, job, JobState.STOPPING), Settlement(store)
    for _ in range(2):
        with pytest.raises(UnreadableModel, match=r"The checkpoint .*/1-kept cannot be read: "):
            settlement.settle(stopping, "worker died")
    assert store.get(job.id).state is JobState.STOPPING
    unreadable.mend()
    settled = settlement.settle(stopping, "worker died")
    assert settled is not None
    assert settled.state is JobState.COMPLETED
    assert load_model(job.output_path).value == "kept"  # type: ignore[attr-defined] # an Empty


def test_a_model_that_cannot_be_read_just_now_is_waited_for(store: JobStore, job: Job) -> None:
    save(job, "whole", partial_path(job))
    put_in_place(job)
    unreadable = UnreadableManifest(Path(job.output_path))
    with pytest.raises(UnreadableModel, match=r"The model .*/the-job/m cannot be read: "):
        Settlement(store).settle(store.get(job.id), "worker died")
    assert store.get(job.id).state is JobState.RUNNING
    unreadable.mend()
    settled = Settlement(store).settle(store.get(job.id), "worker died")
    assert settled is not None
    assert settled.state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (JobState.RUNNING, JobState.ERRORED),
        (JobState.STOPPING, JobState.ERRORED),
        (JobState.CANCELING, JobState.CANCELED),
    ],
)
def test_what_cannot_be_read_for_long_is_told_and_left(
    store: JobStore, job: Job, state: JobState, end: JobState
) -> None:
    save_checkpoint(store, job, "kept")
    UnreadableManifest(checkpoint_root(job) / "1-kept")
    save(job, "whole", partial_path(job))
    put_in_place(job)
    UnreadableManifest(Path(job.output_path))
    settled = Settlement(store, patience=0).settle(in_state(store, job, state), "worker died")
    assert settled is not None
    assert settled.state is end
    assert settled.reasons[0].startswith("worker died; The model ")
    assert (checkpoint_root(job) / "1-kept").exists() is (end is JobState.ERRORED)


def test_an_old_model_that_cannot_be_put_back_is_not_removed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is all that there is, when a worker has died between two renames."""
    place = Path(job.output_path)
    aside = place.with_name(f".{place.name}.{job.id}.{job.attempt}.replaced")
    save(job, "old", aside)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        discard(job)
    discard(job)
    assert load_model(str(place)).value == "old"  # type: ignore[attr-defined] # an Empty
    assert not aside.exists()


def failing(path: Path, target: Path) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
