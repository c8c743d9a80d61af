"""The scheduler, with workers that know nothing of training: starting, watching, stopping."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitfox.errors import FailedPrecondition, JobNotFound, ResourceExhausted
from kitfox.training import Job, JobState, JobStore, Scheduler, WorkerHandle
from kitfox.training.job_log import open_log
from kitfox.training.launchers import ChildWorker
from kitfox.training.processes import JOB_VARIABLE, is_running, start_token
from kitfox.training.scheduler_lock import SchedulerLock
from tests.waiting import wait_for

Make = Callable[..., Job]
StartScheduler = Callable[..., Scheduler]

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
            env={**os.environ, JOB_VARIABLE: job.id},
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
    for job in store.list(states=[JobState.RUNNING, JobState.CANCELING]):
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


def test_a_job_runs_and_frees_its_place(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(max_concurrent=1)
    jobs = [make_job(parameters="complete()") for _ in range(3)]
    for job in jobs:
        scheduler.submit(job)
    assert [ended(store, job).state for job in jobs] == ["COMPLETED"] * 3
    assert [store.get(job.id).attempt for job in jobs] == [1, 1, 1]


def test_no_more_run_than_may(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\ncomplete()"
    scheduler = start_scheduler(max_concurrent=2)
    jobs = [make_job(parameters=script) for _ in range(3)]
    for job in jobs:
        scheduler.submit(job)
    begun(store, jobs[0])
    begun(store, jobs[1])
    assert store.get(jobs[2].id).state is JobState.QUEUED
    gate.touch()
    assert [ended(store, job).state for job in jobs] == ["COMPLETED"] * 3


def test_a_full_queue_refuses(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(max_concurrent=1, queue_limit=1)
    running = make_job(parameters="time.sleep(60)")
    scheduler.submit(running)
    begun(store, running)
    scheduler.submit(make_job())
    with pytest.raises(ResourceExhausted, match=r"training\.queue_limit is 1"):
        scheduler.submit(make_job())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.kill(pid, signal.SIGKILL)", "worker was killed by signal 9 (SIGKILL)"),
        ("print('nearly', flush=True); os._exit(3)", "worker exited with status 3"),
        ("sys.exit(0)", "worker exited with status 0"),
        ("no start", "worker could not be started: no such interpreter"),
    ],
)
def test_a_worker_that_dies_leaves_the_reason(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, script: str, reason: str
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters=script)
    scheduler.submit(job)
    found = ended(store, job)
    assert (found.state, found.reasons) == (JobState.ERRORED, (reason,))
    assert found.finished is not None
    assert found.log_tail == ("nearly\n" if "nearly" in script else "")


def test_what_a_dead_worker_started_dies_too(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path
) -> None:
    note = tmp_path / "child"
    job = make_job(parameters=CHILD.format(note=str(note)) + "\nos.kill(pid, signal.SIGKILL)")
    scheduler = start_scheduler()
    scheduler.submit(job)
    assert ended(store, job).state is JobState.ERRORED
    assert start_token(int(note.read_text())) == ""


CHILD = """
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
open({note!r} + "~", "w").write(str(child.pid))
os.rename({note!r} + "~", {note!r})
"""


def test_a_queued_job_is_cancelled_at_once(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(max_concurrent=1)
    running, waiting = make_job(parameters="time.sleep(60)"), make_job()
    scheduler.submit(running)
    begun(store, running)
    scheduler.submit(waiting)
    found = scheduler.cancel(waiting.id)
    assert (found.state, found.attempt) == (JobState.CANCELED, 0)
    assert found.finished is not None


@pytest.mark.parametrize("manner", ["ends", "ignores SIGTERM"])
def test_a_running_job_is_canceled_when_all_its_processes_are_gone(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path, manner: str
) -> None:
    note = tmp_path / "child"
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if manner != "ends" else ""
    script = stubborn + CHILD.format(note=str(note)) + "\nwhile True: time.sleep(1)"
    scheduler = start_scheduler(cancel_grace=0.2)
    job = make_job(parameters=script)
    scheduler.submit(job)
    pid = begun(store, job)
    wait_for(note.exists)
    child = int(note.read_text())
    assert start_token(child)
    assert scheduler.cancel(job.id).state is JobState.CANCELING
    found = ended(store, job)
    assert (found.state, found.reasons) == (JobState.CANCELED, ())
    assert start_token(pid) == ""
    assert start_token(child) == ""


def test_a_worker_that_is_still_starting_can_be_cancelled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    wait_for(lambda: store.get(job.id).state is JobState.RUNNING)
    scheduler.cancel(job.id)
    assert ended(store, job).state is JobState.CANCELED


def test_cancelling_what_has_ended_changes_nothing(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters="complete()")
    scheduler.submit(job)
    before = ended(store, job)
    assert scheduler.cancel(job.id) == before
    with pytest.raises(JobNotFound):
        scheduler.cancel("unknown")


def test_a_store_has_one_scheduler(store: JobStore, start_scheduler: StartScheduler) -> None:
    if store.database.shared:
        pytest.skip("servers share this kind of store")
    first = start_scheduler()
    with pytest.raises(FailedPrecondition, match=f"process {os.getpid()} holds .*sqlite3.lock"):
        start_scheduler()
    first.stop()
    start_scheduler()


def test_running_workers_outlive_the_scheduler_and_are_found_again(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\ncomplete()"
    first = start_scheduler(max_concurrent=1)
    job, waiting = make_job(parameters=script), make_job(parameters="complete()")
    first.submit(job)
    first.submit(waiting)
    pid = begun(store, job)
    first.stop()
    assert start_token(pid)
    start_scheduler(max_concurrent=1)
    assert store.get(job.id).state is JobState.RUNNING
    assert store.get(waiting.id).state is JobState.QUEUED
    gate.touch()
    assert ended(store, job).state is JobState.COMPLETED
    assert store.get(job.id).attempt == 1
    assert ended(store, waiting).state is JobState.COMPLETED


def test_an_adopted_worker_can_be_cancelled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    first = start_scheduler()
    job = make_job(parameters="time.sleep(60)")
    first.submit(job)
    pid = begun(store, job)
    first.stop()
    start_scheduler().cancel(job.id)
    assert ended(store, job).state is JobState.CANCELED
    assert start_token(pid) == ""


def test_a_worker_that_died_without_a_scheduler_is_noticed(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job()
    store.add(job)
    store.claim_next(host=os.uname().nodename)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    store.begin(job.id, attempt=1, pid=gone.pid, start="1@then", environment={})
    start_scheduler()
    found = ended(store, job)
    assert found.state is JobState.ERRORED
    assert found.reasons == (
        "worker ended without a word while another server, or none, was watching",
    )


def test_a_process_that_has_got_the_workers_number_is_left_alone(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job()
    store.add(job)
    store.claim_next(host=os.uname().nodename)
    stranger = subprocess.Popen(["/usr/bin/sleep", "60"], start_new_session=True)
    store.begin(job.id, attempt=1, pid=stranger.pid, start="1@then", environment={})
    start_scheduler()
    assert ended(store, job).state is JobState.ERRORED
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_claim_that_no_worker_began_goes_back_into_the_queue(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job(parameters="complete()")
    store.add(job)
    store.claim_next(host=os.uname().nodename)
    start_scheduler()
    found = ended(store, job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)


def test_a_cancelled_claim_that_no_worker_began_is_canceled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job()
    store.add(job)
    store.claim_next(host=os.uname().nodename)
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    start_scheduler()
    assert ended(store, job).state is JobState.CANCELED


def test_the_scheduler_outlives_trouble_with_the_store(
    store: JobStore,
    start_scheduler: StartScheduler,
    make_job: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = store.claim_next
    failures = [FailedPrecondition("no store"), FailedPrecondition("no store")]

    def fail_at_first(*, host: str) -> Job | None:
        if failures:
            raise failures.pop()
        return claim(host=host)

    monkeypatch.setattr(store, "claim_next", fail_at_first)
    scheduler = start_scheduler()
    job = make_job(parameters="complete()")
    scheduler.submit(job)
    assert ended(store, job).state is JobState.COMPLETED
    assert not failures


def test_an_idle_scheduler_uses_no_time(
    store: JobStore,
    start_scheduler: StartScheduler,
    make_job: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if store.database.shared:
        pytest.skip("others may put jobs into this kind of store, so it is looked at")
    scheduler = start_scheduler()
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    begun(store, job)
    rounds = []
    monkeypatch.setattr(scheduler, "_fill", lambda: rounds.append(1))
    scheduler.submit(make_job())
    wait_for(lambda: rounds)
    assert not wait_briefly(lambda: len(rounds) > 1)


def wait_briefly(condition: Callable[[], bool]) -> bool:
    """Whether something that should not happen happens within half a second."""
    import time

    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


DYING_HOLDER = """
import os, sys, time
from pathlib import Path
from kitfox.training.scheduler_lock import SchedulerLock
lock = SchedulerLock(Path(sys.argv[1]), store="the store")
if os.fork():
    os._exit(0)
os.close(1)
time.sleep(0.5)  # as a worker whose program has not begun yet
"""


def test_a_lock_that_a_dead_server_s_child_still_has_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "jobs.lock"
    command = [sys.executable, "-c", DYING_HOLDER, str(path)]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    SchedulerLock(path, store="the store").release()
