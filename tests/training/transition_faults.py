"""Each transition of a scheduler with a disk that fails at one of its calls, and then no more.

Run as `python -m tests.training.transition_faults FOLDER ACTION MOST CALLS`, with the environment
of a `FaultFile`: goes through those CALLS that each transition makes, MOST of them at most, and
makes one of them fail in the way of ACTION. Ends with an error at the first thing that is not as
it should be.

The workers are shells, which know nothing of the store: what fails is the scheduler's alone.
"""

import datetime
import logging
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kitfox.errors import JobNotFound
from kitfox.modules.publication import make_folder
from kitfox.training import (
    Job,
    JobState,
    JobStore,
    Scheduler,
    TrainingService,
    processes,
    publication,
)
from kitfox.training.job_log import open_log
from kitfox.training.jobs import TERMINAL
from kitfox.training.launchers import ChildWorker, WorkerHandle
from kitfox.training.processes import JOB_VARIABLE, job_mark
from kitfox.training.retention import Retention
from tests.waiting import wait_for

from .faults import Action, Call, Fault, FaultFile, calls_made

log = logging.getLogger(__name__)

CALLS: dict[str, tuple[Call, ...]] = {
    "changes": ("write", "fsync", "truncate", "rename", "unlink", "mkdir"),
    "looks": ("open", "read"),
}
FAILS, LASTS = "exit 3", "exec sleep 600"
"""Workers."""


class ShellLauncher:
    """Runs the parameters of a job in a shell, on which no faults come."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.started: dict[str, int] = {}
        """The last worker of each job."""
        self._environ = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}

    def prepare(self) -> None:
        pass

    def launch(self, job: Job) -> WorkerHandle:
        script = self._store.parameters(job.id)
        log = open_log(job.log_path)
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", script],
                stdout=log,
                stderr=log,
                env={**self._environ, JOB_VARIABLE: job_mark(self._store.url, job.id)},
                start_new_session=True,
            )
        finally:
            os.close(log)
        self.started[job.id] = process.pid
        return ChildWorker(process)

    def close(self) -> None:
        pass


class HoldableScheduler(Scheduler):
    """Can be kept from claiming what is added from now on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._claiming = threading.Lock()

    def hold(self) -> None:
        """Leaves it no place for a job, until `max_concurrent` is something else."""
        with self._claiming:  # else it may have read the number already
            self.max_concurrent = 0

    def _fill(self) -> None:
        with self._claiming:
            super()._fill()


class Ground:
    """A store, its scheduler and its folders, and faults below all of it."""

    def __init__(self, folder: Path, action: Action, calls: tuple[Call, ...]) -> None:
        self.folder = folder / "ground"
        self.folder.mkdir()
        self._action = action
        self._calls = calls
        self._note = folder / "note"
        self._faults = FaultFile(Path(os.environ[FaultFile.VARIABLE]))
        self.store = JobStore(f"sqlite:///{self.folder / 'jobs.sqlite3'}")
        self.launcher = ShellLauncher(self.store)
        self.scheduler = HoldableScheduler(
            store=self.store,
            launcher=self.launcher,
            stop_grace=0.01,
            cancel_grace=5,
        )
        self.service = TrainingService(
            store=self.store, scheduler=self.scheduler, output_dir=self.folder / "models"
        )

    @contextmanager
    def fault(self, number: int) -> Iterator[None]:
        """Makes that call of this process fail that comes as the number-th from now on."""
        self._note.unlink(missing_ok=True)
        fault = Fault(calls=self._calls, below=self.folder, number=number, action=self._action)
        self._faults.write(fault, note=self._note)
        self._faults.apply()
        try:
            yield
        finally:
            self._faults.write()
            self._faults.apply()

    def calls(self) -> int:
        """How many calls there were in the last `fault`."""
        return calls_made(self._note)

    def job(self, script: str, **values: Any) -> Job:
        """A new record, which is in no store."""
        job_id = str(uuid.uuid4())
        return Job(
            **{
                "id": job_id,
                "module_id": "11111111-2222-3333-4444-555555555555",
                "created": datetime.datetime.now(datetime.UTC),
                "parameters": script,
                "output_path": str(self.folder / "models" / job_id / "m"),
                "log_path": str(self.folder / "logs" / f"{job_id}.log"),
                **values,
            }
        )

    def running(self) -> Job:
        """A job with a worker and a checkpoint."""
        job = self.job(LASTS)
        self.scheduler.submit(job)
        self.reach(job, JobState.RUNNING)
        log = Path(job.log_path)  # made right before the worker is started
        wait_for(log.exists, what="the worker")
        return self.with_checkpoint(job)

    def waiting_again(self) -> Job:
        """A job with a checkpoint whose first attempt is over, and that waits."""
        self.scheduler.hold()
        job = self.job(FAILS, retries=1)
        self.store.add(job)
        self.store.claim_next(host="here")
        job = self.with_checkpoint(job)
        # The scheduler may have given it back: it takes up what it finds after the last fault.
        self.store.release(job.id, attempt=1, reasons=("it died",))
        return self.reach(job, JobState.QUEUED)

    def completed(self) -> Job:
        """A job with a model."""
        job = self.waiting_again()
        assert self.scheduler.stop_job(job.id).state is JobState.COMPLETED
        return self.store.get(job.id)

    def with_checkpoint(self, job: Job) -> Job:
        job = self.store.get(job.id)
        folder = publication.checkpoint_root(job) / "1-1"
        make_folder(folder)
        (folder / "weights").write_text("1")
        publication.seal(folder, job)
        self.store.beat(job.id, attempt=job.attempt, checkpoint=str(folder))
        return self.store.get(job.id)

    def reach(self, job: Job, *states: JobState) -> Job:
        wait_for(
            lambda: self.store.get(job.id).state in states,
            what=f"{states} of {self.store.get(job.id)}",
            seconds=60,
        )
        return self.store.get(job.id)

    def ended(self, job: Job, *states: JobState) -> Job:
        """The job at its end, which must be one of these."""
        found = self.reach(job, *TERMINAL)
        assert found.state in states, found
        whole = publication.is_published(found)
        assert whole is (found.state is JobState.COMPLETED), found
        return found

    def is_kept(self, job: Job) -> bool:
        try:
            self.store.get(job.id)
        except JobNotFound:
            return False
        return True


Act = Callable[[], object]
Check = Callable[[], object]
Transition = Callable[[Ground], tuple[Act, Check]]


def life(ground: Ground) -> tuple[Act, Check]:
    """Added, claimed, begun, dead, in the queue again, claimed, dead, settled."""
    job = ground.job(FAILS, retries=1)

    def act() -> None:
        ground.scheduler.submit(job)
        ground.reach(job, *TERMINAL)

    def check() -> None:
        if ground.is_kept(job):  # else its adding was refused
            ground.ended(job, JobState.ERRORED)

    return act, check


def many(ground: Ground) -> tuple[Act, Check]:
    """Claimed together."""
    jobs = [ground.job(FAILS, priority=1) for _ in range(2)]
    ground.scheduler.hold()
    for job in jobs:
        ground.store.add(job)

    def act() -> None:
        ground.scheduler.max_concurrent = 2
        ground.scheduler.submit(ground.job(FAILS))
        for job in jobs:
            ground.reach(job, *TERMINAL)

    def check() -> None:
        for job in jobs:
            ground.ended(job, JobState.ERRORED)

    return act, check


def cancel_waiting(ground: Ground) -> tuple[Act, Check]:
    ground.scheduler.hold()
    job = ground.job(FAILS)
    ground.store.add(job)
    return lambda: ground.scheduler.cancel(job.id), lambda: cancelled(ground, job)


def cancel_waiting_again(ground: Ground) -> tuple[Act, Check]:
    job = ground.waiting_again()
    return lambda: ground.scheduler.cancel(job.id), lambda: cancelled(ground, job)


def cancel_running(ground: Ground) -> tuple[Act, Check]:
    job = ground.running()

    def act() -> None:
        ground.scheduler.cancel(job.id)
        ground.reach(job, *TERMINAL)

    return act, lambda: cancelled(ground, job)


def cancelled(ground: Ground, job: Job) -> None:
    """It has been cancelled, or can be."""
    if ground.store.get(job.id).state in (JobState.QUEUED, JobState.RUNNING):
        ground.scheduler.cancel(job.id)
    ground.ended(job, JobState.CANCELED)


def stop_waiting_again(ground: Ground) -> tuple[Act, Check]:
    job = ground.waiting_again()
    return lambda: ground.scheduler.stop_job(job.id), lambda: stopped(ground, job)


def stop_running(ground: Ground) -> tuple[Act, Check]:
    job = ground.running()

    def act() -> None:
        ground.scheduler.stop_job(job.id)
        ground.reach(job, *TERMINAL)

    return act, lambda: stopped(ground, job)


def stopped(ground: Ground, job: Job) -> None:
    """It has kept its checkpoint, or can be told to."""
    if ground.store.get(job.id).state in (JobState.QUEUED, JobState.RUNNING):
        ground.scheduler.stop_job(job.id)
    ground.ended(job, JobState.COMPLETED)


def retry(ground: Ground) -> tuple[Act, Check]:
    old = ground.job(FAILS)
    ground.scheduler.submit(old)
    ground.ended(old, JobState.ERRORED)

    def act() -> None:
        ground.reach(ground.service.retry(old.id), *TERMINAL)

    def check() -> None:
        for job in ground.store.list(limit=1000):
            if job.retry_of == old.id:
                ground.ended(job, JobState.ERRORED)

    return act, check


def promote(ground: Ground) -> tuple[Act, Check]:
    job = ground.completed()
    ground.store.set(job.id, promotion="wanted")

    def check() -> None:
        assert ground.store.get(job.id).promotion in ("wanted", "done")
        ground.ended(job, JobState.COMPLETED)

    return lambda: ground.store.set(job.id, promotion="done"), check


def delete(ground: Ground) -> tuple[Act, Check]:
    job = ground.completed()

    def check() -> None:
        if ground.is_kept(job):
            ground.ended(job, JobState.COMPLETED)
            ground.service.delete(job.id)
        Retention(store=ground.store).sweep()
        assert not ground.is_kept(job)
        assert not Path(job.output_path).parent.exists()

    return lambda: ground.service.delete(job.id), check


TRANSITIONS: tuple[Transition, ...] = (
    *(life, many, cancel_waiting, cancel_waiting_again, cancel_running),
    *(stop_waiting_again, stop_running, retry, promote, delete),
)


def attempt(ground: Ground, transition: Transition, number: int) -> tuple[int, str]:
    """How many calls a transition has made, and what it said, when one of them has failed."""
    ground.scheduler.max_concurrent = 2
    act, check = transition(ground)
    said = ""
    with ground.fault(number):
        try:
            act()
        except Exception as error:  # noqa: BLE001 -- whatever it says, the checks decide
            said = f"{type(error).__name__}: {error}"
    calls = ground.calls()
    check()
    wait_for(
        lambda: not ground.store.list(states=frozenset(JobState) - TERMINAL),
        what="the end of all jobs",
        seconds=60,
    )
    return calls, said


def main(folder: Path, action: Action, most: int, which: str) -> None:
    """Goes through all of it."""
    ground = Ground(folder, action, CALLS[which])
    ground.scheduler.start()
    try:
        for transition in TRANSITIONS:
            calls, said = attempt(ground, transition, 0)
            assert said == "", (transition.__name__, said)
            assert calls > 1 or which == "looks", transition.__name__
            if calls == 0:  # all that it looks at is in memory
                continue
            # The last ones may differ by a few from one time to another.
            stride = max(1, -(-(calls + 2) // most))
            for number in range(1, calls + 3, stride):
                log.info("%s: %s at call %d of %d", transition.__name__, action, number, calls)
                _, said = attempt(ground, transition, number)
                log.info("It said: %s", said or "nothing")
    finally:
        ground.scheduler.stop()
        for job in ground.store.list(states=frozenset(JobState) - TERMINAL):
            if (pid := ground.launcher.started.get(job.id)) is not None:
                processes.kill_group(pid, signal.SIGKILL)
        ground.store.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    signal.alarm(600)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])  # type: ignore[arg-type] # one of them
