"""Changes of the store that fail in the scheduler's hands: nothing stays under way for good."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from kitfox.errors import DiskFull
from kitfox.training import Job, JobState, JobStore, Scheduler
from tests.waiting import wait_for

from .scripted_workers import ScriptLauncher, StartScheduler, begun, ended, sqlite_only

pytestmark = [pytest.mark.slow, sqlite_only]

Make = Callable[..., Job]


class Failing:
    """Methods of a store that fail as on a full disk, for as long as it is wanted."""

    def __init__(self, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store
        self._monkeypatch = monkeypatch
        self.failures: list[float] = []
        """When calls have failed, in monotonic seconds."""

    def method(self, name: str, *, times: int = 1000) -> None:
        """Makes the next calls of a method fail."""
        real, left = getattr(self._store, name), times

        def call(*args: Any, **values: Any) -> Any:
            nonlocal left
            if left == 0:
                return real(*args, **values)
            left -= 1
            self.failures.append(time.monotonic())
            raise DiskFull("writing the job store", "here", needed=1, free=0)

        self._monkeypatch.setattr(self._store, name, call)

    def no_more(self) -> None:
        """Lets all of them work again."""
        self._monkeypatch.undo()


@pytest.fixture
def failing(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(store, monkeypatch)


def test_a_start_that_fails_and_cannot_be_told_is_made_good(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, failing: Failing
) -> None:
    """And those that were claimed with it run."""
    jobs = [make_job(parameters=script) for script in ("no start", "complete()", "complete()")]
    for job in jobs:
        store.add(job)
    failing.method("move", times=1)
    start_scheduler(max_concurrent=3)
    found = [ended(store, job) for job in jobs]
    assert [job.state for job in found] == ["ERRORED", "COMPLETED", "COMPLETED"]
    assert found[0].reasons == ("worker could not be started: no such interpreter",)
    assert len(failing.failures) == 1


def test_a_claim_whose_answer_is_lost_is_made_good(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, monkeypatch: Any
) -> None:
    claim = store.claim

    def lose(**options: Any) -> list[Job]:
        claim(**options)
        monkeypatch.undo()
        raise DiskFull("writing the job store", "here", needed=1, free=0)

    monkeypatch.setattr(store, "claim", lose)
    job = make_job(parameters="complete()")
    start_scheduler().submit(job)
    found = ended(store, job)
    assert (found.state, found.attempt) == (JobState.COMPLETED, 2)


def waiting_again(store: JobStore, make_job: Make) -> Job:
    """A job that waits for its second attempt."""
    job = make_job(retries=1)
    store.add(job)
    store.claim_next(host="here")
    released = store.release(job.id, attempt=1, reasons=("it died",))
    assert released is not None
    return job


@pytest.mark.parametrize("who", ["the scheduler's own process", "another process"])
@pytest.mark.parametrize("ask", ["cancel", "stop_job"])
def test_the_end_of_a_job_between_attempts_is_made_good(
    store: JobStore,
    start_scheduler: StartScheduler,
    make_job: Make,
    failing: Failing,
    ask: str,
    who: str,
) -> None:
    job = waiting_again(store, make_job)
    scheduler = start_scheduler(max_concurrent=0)
    asked = scheduler if who.startswith("the") else Scheduler(store=store)
    failing.method("move", times=2)
    with pytest.raises(DiskFull):
        getattr(asked, ask)(job.id)
    assert ended(store, job).state is JobState.CANCELED
    assert getattr(asked, ask)(job.id).state is JobState.CANCELED


def test_a_job_that_cannot_be_settled_keeps_no_other_from_it(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, monkeypatch: Any
) -> None:
    release, stuck = store.release, make_job(parameters="sys.exit(1)")

    def fail_for_one(job_id: str, **values: Any) -> Job | None:
        if job_id == stuck.id:
            raise OSError("no such disk")
        return release(job_id, **values)

    monkeypatch.setattr(store, "release", fail_for_one)
    scheduler = start_scheduler(max_concurrent=2)
    scheduler.submit(stuck)
    begun(store, stuck)
    other = make_job(parameters="sys.exit(1)")
    scheduler.submit(other)
    assert ended(store, other).state is JobState.ERRORED
    assert store.get(stuck.id).state is JobState.RUNNING
    monkeypatch.undo()
    assert ended(store, stuck).state is JobState.ERRORED


def test_what_fails_is_tried_again_less_and_less_often(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, failing: Failing
) -> None:
    job = make_job(parameters="sys.exit(1)")
    failing.method("release")
    start_scheduler().submit(job)
    tries = failing.failures
    wait_for(lambda: len(tries) >= 4, what="the fourth try")
    assert tries[3] - tries[2] >= 0.35
    failing.no_more()
    assert ended(store, job).state is JobState.ERRORED


def test_a_scheduler_starts_though_what_it_finds_cannot_be_settled(
    store: JobStore, start_scheduler: StartScheduler, make_job: Make, failing: Failing
) -> None:
    job = make_job(parameters="complete()")
    store.add(job)
    store.claim_next(host="here")
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    failing.method("move", times=1)
    launcher = ScriptLauncher(store)
    scheduler = start_scheduler(launcher=launcher)
    second = make_job(parameters="complete()")
    scheduler.submit(second)
    assert ended(store, second).state is JobState.COMPLETED
    assert ended(store, job).state is JobState.CANCELED
    assert launcher.launched == [second.id]
