"""Who runs predictions: claims what is queued, runs it in this process, keeps what comes out.

A task of the event loop that sleeps until something happens: a job was submitted, one ended,
somebody cancels. It knows nothing of models; it starts, watches, stops, and keeps the store true.

A job belongs to the server that claimed it as long as that server gives signs of life. What a dead
one has left is run again: by the next server on the same file at once, by another server on the
same database when the signs have been missing for a while. An attempt that is no longer the one
that counts can write nothing.
"""

import asyncio
import contextlib
import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kitfox import logs
from kitfox.errors import FailedPrecondition, JobNotFound, KitfoxError
from kitfox.training.jobs import TERMINAL, Job, JobState
from kitfox.training.results import ResultFolder
from kitfox.training.store import JobStore

__all__ = ["JobRunner", "Work"]

log = logs.channel("JOBS")

_AFTER_TROUBLE = 1.0
"""Seconds until the next try when the store could not be used."""
_SHARED_STORE = 1.0
"""Seconds between looks into a store that other servers write as well."""
_BEAT = 5.0
"""Seconds between the signs of life of what runs on such a store."""
_SILENCE = 30.0
"""For how many seconds without one a job is left to its server. The servers' clocks must agree
better than that."""
_LONGEST_PURGE_PAUSE = 60.0
"""Seconds between looks for what has been kept long enough, or a tenth of that time."""
_STOP_PATIENCE = 1.0
"""For how many seconds a stop waits for work that it has interrupted."""


class Work(Protocol):
    """What is to be done for one attempt of one job."""

    async def run(self) -> bytes:
        """Does it and gives the result.

        Raises:
            KitfoxError: It failed; the message is the job's reason.
        """
        ...

    def cancel(self) -> None:
        """Asks for its end: `run` ends soon, or when it can."""
        ...


@dataclass(kw_only=True, slots=True, eq=False)
class _Run:
    """A job that runs here."""

    job: Job
    """As it was claimed."""
    work: Work
    task: "asyncio.Task[None] | None" = None
    interrupted: bool = False
    """Whether this server ends before the work does: the job goes back into the queue."""


class JobRunner:
    """Runs the jobs of one store in this process.

    Args:
        store: The jobs. Nobody else runs those of a store in a file: the scheduler's lock sees to
            that.
        results: Where results are kept.
        begin: Makes the work of a job that has been claimed; does none of it, so cannot fail.
        max_concurrent: How many jobs run at the same time.
        queue_limit: How many jobs may wait.
        retention: For how many seconds a job and its result are kept after its end; None is for
            ever.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        results: ResultFolder,
        begin: Callable[[Job], Work],
        max_concurrent: int = 4,
        queue_limit: int = 1000,
        retention: float | None = 86_400,
    ) -> None:
        self.store = store
        self.results = results
        self._begin = begin
        self._max_concurrent = max_concurrent
        self._queue_limit = queue_limit
        self._retention = None if retention is None else datetime.timedelta(seconds=retention)
        self._host = os.uname().nodename
        self._running: dict[str, _Run] = {}
        self._claiming = False
        self._cancelled_early: set[str] = set()
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dispatcher: asyncio.Task[None] | None = None
        self._draining = False
        self._stopping = False
        self._had_trouble = False
        self._next_purge = 0.0
        self._next_beat = 0.0

    @property
    def running(self) -> int:
        """How many jobs run here."""
        return len(self._running)

    async def start(self) -> None:
        """Takes over what dead servers have left and begins to run what is queued.

        Raises:
            KitfoxError: The store cannot be used.
        """
        if self._dispatcher is not None:
            raise FailedPrecondition("This runner has been started already")
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._take_over)
        self._dispatcher = asyncio.create_task(self._dispatch(), name="kitfox-jobs")

    def drain(self) -> None:
        """Begins no further job; those that run go on."""
        self._draining = True

    async def stop(self, seconds: float = 0.0) -> None:
        """Ends: what still runs after so many seconds goes back into the queue."""
        self._draining = self._stopping = True
        self._bell.set()
        if self._dispatcher is not None:
            await self._dispatcher  # a claim that is on its way ends first
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=seconds)
        interrupted = list(self._running.values())
        for run in interrupted:
            run.interrupted = True
            run.work.cancel()
            if run.task is not None:
                run.task.cancel()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=_STOP_PATIENCE)
        for run in interrupted:
            await asyncio.to_thread(self._give_back, run.job)

    async def submit(self, job: Job) -> None:
        """Keeps a job, durably, and lets it run as soon as there is a place.

        Raises:
            ResourceExhausted: As many jobs wait as may.
        """
        await asyncio.to_thread(self._add, job)

    def get(self, job_id: str) -> Job:
        """The job as it is now; `JobNotFound` if there is none, or it was kept long enough."""
        job = self.store.get(job_id)
        if job.finished is None or self._retention is None:
            return job
        if job.finished < datetime.datetime.now(datetime.UTC) - self._retention:
            raise JobNotFound(job_id, f"{self.store.kind}_id")
        return job

    async def cancel(self, job_id: str) -> Job:
        """Ends a job, if it has not ended; gives it as it is then.

        One that waits is CANCELED at once. One that runs is CANCELING until its work has ended.
        """
        job = await asyncio.to_thread(self._cancel, job_id)
        if job.state is JobState.CANCELING:
            self._end(job_id)
        return job

    def _add(self, job: Job) -> None:
        try:
            self.store.add(job, queue_limit=self._queue_limit)
        finally:
            # Also when the caller has gone away meanwhile and nobody waits for this thread.
            with contextlib.suppress(RuntimeError):  # the loop is closed
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._bell.set)

    def _cancel(self, job_id: str) -> Job:
        while True:
            job = self.get(job_id)
            if job.state is JobState.QUEUED:
                moved = self.store.move(job_id, [JobState.QUEUED], JobState.CANCELED)
                if moved is not None:
                    self.results.remove(job_id)  # of an attempt before
            elif job.state is JobState.RUNNING:
                moved = self.store.move(
                    job_id, [JobState.RUNNING], JobState.CANCELING, attempt=job.attempt
                )
            else:
                return job
            if moved is not None:
                return moved

    def _end(self, job_id: str) -> None:
        """Asks the work of a job for its end, if it runs here."""
        run = self._running.get(job_id)
        if run is not None:
            run.work.cancel()
        elif self._claiming:
            self._cancelled_early.add(job_id)

    async def _dispatch(self) -> None:
        while not self._stopping:
            try:
                if self._had_trouble:  # a claim may have been made and not been heard of
                    await asyncio.to_thread(self._take_over)
                await self._follow_others()
                await self._purge()
                await self._fill()
            except Exception:
                log.exception("The jobs' runner met an error and goes on")
                self._had_trouble = True
            else:
                self._had_trouble = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), self._pause())
            self._bell.clear()

    def _pause(self) -> float | None:
        """Seconds until there is something to do that does not ring."""
        limits = [_AFTER_TROUBLE] if self._had_trouble else []
        if self._retention is not None:
            limits.append(max(0.0, self._next_purge - time.monotonic()))
        if self.store.database.shared:
            limits.append(_SHARED_STORE)
        return min(limits) if limits else None

    async def _fill(self) -> None:
        """Starts queued jobs while there are free places."""
        while not self._draining and len(self._running) < self._max_concurrent:
            self._claiming = True
            try:
                job = await asyncio.to_thread(self.store.claim_next, host=self._host)
            finally:
                self._claiming = False
                cancelled, self._cancelled_early = self._cancelled_early, set()
            if job is None:
                return
            run = _Run(job=job, work=self._begin(job))
            self._running[job.id] = run
            run.task = asyncio.create_task(self._perform(run), name=f"job {job.id}")
            if job.id in cancelled:
                run.work.cancel()

    async def _perform(self, run: _Run) -> None:
        """One attempt, from its claim to its end in the store."""
        result: bytes | None = None
        reasons: tuple[str, ...] = ()
        try:
            result = await run.work.run()
        except asyncio.CancelledError:
            reasons = ("the work was cancelled from within",)
        except KitfoxError as error:
            reasons = (error.message,)
        except Exception:
            log.exception("Job %s failed", run.job.id)
            reasons = ("it failed; the server's log has the details",)
        try:
            if not run.interrupted:
                await self._settle(run.job, result, reasons)
        finally:
            self._running.pop(run.job.id, None)
            self._bell.set()

    async def _settle(self, job: Job, result: bytes | None, reasons: tuple[str, ...]) -> None:
        """Brings the record of a job whose work has ended to a final state, however long it takes.

        As long as the store cannot be written nothing else can be done for it; should the server
        end meanwhile, the job is run again.
        """
        while True:
            try:
                state = await asyncio.to_thread(self._record_end, job, result, reasons)
            except Exception:
                log.exception("What became of job %s could not be kept; trying again", job.id)
                await asyncio.sleep(_AFTER_TROUBLE)
            else:
                log.info("Job %s is %s", job.id, state, extra={"log_code": "<KFX60010I>"})
                return

    def _record_end(self, job: Job, result: bytes | None, reasons: tuple[str, ...]) -> str:
        """The state in which the job is then."""
        if result is not None:
            try:
                self.results.write(job, result)
                done = self.store.publish(
                    job.id,
                    attempt=job.attempt,
                    put_in_place=lambda: self.results.put_in_place(job),
                )
            except OSError as error:
                log.error("The result of job %s could not be kept: %s", job.id, error)
                reasons = (f"the result could not be kept: {error.strerror}",)
            else:
                if done is not None:
                    return done.state
            self.results.discard(job)
        while True:
            try:
                current = self.store.get(job.id)
            except JobNotFound:
                return "no longer known"
            if current.attempt != job.attempt or current.state is JobState.QUEUED:
                return "no longer this server's"
            if current.state in TERMINAL:
                return current.state
            canceling = current.state is JobState.CANCELING
            moved = self.store.move(
                job.id,
                [current.state],
                JobState.CANCELED if canceling else JobState.ERRORED,
                attempt=job.attempt,
                reasons=() if canceling else reasons,
            )
            if moved is not None:  # None: somebody cancelled it just now
                self.results.remove(job.id)
                return moved.state

    def _take_over(self) -> None:
        """Sends back into the queue what nobody works on any more."""
        for job in self._claimed():
            if job.id not in self._running and self._is_abandoned(job):
                self._give_back(job)
                log.info("Found job %s", job.id, extra={"log_code": "<KFX60020I>"})

    def _is_abandoned(self, job: Job) -> bool:
        if not self.store.database.shared:
            return True
        seen = job.heartbeat or job.started
        silence = datetime.timedelta(seconds=_SILENCE)
        return seen is None or seen < datetime.datetime.now(datetime.UTC) - silence

    def _give_back(self, job: Job) -> None:
        """Deals with a job that was claimed and whose work has been left; others' are refused."""
        if not self.store.requeue(job.id, attempt=job.attempt):
            canceled = self.store.move(
                job.id, [JobState.CANCELING], JobState.CANCELED, attempt=job.attempt
            )
            if canceled is not None:
                self.results.remove(job.id)

    def _claimed(self) -> list[Job]:
        states = [JobState.RUNNING, JobState.CANCELING]
        return self.store.list(states=states, limit=1_000_000, newest_first=False)

    async def _follow_others(self) -> None:
        """Learns what other servers have done to the jobs that run here, and shows them life."""
        if not self.store.database.shared:
            return
        here = list(self._running.values())
        claimed = {job.id: job for job in await asyncio.to_thread(self._claimed)}
        for run in here:
            job = claimed.get(run.job.id)
            lost = job is None or job.attempt != run.job.attempt
            if lost or (job is not None and job.state is JobState.CANCELING):
                run.work.cancel()
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + _BEAT
            await asyncio.to_thread(self._beat, here)
            await asyncio.to_thread(self._take_over)

    def _beat(self, here: list[_Run]) -> None:
        for run in here:
            self.store.beat(run.job.id, attempt=run.job.attempt)

    async def _purge(self) -> None:
        """Forgets what has been kept long enough."""
        if self._retention is None or time.monotonic() < self._next_purge:
            return
        pause = min(_LONGEST_PURGE_PAUSE, max(0.5, self._retention.total_seconds() / 10))
        self._next_purge = time.monotonic() + pause
        if await asyncio.to_thread(self._purge_some, self._retention):
            self._next_purge = 0.0  # there is more

    def _purge_some(self, retention: datetime.timedelta) -> int:
        """How many jobs it was."""
        ids = self.store.ended_before(datetime.datetime.now(datetime.UTC) - retention, limit=500)
        for job_id in ids:
            self.results.remove(job_id)
        if ids:
            self.store.remove(ids)
        return len(ids)

    def _tasks(self) -> list["asyncio.Task[None]"]:
        return [run.task for run in self._running.values() if run.task is not None]
