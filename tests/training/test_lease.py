"""Workers that give no sign of life."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.errors import Unavailable
from kitfox.training import Job, JobState, JobStore, Scheduler
from kitfox.training.lease import Lease
from kitfox.training.processes import start_token
from tests.waiting import wait_for

from .conftest import Trainings
from .scripted_workers import StartScheduler, begun, ended, postgresql_only, sqlite_only
from .trainers import Waiter

pytestmark = pytest.mark.slow

Make = Callable[..., Job]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_who_gives_signs_is_never_silent() -> None:
    clock = Clock()
    lease: Lease[str] = Lease(30, clock=clock)
    for count in range(100):
        assert lease.look({"a": count}) == set()
        clock.now += 5


def test_who_gives_none_is_silent_when_the_lease_is_over() -> None:
    clock = Clock()
    lease: Lease[str] = Lease(30, clock=clock)
    for second in range(0, 30, 5):
        assert lease.look({"a": 7, "b": second}) == set()
        clock.now += 5
    assert lease.look({"a": 7, "b": 99}) == {"a"}
    clock.now += 5
    assert lease.look({"a": 8, "b": 99}) == set()


def test_who_is_new_has_the_whole_lease() -> None:
    clock = Clock()
    lease: Lease[str] = Lease(30, clock=clock)
    lease.look({"a": 1})
    for _ in range(5):
        clock.now += 5
        assert lease.look({"b": 1}) == set()
    clock.now += 5
    assert lease.look({"a": 1, "b": 1}) == set()


def test_time_in_which_nobody_looked_counts_little() -> None:
    """This process may have stood still, and all the workers with it."""
    clock = Clock()
    lease: Lease[str] = Lease(30, clock=clock)
    lease.look({"a": 1})
    clock.now += 3600
    assert lease.look({"a": 1}) == set()
    clock.now += 5
    assert lease.look({"a": 2}) == set()


def test_the_next_look_is_due_after_a_part_of_the_lease() -> None:
    clock = Clock()
    lease: Lease[str] = Lease(30, clock=clock)
    assert lease.next_look() == 0
    lease.look({})
    assert lease.next_look() == 5
    clock.now += 9
    assert lease.next_look() == 0


LEASE = 5
"""Long enough for workers that are to live, which a busy machine may keep waiting."""
LONGER = """
for _ in range(80): store.beat(job_id, attempt=attempt); time.sleep(0.1)
complete()
"""


def shorten(scheduler: Scheduler, seconds: float) -> None:
    """Changes the lease when a worker has begun, for which a busy machine may take longer."""
    scheduler._lease = Lease(seconds)
    scheduler._ring()


def test_a_worker_that_is_stopped_for_too_long_is_killed(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler()
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    pid = begun(store, job)
    os.kill(pid, signal.SIGSTOP)
    shorten(scheduler, 0.6)
    found = ended(store, job)
    assert found.state is JobState.ERRORED
    assert found.reasons == ("worker gave no sign of life for 0.6 s",)
    assert start_token(pid) == ""


@sqlite_only
def test_a_worker_that_was_stopped_for_too_long_is_followed_by_another(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, tmp_path: Path
) -> None:
    scheduler = start_scheduler(lease=LEASE)
    script = "os.kill(pid, signal.SIGSTOP) if attempt == 1 else complete()"
    job = make_job(parameters=script, retries=1)
    scheduler.submit(job)
    found = ended(store, job)
    assert (found.state, found.attempt, found.deaths) == (JobState.COMPLETED, 2, 1)


@sqlite_only
def test_a_worker_that_is_busy_in_code_that_lets_nobody_else_run_is_alive(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(lease=LEASE)
    script = "end = time.monotonic() + 8\nwhile time.monotonic() < end: pass\ncomplete()"
    job = make_job(parameters=script)
    scheduler.submit(job)
    found = ended(store, job)
    assert (found.state, found.reasons) == (JobState.COMPLETED, ())


@sqlite_only
def test_a_worker_that_was_stopped_while_it_was_cancelled_is_canceled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    scheduler = start_scheduler(cancel_grace=3600)
    job = make_job(parameters="time.sleep(60)")
    scheduler.submit(job)
    os.kill(begun(store, job), signal.SIGSTOP)
    scheduler.cancel(job.id)
    shorten(scheduler, 0.6)
    assert ended(store, job).state is JobState.CANCELED


IN_PUBLISH = """
def stop():
    open({note!r}, "w").close()
    os.kill(pid, signal.SIGSTOP)
    open({late!r}, "w").close()
store.publish(job_id, attempt=attempt, put_in_place=stop if attempt == 1 else lambda: None)
"""


@sqlite_only
def test_a_worker_that_is_stopped_with_the_stores_lock_is_killed_first(
    start_scheduler: StartScheduler, make_job: Make, tmp_path: Path, store: JobStore
) -> None:
    """Nobody can write as long as it is there: neither its end nor anything else."""
    note, late = tmp_path / "note", tmp_path / "late"
    scheduler = start_scheduler(lease=LEASE)
    job = make_job(parameters=IN_PUBLISH.format(note=str(note), late=str(late)), retries=1)
    scheduler.submit(job)
    wait_for(note.exists)
    other = make_job(parameters="complete()")

    def submitted() -> bool:
        with contextlib.suppress(Unavailable):  # a machine that is very busy
            scheduler.submit(other)
            return True
        return False

    wait_for(submitted)
    assert ended(store, other).state is JobState.COMPLETED
    found = ended(store, job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)
    assert not late.exists()


@pytest.mark.parametrize("retries", [0, 1])
@postgresql_only
def test_jobs_of_a_host_that_is_gone_are_taken_over(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, retries: int
) -> None:
    job = make_job(parameters="complete()", retries=retries)
    store.add(job)
    [claimed] = store.claim(host="elsewhere", scheduler="elsewhere 1 1@then")
    store.begin(job.id, attempt=1, pid=os.getpid(), start="1@then", environment={})
    assert claimed.attempt == 1
    start_scheduler(lease=LEASE)
    found = ended(store, job)
    expected = (JobState.COMPLETED, 2) if retries else (JobState.ERRORED, 1)
    assert (found.state, found.attempt) == expected
    if not retries:
        assert found.reasons == (f"worker gave no sign of life for {LEASE} s on host elsewhere",)


@postgresql_only
def test_jobs_of_another_living_host_are_left_alone(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    job = make_job()
    store.add(job)
    store.claim(host="elsewhere", scheduler="elsewhere 1 1@then")
    own = make_job(parameters=LONGER)
    start_scheduler(lease=LEASE).submit(own)

    def own_is_complete() -> bool:
        assert store.beat(job.id, attempt=1) == "go"
        return store.get(own.id).state is JobState.COMPLETED

    wait_for(own_is_complete)
    assert store.get(job.id).state is JobState.RUNNING


@postgresql_only
def test_jobs_of_another_server_of_this_host_are_left_alone_until_it_dies(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make
) -> None:
    host = os.uname().nodename
    with subprocess.Popen(["/usr/bin/sleep", "300"]) as server:
        job = make_job(parameters="complete()")
        store.add(job)
        store.claim(host=host, scheduler=f"{host} {server.pid} {start_token(server.pid)}")
        scheduler = start_scheduler(lease=LEASE)
        own = make_job(parameters=LONGER)
        scheduler.submit(own)
        assert ended(store, own).state is JobState.COMPLETED
        assert store.get(job.id).state is JobState.RUNNING
        server.kill()
    found = ended(store, job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)


def test_a_real_training_that_is_stopped_and_goes_on_makes_one_model(
    start_trainings: Callable[..., Trainings],
) -> None:
    trainings = start_trainings()
    gate = trainings.folder / "gate"
    job = trainings.service.start(Waiter, {"gate": str(gate)})
    pid = trainings.begun(job)
    os.kill(pid, signal.SIGSTOP)
    gate.touch()
    shorten(trainings.service.scheduler, 0.6)
    found = trainings.in_state(job, JobState.ERRORED)
    assert "no sign of life" in found.reasons[0]
    assert start_token(pid) == ""
    assert trainings.service.model_path(job.id) is None
    assert trainings.leftovers() == []
