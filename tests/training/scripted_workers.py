"""Workers that know nothing of training: each runs the parameters of its job as a Python script."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from kitfox.training import Job, JobState, JobStore, Scheduler, WorkerHandle
from kitfox.training.job_log import open_log
from kitfox.training.launchers import ChildWorker
from kitfox.training.processes import JOB_VARIABLE, is_running, job_mark
from tests.waiting import wait_for

StartScheduler = Callable[..., Scheduler]
sqlite_only = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what has to do with one kind of store, or would be the same with the other."""
postgresql_only = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
"""The same."""

BEGIN = """
import os, sys, time, signal, subprocess
from kitfox.training.processes import start_token
from kitfox.training.store import JobStore
from kitfox.training.jobs import JobState

url, job_id, attempt = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = JobStore(url, create=False)
pid = os.getpid()
store.begin(job_id, attempt=attempt, pid=pid, start=start_token(pid), environment={})

def complete():
    store.publish(job_id, attempt=attempt, put_in_place=lambda: None)
"""


class ScriptLauncher:
    """Runs the job's parameters as a Python script."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.launched: list[str] = []

    def prepare(self) -> None:
        pass

    def launch(self, job: Job) -> WorkerHandle:
        self.launched.append(job.id)
        script = self._store.parameters(job.id)
        if script == "no start":
            raise OSError("no such interpreter")
        log = open_log(job.log_path)
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + script, self._store.url, job.id, str(job.attempt)],
            stdout=log,
            stderr=log,
            env={**os.environ, JOB_VARIABLE: job_mark(self._store.url, job.id)},
            start_new_session=True,
        )
        os.close(log)
        return ChildWorker(process)

    def close(self) -> None:
        pass


@pytest.fixture
def start_scheduler(store: JobStore) -> Iterator[StartScheduler]:
    """Starts schedulers, and at the end stops them and kills their workers."""
    started: list[Scheduler] = []

    def start(**options: object) -> Scheduler:
        scheduler = Scheduler(
            **{"store": store, "launcher": ScriptLauncher(store), **options}  # type: ignore[arg-type] # options of the tests
        )
        scheduler.start()
        started.append(scheduler)
        return scheduler

    yield start
    for scheduler in started:
        scheduler.stop()
    for job in store.list(states=[JobState.RUNNING, JobState.CANCELING, JobState.STOPPING]):
        if job.worker_pid and is_running(job.worker_pid, job.worker_start):
            os.killpg(job.worker_pid, signal.SIGKILL)


def ended(store: JobStore, job: Job) -> Job:
    """The job when it has come to its end."""
    final = ("COMPLETED", "CANCELED", "ERRORED")
    wait_for(lambda: store.get(job.id).state in final, what="the end of the job")
    return store.get(job.id)


def begun(store: JobStore, job: Job) -> int:
    """The worker's number, when it has begun."""
    return int(wait_for(lambda: store.get(job.id).worker_pid, what="the worker's begin"))
