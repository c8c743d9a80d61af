"""Workers that stand still, or are cancelled, while their model is on its way to its place."""

import contextlib
import os
import signal
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kitfox.modules import load_model
from kitfox.training import Job, JobState, JobStore, Scheduler, SubprocessLauncher, WorkerHandle
from kitfox.training.jobs import JobOptions
from kitfox.training.processes import start_token
from kitfox.training.publication import trainer
from tests.training.faults import Call, Fault, environment
from tests.waiting import wait_for

from .conftest import LIBRARIES, Trainings
from .trainers import Empty, Hesitant, Waiter

pytestmark = pytest.mark.slow

LEASE = 5
"""Long enough for the later worker, which a busy machine may keep waiting."""


class FirstAttemptLauncher:
    """Starts first attempts in another environment than those that follow."""

    def __init__(self, store_url: str, environ: Mapping[str, str]) -> None:
        self._first = SubprocessLauncher(store_url=store_url, environ=environ)
        self._later = SubprocessLauncher(store_url=store_url)

    def prepare(self) -> None:
        pass

    def launch(self, job: Job) -> WorkerHandle:
        return (self._first if job.attempt == 1 else self._later).launch(job)

    def close(self) -> None:
        pass


@pytest.fixture
def submit(start_trainings: Callable[..., Trainings]) -> Callable[[Fault], tuple[Trainings, Job]]:
    """Has a training begun whose first attempt meets a fault, and that may be begun again."""

    def do(fault: Fault) -> tuple[Trainings, Job]:
        trainings = start_trainings(lease=LEASE)
        launcher = FirstAttemptLauncher(trainings.store.url, environment(fault))
        trainings.service.scheduler._launcher = launcher
        job = trainings.service.start(Empty, {}, "m", options=JobOptions(retries=1))
        return trainings, job

    return do


@pytest.mark.parametrize(
    ("calls", "number"), [("mkdir", 2), ("write", 1), ("fsync", 1), ("rename", 2), ("fsync", 99)]
)
def test_a_worker_that_stands_still_past_its_lease_is_followed_by_one_model(
    submit: Callable[[Fault], tuple[Trainings, Job]], tmp_path: Path, calls: Call, number: int
) -> None:
    """Before saving, while saving, while syncing, with the store's lock; then not at all."""
    models = tmp_path / "models"
    fault = Fault(calls=(calls,), number=number, action="stop", below=models)
    trainings, job = submit(fault)
    pid = trainings.begun(job)
    stopped = number < 99
    found = wait_for(
        lambda: (now := trainings.store.get(job.id)).state is JobState.COMPLETED and now,
        what="the model",
    )
    assert (found.attempt, found.deaths) == ((2, 1) if stopped else (1, 0))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not start_token(pid), what="the end of the first worker")
    assert trainer(Path(job.output_path)) == (job.id, found.attempt)
    assert load_model(job.output_path).value == "nothing"  # type: ignore[attr-defined] # an Empty
    assert trainings.store.get(job.id) == found
    assert trainings.leftovers() == []
    assert [path.name for path in (models / job.id).iterdir()] == ["m"]


def test_a_worker_that_goes_on_after_others_took_over_changes_nothing(
    postgresql_url: str, tmp_path: Path
) -> None:
    """Its host seemed to be gone, and its training was begun again by another."""
    store = JobStore(postgresql_url)
    first, second = (Scheduler(store=store, lease=LEASE) for _ in range(2))
    second._host = "second"
    gate = tmp_path / "gate"
    job = waiting_job(tmp_path, gate)
    first.start()
    first.submit(job)
    pid = int(wait_for(lambda: store.get(job.id).worker_pid))
    first.stop()
    os.kill(pid, signal.SIGSTOP)
    second.start()
    wait_for(lambda: store.get(job.id).attempt == 2 and store.get(job.id).worker_pid)
    gate.touch()
    wait_for(lambda: store.get(job.id).state is JobState.COMPLETED)
    before = store.get(job.id)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not start_token(pid), what="the end of the first worker")
    second.stop()
    assert store.get(job.id) == before
    assert (before.attempt, before.worker_host, before.deaths) == (2, "second", 1)
    assert trainer(Path(job.output_path)) == (job.id, 2)
    assert [path.name for path in Path(job.output_path).parent.iterdir()] == ["m"]
    store.close()


def waiting_job(folder: Path, gate: Path) -> Job:
    import datetime
    import json

    job_id = str(uuid.uuid4())
    return Job(
        id=job_id,
        module_id=Waiter.MODULE_ID,
        created=datetime.datetime.now(datetime.UTC),
        parameters=json.dumps({"gate": str(gate)}),
        libraries=LIBRARIES,
        output_path=str(folder / "models" / job_id / "m"),
        log_path=str(folder / "the-job.log"),
        retries=1,
    )


@pytest.mark.parametrize("times", [1, 2])
def test_a_training_is_cancelled_while_its_model_is_saved(
    start_trainings: Callable[..., Trainings], times: int
) -> None:
    trainings = start_trainings()
    note = trainings.folder / "note"
    job = trainings.service.start(Hesitant, {"note": str(note)})
    wait_for(note.exists, what="the save")
    for _ in range(times):
        trainings.service.cancel(job.id)
    trainings.in_state(job, JobState.CANCELED)
    assert list(trainings.folder.glob("models/*")) == []
    assert trainings.service.model_path(job.id) is None


def test_a_cancel_after_the_end_changes_nothing(trainings: Trainings) -> None:
    job = trainings.ended(trainings.service.start(Empty, {}))
    assert trainings.service.cancel(job.id).state is JobState.COMPLETED
    assert trainings.service.model_path(job.id) is not None
