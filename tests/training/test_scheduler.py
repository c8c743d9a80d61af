"""The scheduler, with workers that know nothing of training: starting, watching, stopping."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import FailedPrecondition, JobNotFound, ResourceExhausted
from kitfox.training import Job, JobState, JobStore, Scheduler
from kitfox.training.processes import start_token
from kitfox.training.scheduler_lock import SchedulerLock
from tests.waiting import wait_for

from .scripted_workers import ScriptLauncher, StartScheduler, begun, ended, sqlite_only

pytestmark = pytest.mark.slow

Make = Callable[..., Job]


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


@sqlite_only
def test_a_worker_that_has_told_its_end_and_stands_still_gives_up_its_place(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(max_concurrent=1, lease=0.6)
    stuck = make_job(parameters="complete(); os.kill(os.getpid(), signal.SIGSTOP)")
    following = make_job(parameters="complete()", retries=5)
    scheduler.submit(stuck)
    scheduler.submit(following)
    assert ended(store, following).state is JobState.COMPLETED
    assert store.get(stuck.id).state is JobState.COMPLETED


@sqlite_only
def test_jobs_of_two_stores_with_the_same_id_are_strangers(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path
) -> None:
    other = JobStore(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    first = start_scheduler()
    second = start_scheduler(store=other, launcher=ScriptLauncher(other))
    gate = tmp_path / "gate"
    script = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\ncomplete()"
    job = make_job(id="nightly", parameters=script)
    for scheduler in (first, second):
        scheduler.submit(job)
        begun(scheduler.store, job)
    second.cancel(job.id)
    assert ended(other, job).state is JobState.CANCELED
    gate.touch()
    assert ended(store, job).state is JobState.COMPLETED
    second.stop()
    other.close()


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


def test_the_most_urgent_job_goes_first_and_equals_in_order(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    for name, priority in (("c", 0), ("a", 5), ("d", 0), ("e", -1), ("b", 5)):
        store.add(make_job(id=name, parameters="no start", priority=priority))
    launcher = ScriptLauncher(store)
    start_scheduler(max_concurrent=1, launcher=launcher)
    assert ended(store, store.get("e")).state is JobState.ERRORED
    assert launcher.launched == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("death", ["os.kill(pid, signal.SIGKILL)", "os._exit(3)"])
@sqlite_only
def test_a_job_is_begun_again_as_often_as_it_may(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, death: str
) -> None:
    job = make_job(parameters=death, retries=2)
    start_scheduler().submit(job)
    found = ended(store, job)
    assert (found.state, found.attempt, found.deaths) == (JobState.ERRORED, 3, 2)
    assert found.reasons[0].startswith("worker ")


def test_a_job_that_works_at_last_is_complete(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job(parameters="os._exit(3) if attempt < 3 else complete()", retries=5)
    start_scheduler().submit(job)
    found = ended(store, job)
    assert (found.state, found.attempt, found.deaths) == (JobState.COMPLETED, 3, 2)
    assert found.reasons == ()


@sqlite_only
def test_what_the_worker_says_itself_is_not_tried_again(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    script = "store.move(job_id, ['RUNNING'], JobState.ERRORED, attempt=attempt, reasons=('no',))"
    job = make_job(parameters=script, retries=5)
    start_scheduler().submit(job)
    found = ended(store, job)
    assert (found.attempt, found.reasons) == (1, ("no",))


@sqlite_only
def test_a_job_that_is_being_cancelled_is_not_begun_again(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters="time.sleep(60)", retries=5)
    scheduler.submit(job)
    begun(store, job)
    scheduler.cancel(job.id)
    assert (ended(store, job).state, store.get(job.id).attempt) == (JobState.CANCELED, 1)


@sqlite_only
def test_a_job_is_cancelled_twice(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(cancel_grace=0.3)
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    job = make_job(parameters=script)
    scheduler.submit(job)
    begun(store, job)
    assert scheduler.cancel(job.id).state is JobState.CANCELING
    assert scheduler.cancel(job.id).state in (JobState.CANCELING, JobState.CANCELED)
    found = ended(store, job)
    assert scheduler.cancel(job.id) == found


def test_a_job_that_is_told_to_stop_may_complete(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    script = "while store.order(job_id, attempt=attempt) == 'go': time.sleep(0.01)\ncomplete()"
    job = make_job(parameters=script)
    scheduler.submit(job)
    begun(store, job)
    assert scheduler.stop_job(job.id).state is JobState.STOPPING
    assert scheduler.stop_job(job.id).state in (JobState.STOPPING, JobState.COMPLETED)
    assert ended(store, job).state is JobState.COMPLETED


@pytest.mark.parametrize("stubborn", [False, True])
@sqlite_only
def test_a_job_that_does_not_stop_is_stopped(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, stubborn: bool
) -> None:
    scheduler = start_scheduler(stop_grace=0.1, cancel_grace=0.1)
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    job = make_job(parameters=script + "while True: time.sleep(1)")
    scheduler.submit(job)
    pid = begun(store, job)
    scheduler.stop_job(job.id)
    found = ended(store, job)
    assert (found.state, found.reasons) == (
        JobState.CANCELED,
        ("stopped before its first checkpoint",),
    )
    assert start_token(pid) == ""


@sqlite_only
def test_a_job_that_is_stopping_can_be_cancelled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    begun(store, job)
    scheduler.stop_job(job.id)
    assert scheduler.cancel(job.id).state is JobState.CANCELING
    assert (ended(store, job).state, store.get(job.id).reasons) == (JobState.CANCELED, ())


@sqlite_only
def test_a_waiting_job_that_is_told_to_stop_is_canceled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(max_concurrent=1)
    running, waiting = make_job(parameters="time.sleep(60)"), make_job()
    scheduler.submit(running)
    begun(store, running)
    scheduler.submit(waiting)
    assert scheduler.stop_job(waiting.id).state is JobState.CANCELED


@sqlite_only
def test_the_end_of_each_job_is_told_once(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    told: list[tuple[str, JobState]] = []

    def on_end(job: Job) -> None:
        told.append((job.id, job.state))
        raise RuntimeError("whoever is told has troubles of its own")

    scheduler = start_scheduler(max_concurrent=1, on_end=on_end)
    for name, script in (("a", "complete()"), ("b", "os._exit(1)"), ("c", "no start")):
        scheduler.submit(make_job(id=name, parameters=script))
    wait_for(lambda: len(told) == 3)
    assert told == [("a", "COMPLETED"), ("b", "ERRORED"), ("c", "ERRORED")]


def test_other_processes_wake_the_scheduler(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    """A scheduler that has not been started is what a process without one changes jobs by."""
    start_scheduler()
    other = Scheduler(store=store)
    job = make_job(parameters="time.sleep(60)")
    other.submit(job)
    begun(store, job)
    other.cancel(job.id)
    assert ended(store, job).state is JobState.CANCELED
    second = make_job(parameters="complete()")
    other.submit(second)
    assert ended(store, second).state is JobState.COMPLETED


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
    claim = store.claim
    failures = [FailedPrecondition("no store"), RuntimeError("no store")]

    def fail_at_first(**options: Any) -> list[Job]:
        if failures:
            raise failures.pop()
        return claim(**options)

    monkeypatch.setattr(store, "claim", fail_at_first)
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
    scheduler = start_scheduler(lease=3600)  # whose looks are far from each other
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    begun(store, job)
    rounds: list[int] = []
    monkeypatch.setattr(scheduler, "_fill", lambda: rounds.append(1))
    scheduler.submit(make_job())
    wait_for(lambda: rounds)

    def goes_on() -> bool:
        before = len(rounds)
        return wait_briefly(lambda: len(rounds) > before)

    # A round of the launch may come late: one that looks again and again never rests.
    assert not all(goes_on() for _ in range(4))


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
