"""Checkpoints: whole models beside the place, found again, and published when asked for."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kitfox.errors import DiskFull
from kitfox.modules import ModuleBase, load_model
from kitfox.modules.manifest import MANIFEST
from kitfox.modules.publication import make_folder
from kitfox.training import Job, publication
from kitfox.training.checkpoints import Checkpoints

from .trainers import Empty

MakeJob = Callable[..., Job]


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    return make_job(attempt=1)


def value(folder: Path | str) -> object:
    found: ModuleBase = load_model(str(folder))
    assert isinstance(found, Empty)
    return found.value


def test_a_checkpoint_is_a_model(job: Job) -> None:
    checkpoints = Checkpoints(job)
    place = checkpoints.save(Empty("early"), 3)
    assert (place.parent, place.name) == (publication.checkpoint_root(job), "1-3")
    assert value(place) == "early"
    assert not Path(job.output_path).exists()
    assert [path.name for path in place.parent.iterdir()] == ["1-3"]


def test_a_step_may_be_saved_twice(job: Job) -> None:
    checkpoints = Checkpoints(job)
    first, second = checkpoints.save(Empty("a"), 3), checkpoints.save(Empty("b"), 3)
    assert (value(first), value(second)) == ("a", "b")


def test_the_newest_are_kept(job: Job) -> None:
    checkpoints = Checkpoints(job, kept=2)
    (checkpoints.files / "optimizer").touch()
    for step in range(1, 6):
        newest = checkpoints.save(Empty(step), step)
        checkpoints.drop_old(newest)
    left = sorted(path.name for path in publication.checkpoint_root(job).iterdir())
    assert left == ["1-4", "1-5", "files"]
    assert (checkpoints.files / "optimizer").exists()


def test_the_next_attempt_goes_on_from_what_the_store_knows(job: Job) -> None:
    checkpoints = Checkpoints(job)
    recorded, later = checkpoints.save(Empty("known"), 1), checkpoints.save(Empty("unknown"), 2)
    again = replace(job, attempt=2, checkpoint=str(recorded))
    assert Checkpoints(again).to_resume() == recorded
    assert Checkpoints(replace(again, checkpoint="")).to_resume() == later


def test_a_damaged_checkpoint_is_passed_over(job: Job) -> None:
    checkpoints = Checkpoints(job)
    older, recorded = checkpoints.save(Empty("older"), 1), checkpoints.save(Empty("newer"), 2)
    (recorded / "config.yml").write_text("")
    again = replace(job, attempt=2, checkpoint=str(recorded))
    assert Checkpoints(again).to_resume() == older
    (older / MANIFEST).write_text("{")
    assert Checkpoints(again).to_resume() is None


def test_a_new_job_may_begin_from_the_checkpoint_of_another(job: Job, make_job: MakeJob) -> None:
    lent = Checkpoints(job).save(Empty("lent"), 9)
    (Checkpoints(job).files / "optimizer").write_text("state")
    other = Checkpoints(make_job(attempt=1, resume_path=str(lent)))
    assert other.to_resume() == lent
    for _ in range(2):
        assert (other.files / "optimizer").read_text() == "state"
        (Checkpoints(job).files / "optimizer").write_text("changed later")
    shutil.rmtree(lent)
    assert other.to_resume() is None


def test_a_checkpoint_that_cannot_be_saved_leaves_nothing(job: Job) -> None:
    class Large(Empty):
        def save(self, model_path: str) -> None:
            super().save(model_path)
            raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(job)
    with pytest.raises(DiskFull, match=r"while saving a checkpoint: at least .* bytes needed, "):
        checkpoints.save(Large("large"), 1)
    assert list(publication.checkpoint_root(job).iterdir()) == []


def test_the_newest_checkpoint_can_be_published(job: Job) -> None:
    assert not publication.stage_checkpoint(job), "there is none"
    checkpoints = Checkpoints(job)
    checkpoints.save(Empty("older"), 1)
    recorded = checkpoints.save(Empty("newer"), 2)
    stopping = replace(job, attempt=2, checkpoint=str(recorded))
    make_folder(publication.partial_path(stopping))
    (publication.partial_path(stopping) / "half").touch()
    for _ in range(2):  # whoever did it may have died after it
        assert publication.stage_checkpoint(stopping)
    publication.put_in_place(stopping)
    assert publication.is_published(stopping)
    assert value(stopping.output_path) == "newer"
    publication.discard(stopping, checkpoints=True)
    assert list(Path(job.output_path).parent.iterdir()) == [Path(job.output_path)]


def test_a_model_that_was_sealed_is_published_rather_than_a_checkpoint(job: Job) -> None:
    Checkpoints(job).save(Empty("checkpoint"), 1)
    Empty("model").save(str(publication.partial_path(job)))
    publication.seal(publication.partial_path(job), job)
    assert publication.stage_checkpoint(job)
    publication.put_in_place(job)
    assert value(job.output_path) == "model"


def test_a_copy_of_a_checkpoint_that_is_being_made_a_model_does_not_count(job: Job) -> None:
    """A module's `save` may begin by copying what it had loaded, with its manifest."""
    checkpoint = Checkpoints(job).save(Empty("checkpoint"), 1)
    shutil.copytree(checkpoint, publication.partial_path(job))
    assert publication.stage_checkpoint(job)
    assert not checkpoint.exists(), "the checkpoint itself has been taken"


def test_what_an_earlier_attempt_has_put_in_place_is_replaced(job: Job) -> None:
    for attempt in (1, 2):
        now = replace(job, attempt=attempt)
        Empty(attempt).save(str(publication.partial_path(now)))
        publication.seal(publication.partial_path(now), now)
        publication.put_in_place(now)
        publication.discard(now)
        assert publication.is_published(now)
    assert value(job.output_path) == 2
    assert list(Path(job.output_path).parent.iterdir()) == [Path(job.output_path)]
