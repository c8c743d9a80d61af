"""Predictions run in the server's process, each accepted one to its end, whoever dies."""

import asyncio
import datetime
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import (
    FailedPrecondition,
    InvalidArgument,
    JobNotFound,
    ResourceExhausted,
    Unavailable,
)
from kitfox.training import Job, JobKind, JobState, JobStore
from kitfox.training import runner as runner_module
from kitfox.training.job_rows import to_number
from kitfox.training.results import ResultFolder
from kitfox.training.runner import JobRunner

Make = Callable[..., Job]


@dataclass
class Act:
    """Work that does what its job's parameters name."""

    job: Job
    stage: "Stage"
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> bytes:
        self.stage.begun.append((self.job.id, self.job.attempt))
        deed = self.job.model_name
        if deed == "fail":
            raise InvalidArgument("It will not do.")
        if deed == "crash":
            raise KeyError("a defect")
        if deed == "obey":
            await self.cancelled.wait()
            raise InvalidArgument("cancelled")
        if deed == "wait":
            await self.stage.go.wait()
        return f"{self.job.id} {self.job.attempt}".encode()

    def cancel(self) -> None:
        self.cancelled.set()


class Stage:
    """Runners over one store, and what they did."""

    def __init__(self, store: JobStore, folder: Path, make: Make) -> None:
        self.store = store
        self.results = ResultFolder(folder)
        self.make = make
        self.begun: list[tuple[str, int]] = []
        self.go = asyncio.Event()
        self.runners: list[JobRunner] = []

    def runner(self, **options: Any) -> JobRunner:
        made = JobRunner(
            store=self.store,
            results=self.results,
            begin=lambda job: Act(job, self),
            **options,
        )
        self.runners.append(made)
        return made

    async def started(self, **options: Any) -> JobRunner:
        made = self.runner(**options)
        await made.start()
        return made

    def job(self, deed: str = "") -> Job:
        return self.make(kind=JobKind.PREDICTION, model_name=deed)

    def state(self, job: Job) -> JobState:
        return self.store.get(job.id).state

    async def reaches(self, job: Job, *states: JobState) -> Job:
        await until(lambda: self.state(job) in states, what=f"{' or '.join(states)}")
        return self.store.get(job.id)


async def until(condition: Callable[[], Any], *, what: str = "the condition") -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.01)


@pytest.fixture
def perform(
    store: JobStore, tmp_path: Path, make_job: Make
) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    """Runs a scene in an event loop of its own; all runners are stopped at its end."""

    def perform(scene: Callable[[Stage], Awaitable[None]]) -> None:
        async def play() -> None:
            stage = Stage(store.of(JobKind.PREDICTION), tmp_path / "results", make_job)
            try:
                await scene(stage)
            finally:
                for runner in stage.runners:
                    await runner.stop()

        asyncio.run(play())

    return perform


Perform = Callable[[Callable[[Stage], Awaitable[None]]], None]


def test_a_job_runs_and_its_result_is_kept(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        job = stage.job()
        await runner.submit(job)
        done = await stage.reaches(job, JobState.COMPLETED)
        assert done.finished is not None
        assert stage.results.read(job.id) == f"{job.id} 1".encode()
        assert [file.name for file in (stage.results.path / job.id).iterdir()] == ["result.bin"]

    perform(scene)


@pytest.mark.parametrize(
    ("deed", "reason"), [("fail", "It will not do."), ("crash", "the server's log has the details")]
)
def test_a_failure_gives_a_reason_and_no_more(perform: Perform, deed: str, reason: str) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        job = stage.job(deed)
        await runner.submit(job)
        done = await stage.reaches(job, JobState.ERRORED)
        assert reason in done.reasons[0]
        assert "defect" not in done.reasons[0]
        assert done.finished is not None
        with pytest.raises(FileNotFoundError):
            stage.results.read(job.id)

    perform(scene)


def test_as_many_run_at_a_time_as_may_and_in_order(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started(max_concurrent=2)
        jobs = [stage.job("wait") for _ in range(5)]
        for job in jobs:
            await runner.submit(job)
        await until(lambda: len(stage.begun) == 2, what="the begin of two")
        await asyncio.sleep(0.05)
        assert [job_id for job_id, _ in stage.begun] == [job.id for job in jobs[:2]]
        stage.go.set()
        for job in jobs:
            await stage.reaches(job, JobState.COMPLETED)
        assert [job_id for job_id, _ in stage.begun] == [job.id for job in jobs]

    perform(scene)


def test_past_the_queue_limit_jobs_are_refused(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = stage.runner(queue_limit=2)
        runner.drain()
        await runner.start()
        await runner.submit(stage.job())
        await runner.submit(stage.job())
        with pytest.raises(ResourceExhausted, match=r"jobs\.queue_limit is 2"):
            await runner.submit(stage.job())

    perform(scene)


def test_a_cancelled_job_that_waits_never_runs(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started(max_concurrent=1)
        running, waiting = stage.job("wait"), stage.job()
        for job in (running, waiting):
            await runner.submit(job)
        canceled = await runner.cancel(waiting.id)
        assert canceled.state is JobState.CANCELED
        assert canceled.finished is not None
        stage.go.set()
        await stage.reaches(running, JobState.COMPLETED)
        assert [job_id for job_id, _ in stage.begun] == [running.id]

    perform(scene)


def test_work_that_obeys_ends_when_it_is_cancelled(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        job = stage.job("obey")
        await runner.submit(job)
        await stage.reaches(job, JobState.RUNNING)
        assert (await runner.cancel(job.id)).state is JobState.CANCELING
        done = await stage.reaches(job, JobState.CANCELED)
        assert done.finished is not None
        assert done.reasons == ()
        assert (await runner.cancel(job.id)).state is JobState.CANCELED

    perform(scene)


def test_work_that_goes_on_keeps_its_place_and_its_result_is_dropped(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started(max_concurrent=1)
        stubborn, other = stage.job("wait"), stage.job()
        await runner.submit(stubborn)
        await runner.submit(other)
        await stage.reaches(stubborn, JobState.RUNNING)
        await runner.cancel(stubborn.id)
        await asyncio.sleep(0.05)
        assert stage.state(stubborn) is JobState.CANCELING
        assert stage.state(other) is JobState.QUEUED
        stage.go.set()
        await stage.reaches(stubborn, JobState.CANCELED)
        await stage.reaches(other, JobState.COMPLETED)
        assert not (stage.results.path / stubborn.id).exists()

    perform(scene)


def test_every_cancel_at_any_moment_is_heard(perform: Perform) -> None:
    """Between the claim and the begin too: no job stays CANCELING."""

    async def scene(stage: Stage) -> None:
        runner = await stage.started(max_concurrent=3)
        jobs = [stage.job("obey") for _ in range(30)]
        cancels = []
        for number, job in enumerate(jobs):
            await runner.submit(job)
            await asyncio.sleep(number % 5 * 0.0005)
            cancels.append(asyncio.create_task(runner.cancel(job.id)))
        await asyncio.gather(*cancels)
        for job in jobs:
            await stage.reaches(job, JobState.CANCELED)

    perform(scene)


def test_an_unknown_job_is_named(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        with pytest.raises(JobNotFound, match=r"^Unknown prediction_id: x$"):
            await runner.cancel("x")

    perform(scene)


def test_a_stop_gives_back_what_has_not_ended_and_nothing_is_lost(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        first = await stage.started(max_concurrent=2)
        jobs = [stage.job("wait") for _ in range(3)]
        for job in jobs:
            await first.submit(job)
        await until(lambda: len(stage.begun) == 2, what="the begin of two")
        await first.stop(0.01)
        assert [stage.state(job) for job in jobs] == [JobState.QUEUED] * 3
        stage.go.set()
        await stage.started()
        for job in jobs:
            await stage.reaches(job, JobState.COMPLETED)
        assert stage.results.read(jobs[0].id).endswith(b" 2")

    perform(scene)


def test_a_stop_lets_end_what_ends_in_time(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        job = stage.job("wait")
        await runner.submit(job)
        await until(lambda: stage.begun, what="the begin")
        stop = asyncio.create_task(runner.stop(30))
        await asyncio.sleep(0.02)
        stage.go.set()
        await stop
        assert stage.state(job) is JobState.COMPLETED

    perform(scene)


def test_a_cancelled_job_is_not_given_back_at_a_stop(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        job = stage.job("wait")
        await runner.submit(job)
        await stage.reaches(job, JobState.RUNNING)
        await runner.cancel(job.id)
        await runner.stop(0)
        assert stage.state(job) is JobState.CANCELED

    perform(scene)


def test_a_runner_that_has_been_drained_begins_nothing(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        runner.drain()
        job = stage.job()
        await runner.submit(job)
        await asyncio.sleep(0.05)
        assert stage.state(job) is JobState.QUEUED

    perform(scene)


def test_a_runner_is_started_once(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        with pytest.raises(FailedPrecondition):
            await runner.start()

    perform(scene)


def leave_behind(stage: Stage, *, canceling: bool = False) -> Job:
    """A job that a server had claimed when it died."""
    job = stage.job()
    stage.store.add(job)
    assert stage.store.claim_next(host="elsewhere") is not None
    if canceling:
        stage.store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    return stage.store.get(job.id)


def test_what_a_dead_server_left_is_run_again(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_SILENCE", 0.0)

    async def scene(stage: Stage) -> None:
        running, canceling = leave_behind(stage), leave_behind(stage, canceling=True)
        stage.results.write(running, b"half")  # it died between writing and renaming
        await stage.started()
        await stage.reaches(running, JobState.COMPLETED)
        assert stage.results.read(running.id).endswith(b" 2")
        await stage.reaches(canceling, JobState.CANCELED)
        assert stage.begun == [(running.id, 2)]

    perform(scene)


def test_a_late_attempt_writes_nothing(perform: Perform) -> None:
    """A server that was thought dead comes back in the middle of its work."""

    async def scene(stage: Stage) -> None:
        slow = await stage.started(max_concurrent=1)  # so it does not claim the second attempt
        job = stage.job("wait")
        await slow.submit(job)
        await until(lambda: stage.begun, what="the begin")
        assert stage.store.requeue(job.id, attempt=1)
        again = stage.store.claim_next(host="elsewhere")
        assert again is not None
        stage.results.write(again, b"the second")
        stage.go.set()
        await until(lambda: slow.running == 0, what="the end of the first attempt")
        assert stage.state(job) is JobState.RUNNING
        stage.store.publish(
            job.id, attempt=2, put_in_place=lambda: stage.results.put_in_place(again)
        )
        assert stage.results.read(job.id) == b"the second"

    perform(scene)


def test_servers_that_share_a_database_share_the_work(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job is run once; a cancel is heard wherever the job runs."""

    async def scene(stage: Stage) -> None:
        if not stage.store.database.shared:
            pytest.skip("a file has one server")
        monkeypatch.setattr(runner_module, "_SHARED_STORE", 0.02)
        monkeypatch.setattr(runner_module, "_BEAT", 0.02)
        one, other = await stage.started(max_concurrent=1), await stage.started(max_concurrent=1)
        jobs = [stage.job() for _ in range(20)]
        for job in jobs:
            await one.submit(job)
        for job in jobs:
            await stage.reaches(job, JobState.COMPLETED)
        assert sorted(stage.begun) == sorted((job.id, 1) for job in jobs)
        await one.stop()
        obeying = stage.job("obey")
        await one.submit(obeying)
        await stage.reaches(obeying, JobState.RUNNING)
        assert (await one.cancel(obeying.id)).state is JobState.CANCELING
        await stage.reaches(obeying, JobState.CANCELED)
        await until(lambda: other.running == 0, what="the end")

    perform(scene)


def test_a_living_servers_jobs_are_left_to_it(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        if not stage.store.database.shared:
            pytest.skip("a file has one server")
        monkeypatch.setattr(runner_module, "_SHARED_STORE", 0.02)
        monkeypatch.setattr(runner_module, "_BEAT", 0.02)
        one = await stage.started()
        job = stage.job("wait")
        await one.submit(job)
        await stage.reaches(job, JobState.RUNNING)
        long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        with stage.store.database.write() as connection:
            connection.change(
                "UPDATE jobs SET started = :moment, heartbeat = :moment", moment=to_number(long_ago)
            )
        await until(
            lambda: (stage.store.get(job.id).heartbeat or long_ago) > long_ago, what="a beat"
        )
        await stage.started()
        await asyncio.sleep(0.2)
        assert stage.begun == [(job.id, 1)]
        stage.go.set()
        await stage.reaches(job, JobState.COMPLETED)

    perform(scene)


def test_what_has_been_kept_long_enough_is_forgotten_with_its_result(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started(retention=0.2)
        done, waits = stage.job(), stage.job("wait")
        await runner.submit(done)
        await runner.submit(waits)

        def is_forgotten() -> bool:
            try:
                runner.get(done.id)
            except JobNotFound:
                return True
            return False

        await until(is_forgotten, what="the end of the time that it is kept")
        await until(lambda: not stage.store.ended_before(_later()), what="the purge")
        assert (done.id, 1) in stage.begun
        assert not (stage.results.path / done.id).exists()
        assert is_forgotten()
        await stage.reaches(waits, JobState.RUNNING)
        assert runner.get(waits.id).state is JobState.RUNNING
        stage.go.set()

    perform(scene)


def test_no_job_is_shown_longer_than_it_is_kept(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = stage.runner(retention=0)  # and never started: nothing purges
        job = stage.job()
        stage.store.add(job)
        stage.store.move(job.id, [JobState.QUEUED], JobState.CANCELED)
        with pytest.raises(JobNotFound):
            runner.get(job.id)

    perform(scene)


def test_a_result_that_cannot_be_kept_is_the_jobs_error(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        stage.results.path.parent.mkdir(exist_ok=True)
        stage.results.path.write_text("a file where the folder should be")
        job = stage.job()
        await runner.submit(job)
        done = await stage.reaches(job, JobState.ERRORED)
        assert done.reasons[0].startswith("the result could not be kept: ")

    perform(scene)


def test_an_end_is_kept_as_soon_as_the_store_can_be_written_again(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(runner_module, "_AFTER_TROUBLE", 0.01)
        publish, failures = stage.store.publish, iter(range(3))

        def unreliable(*args: Any, **options: Any) -> Job | None:
            if next(failures, None) is not None:
                raise Unavailable("The job store is away")
            return publish(*args, **options)

        monkeypatch.setattr(stage.store, "publish", unreliable)
        runner = await stage.started()
        job = stage.job()
        await runner.submit(job)
        await stage.reaches(job, JobState.COMPLETED)

    perform(scene)


def test_a_claim_that_was_made_and_not_heard_of_is_found_again(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(runner_module, "_AFTER_TROUBLE", 0.01)
        monkeypatch.setattr(runner_module, "_SHARED_STORE", 0.01)
        monkeypatch.setattr(runner_module, "_SILENCE", 0.0)
        claim, failures = stage.store.claim_next, iter(range(1))

        def unreliable(**options: Any) -> Job | None:
            found = claim(**options)
            if found is not None and next(failures, None) is not None:
                raise Unavailable("The job store is away")
            return found

        monkeypatch.setattr(stage.store, "claim_next", unreliable)
        runner = await stage.started()
        job = stage.job()
        await runner.submit(job)
        done = await stage.reaches(job, JobState.COMPLETED)
        assert done.attempt >= 2

    perform(scene)


def test_a_caller_that_goes_away_while_its_job_is_kept_loses_nothing(perform: Perform) -> None:
    async def scene(stage: Stage) -> None:
        runner = await stage.started()
        taken, held, add = threading.Event(), threading.Event(), stage.store.add

        def slow(job: Job, **options: Any) -> None:
            taken.set()
            held.wait(30)
            add(job, **options)

        stage.store.add = slow  # type: ignore[method-assign] # to hold it at the right moment
        job = stage.job()
        caller = asyncio.create_task(runner.submit(job))
        await until(taken.is_set, what="the begin of the adding")
        caller.cancel()
        await asyncio.sleep(0.02)
        held.set()
        await until(lambda: stage.begun, what="the begin")
        await stage.reaches(job, JobState.COMPLETED)

    perform(scene)


def _later() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
