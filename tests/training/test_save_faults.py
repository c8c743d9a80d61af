"""Workers that are killed, and disks that fail, at every single step of saving and telling."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitfox.modules import load_model
from kitfox.modules.manifest import read_manifest, size_problem
from kitfox.training import Job, JobState, publication
from kitfox.training.jobs import TERMINAL
from kitfox.training.settlement import Settlement

from .faults import Action, Call, Fault, calls_made
from .trainers import Stepper
from .workers import Workers, running_workers

pytestmark = pytest.mark.slow

CHANGES: tuple[Call, ...] = ("write", "fsync", "truncate", "rename", "unlink", "mkdir")
"""What changes something on a disk."""
PARAMETERS = json.dumps({"steps": 1, "every": 1, "size": 10})
"""A checkpoint, then a model, of three files each."""
PLAIN = json.dumps({"steps": 1, "every": 0, "size": 10})
"""The model alone."""
DYING = json.dumps({"steps": 3, "every": 1, "die_at": 2})
"""Three steps, of which a first attempt makes two, and checkpoints of them."""
LOOKS: tuple[Call, ...] = ("open", "read")
"""What only looks at a disk."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with running_workers(tmp_path_factory.mktemp("faults")) as found:
        yield found


@pytest.fixture(autouse=True)
def without_faults(workers: Workers) -> Iterator[None]:
    yield
    workers.faults.write()


def count(
    workers: Workers,
    below: Path,
    calls: tuple[Call, ...] = CHANGES,
    parameters: str = PARAMETERS,
) -> int:
    """How many such calls a training makes that nothing happens to."""
    note = workers.folder / "note"
    note.unlink(missing_ok=True)
    workers.faults.write(Fault(calls=calls, below=below), note=note)
    assert workers.run(Stepper, parameters).state is JobState.COMPLETED
    return calls_made(note)


def attempt(workers: Workers, job: Job) -> Job:
    """The record once an attempt is over and, should that have been needed, settled."""
    _, handle = workers.launch()
    how = workers.ended(handle)
    found, settlement = workers.store.get(job.id), Settlement(workers.store)
    if found.state in TERMINAL:
        settlement.clear(found, found.attempt)
        return found
    settled = settlement.settle(found, str(how))
    assert settled is not None
    return settled


def check(workers: Workers, job: Job, where: str) -> None:
    """A model is there, whole, if and only if its training is complete."""
    place = Path(job.output_path)
    assert place.exists() == (job.state is JobState.COMPLETED), where
    if job.state is JobState.COMPLETED:
        manifest = read_manifest(place)
        assert manifest is not None, where
        assert size_problem(place, manifest) == "", where
        model = load_model(str(place))
        assert isinstance(model, Stepper), where
        assert len(model.done) == 1, where
        assert workers.leftovers(job) == [], where
    else:
        left = [name for name in workers.leftovers(job) if not name.endswith(".checkpoints")]
        assert left == [], where


@pytest.mark.parametrize("place", ["models", "store"])
def test_a_worker_that_is_killed_at_any_step_is_replaced(workers: Workers, place: str) -> None:
    below = workers.folder / place
    steps = count(workers, below)
    assert steps > 10
    for number in range(1, steps + 1):
        workers.faults.write(Fault(calls=CHANGES, below=below, number=number, action="kill"))
        where = f"killed before the change number {number} of {steps} in {place}"
        job = workers.add(Stepper, PARAMETERS, retries=1)
        found = attempt(workers, job)
        assert found.state in (JobState.QUEUED, JobState.COMPLETED), where
        check(workers, found, where)
        if found.state is JobState.QUEUED:
            assert found.reasons == ("worker was killed by signal 9 (SIGKILL)",), where
            workers.faults.write()
            found = attempt(workers, job)
            assert (found.state, found.attempt, found.reasons) == (JobState.COMPLETED, 2, ())
            check(workers, found, where)


@pytest.mark.parametrize("action", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("place", ["models", "store"])
def test_any_step_may_fail(workers: Workers, place: str, action: Action) -> None:
    """The training is complete all the same, or it has failed and says why."""
    calls, parameters = CHANGES, PARAMETERS
    if action == "EIO":
        calls, parameters = (*CHANGES, "open"), PLAIN
    below = workers.folder / place
    steps = count(workers, below, calls, parameters)
    ends = set()
    for number in range(1, steps + 1):
        workers.faults.write(Fault(calls=calls, below=below, number=number, action=action))
        where = f"{action} in place of call number {number} of {steps} in {place}"
        found = attempt(workers, workers.add(Stepper, parameters))
        ends.add(found.state)
        assert found.state in (JobState.COMPLETED, JobState.ERRORED), where
        check(workers, found, where)
        if found.state is JobState.ERRORED:
            (reason,) = found.reasons
            expected = "The disk is full while" if action == "ENOSPC" else "Input/output error"
            assert expected in reason, f"{where}: {reason}"
    assert JobState.COMPLETED in ends
    workers.faults.write()
    assert workers.run(Stepper, PARAMETERS).state is JobState.COMPLETED


def test_the_model_that_is_replaced_is_there_until_the_new_one_is(workers: Workers) -> None:
    """Killed at any step, without a further attempt: the old model, whole, or the new one."""
    place = workers.models / "served"
    values = {"output_path": str(place), "overwrite": True}
    workers.run(Stepper, json.dumps({"steps": 2, "every": 0}), **values)
    steps = count(workers, workers.models, parameters=PLAIN)
    for number in range(1, steps + 2):  # what is replaced is one more than nothing
        fault = Fault(calls=CHANGES, below=workers.models, number=number, action="kill")
        workers.faults.write(fault)
        where = f"killed before the change number {number} of {steps}"
        found = attempt(workers, workers.add(Stepper, PLAIN, **values))
        model = load_model(str(place))
        assert isinstance(model, Stepper), where
        assert len(model.done) == (1 if found.state is JobState.COMPLETED else 2), where
        manifest = read_manifest(place)
        assert manifest is not None, where
        assert size_problem(place, manifest) == "", where
        assert [path.name for path in workers.models.glob(".*")] == [], where
        if found.state is JobState.COMPLETED:
            workers.faults.write()
            workers.run(Stepper, json.dumps({"steps": 2, "every": 0}), **values)


def to_resume(workers: Workers) -> Job:
    """A training that waits for its second attempt, with two checkpoints of its first."""
    job = workers.add(Stepper, DYING, retries=1)
    found = attempt(workers, job)
    assert found.state is JobState.QUEUED
    return found


def test_a_training_goes_on_from_its_checkpoint_though_a_look_at_it_fails(
    workers: Workers,
) -> None:
    """Or it fails and says why, and the checkpoint stays."""
    note = workers.folder / "note"
    note.unlink(missing_ok=True)
    job = to_resume(workers)
    below = publication.checkpoint_root(job)
    workers.faults.write(Fault(calls=LOOKS, below=below), note=note)
    assert attempt(workers, job).state is JobState.COMPLETED
    steps = calls_made(note)
    assert steps > 5
    for number in range(1, steps + 1):
        workers.faults.write()
        job = to_resume(workers)
        below = publication.checkpoint_root(job)
        workers.faults.write(Fault(calls=LOOKS, below=below, number=number))
        where = f"EIO in place of call number {number} of {steps}"
        found = attempt(workers, job)
        if found.state is JobState.COMPLETED:
            model = load_model(found.output_path)
            assert isinstance(model, Stepper), where
            assert model.done == [1, 1, 2], where
        else:
            assert found.state is JobState.ERRORED, where
            (reason,) = found.reasons
            assert "Input/output error" in reason, f"{where}: {reason}"
            assert publication.newest_checkpoint(found), where


def test_no_training_begins_anew_because_its_checkpoint_cannot_be_read(workers: Workers) -> None:
    job = to_resume(workers)
    newest = Path(job.checkpoint)
    workers.faults.write(Fault(calls=LOOKS, below=newest, number=1, lasting=True))
    found = attempt(workers, job)
    assert found.state is JobState.ERRORED
    (reason,) = found.reasons
    assert reason.startswith(f"The checkpoint {newest} cannot be read: ")
    assert reason.endswith("Input/output error")
    workers.faults.write()
    again = workers.run(Stepper, DYING, resume_path=str(newest))  # as `kitfox jobs retry` does
    model = load_model(again.output_path)
    assert isinstance(model, Stepper)
    assert model.done == [1, 1, 1]
