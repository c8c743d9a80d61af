"""Small disks that are full: in saving, in checkpoints, in the job store, in logs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitfox.errors import DiskFull
from kitfox.training import Job, JobState

from .conftest import Trainings
from .small_disks import SIZE, fill, small_disk
from .trainers import Chatty, Empty, Stepper
from .workers import Workers, running_workers

Start = Callable[..., Trainings]


def check_reason(job: Job, what: str, place: Path) -> None:
    """A job has failed for want of room, and says how much is needed, how much free, and where."""
    assert job.state is JobState.ERRORED
    found = re.fullmatch(
        rf"The disk is full while {what}: at least ([\d,]+) bytes needed, ([\d,]+) bytes free at "
        rf"{place}",
        job.reasons[0],
    )
    assert found, job.reasons
    needed, free = (int(number.replace(",", "")) for number in found.groups())
    assert needed > free > SIZE // 2


@pytest.mark.parametrize(("every", "what"), [(0, "saving the model"), (1, "saving a checkpoint")])
def test_a_model_and_a_checkpoint_that_are_too_large(
    start_trainings: Start, tmp_path: Path, every: int, what: str
) -> None:
    """Its training fails and says why; there is room again, and the next one succeeds."""
    with small_disk(tmp_path / "models") as disk:
        trainings = start_trainings(output_dir=disk)
        large = {"steps": 1, "every": every, "size": SIZE // 2}
        job = trainings.ended(trainings.service.start(Stepper, large))
        check_reason(job, what, Path(job.output_path).parent)
        assert list(disk.iterdir()) == []
        small = trainings.service.start(Stepper, {**large, "size": SIZE // 10})
        assert trainings.ended(small).state is JobState.COMPLETED
        trainings.service.scheduler.stop()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with small_disk(tmp_path / "store"), running_workers(tmp_path) as found:
        yield found


def test_a_job_store_without_room(workers: Workers) -> None:
    """What runs comes to its end and is told; new jobs are refused until there is room."""
    store = workers.folder / "store"
    job = workers.add(Stepper, '{"steps": 30, "every": 10}')
    _, handle = workers.launch()
    ballast = fill(store)
    workers.ended(handle)
    found = workers.store.get(job.id)
    assert (found.state, found.reasons) == (JobState.COMPLETED, ())
    assert workers.leftovers(job) == []
    with pytest.raises(DiskFull, match=rf"bytes needed, [\d,]+ bytes free at {store}"):
        workers.add(Empty)
    ballast.unlink()
    assert workers.run(Empty).state is JobState.COMPLETED


def test_a_log_without_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "logs") as disk, running_workers(tmp_path) as workers:
        fill(disk)
        job = workers.run(Chatty, '{"size": 1000000}')
        assert (job.state, job.reasons) == (JobState.COMPLETED, ())
