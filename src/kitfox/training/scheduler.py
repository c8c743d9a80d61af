"""Who runs jobs: claims what is queued, starts workers, notices their end, cancels.

A thread that sleeps until something happens: a job was submitted, a worker ended, somebody cancels.
It knows nothing of training; it starts, watches, stops by a deadline, and keeps the store true.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from kitfox import logs
from kitfox.errors import FailedPrecondition
from kitfox.training import job_log, processes, publication
from kitfox.training.database import SqliteDatabase
from kitfox.training.jobs import TERMINAL, Job, JobState
from kitfox.training.launchers import (
    AdoptedWorker,
    Exit,
    Launcher,
    SubprocessLauncher,
    WorkerHandle,
)
from kitfox.training.scheduler_lock import SchedulerLock
from kitfox.training.store import JobStore

__all__ = ["Scheduler"]

log = logs.channel("TRAINING")

_LOOK_AGAIN = 0.02
"""Seconds until the next look at processes that were killed and are not gone yet."""
_WITHOUT_PIDFD = 0.25
"""Seconds between looks at workers whose end the kernel does not announce."""
_AFTER_TROUBLE = 1.0
"""Seconds until the next try when the store could not be used."""
_SHARED_STORE = 1.0
"""Seconds between looks into a store that other servers write as well."""


@dataclass(kw_only=True, slots=True)
class _Watched:
    """A worker that runs, or has ended and is not accounted for."""

    job: Job
    """As it was when the worker was started or adopted."""
    handle: WorkerHandle
    """The process."""
    exit: Exit | None = None
    """How it ended."""
    kill_at: float | None = None
    """When patience with a cancelled worker ends, in monotonic seconds."""


class Scheduler:
    """Runs the jobs of one store in worker processes, which outlive it.

    Args:
        store: The jobs.
        max_concurrent: How many workers run at the same time.
        queue_limit: How many jobs may wait.
        launcher: How workers are started; a new Python process for each unless given.
        cancel_grace: Seconds that a worker has for its end when it is cancelled.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        max_concurrent: int = 2,
        queue_limit: int = 1000,
        launcher: Launcher | None = None,
        cancel_grace: float = 10.0,
    ) -> None:
        self.store = store
        self.max_concurrent = max_concurrent
        self.queue_limit = queue_limit
        self._launcher = launcher or SubprocessLauncher(store_url=store.url)
        self._cancel_grace = cancel_grace
        self._host = os.uname().nodename
        self._watched: list[_Watched] = []
        self._to_cancel: deque[str] = deque()
        self._stopping = False
        self._lock: SchedulerLock | None = None
        self._thread: threading.Thread | None = None
        self._bell: int | None = None
        self._bell_guard = threading.Lock()

    def start(self) -> None:
        """Takes over what an earlier server left running and begins to run what is queued.

        Raises:
            FailedPrecondition: Another scheduler uses the same store.
        """
        if self._thread is not None:
            raise FailedPrecondition("This scheduler has been started already")
        database = self.store.database
        if isinstance(database, SqliteDatabase):
            path = database.path.with_name(database.path.name + ".lock")
            self._lock = SchedulerLock(path, store=database.name)
        try:
            self._adopt()
        except BaseException:
            self._release()
            raise
        self._launcher.prepare()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="kitfox-scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Running workers go on; the next scheduler finds them."""
        self._stopping = True
        self._ring()
        if self._thread is not None:
            self._thread.join()
        with self._bell_guard:
            if self._bell is not None:
                os.close(self._bell)
                self._bell = None
        self._launcher.close()
        self._release()

    def submit(self, job: Job) -> None:
        """Keeps a job, durably, and lets it run as soon as there is a place.

        Raises:
            ResourceExhausted: As many jobs wait as may.
        """
        self.store.add(job, queue_limit=self.queue_limit)
        self._ring()

    def cancel(self, job_id: str) -> Job:
        """Ends a job, if it has not ended; gives it as it is then.

        One that waits is CANCELED at once. One that runs is CANCELING until its processes are
        gone: they are asked to end, and killed when `cancel_grace` is over.
        """
        while True:
            job = self.store.get(job_id)
            if job.state is JobState.QUEUED:
                moved = self.store.move(job_id, [JobState.QUEUED], JobState.CANCELED)
            elif job.state is JobState.RUNNING:
                moved = self.store.move(
                    job_id, [JobState.RUNNING], JobState.CANCELING, attempt=job.attempt
                )
                self._to_cancel.append(job_id)
                self._ring()
            else:
                return job
            if moved is not None:
                return moved

    def _run(self) -> None:
        while not self._stopping:
            pause: float | None = None
            try:
                self._stop_cancelled()
                self._account_for_ended()
                self._fill()
            except Exception:
                log.exception("The scheduler met an error and goes on")
                pause = _AFTER_TROUBLE
            self._sleep(pause)

    def _adopt(self) -> None:
        """Finds what an earlier scheduler has left behind."""
        for state in (JobState.RUNNING, JobState.CANCELING):
            for job in self._all(state):
                if self.store.database.shared and job.worker_host != self._host:
                    continue  # it has a scheduler over there
                if job.worker_pid is None and self._give_back(job):
                    continue
                current = self.store.get(job.id)
                if current.worker_pid is None or current.state in TERMINAL:
                    continue
                handle = AdoptedWorker(current.worker_pid, current.worker_start)
                self._watched.append(_Watched(job=current, handle=handle))
                if current.state is JobState.CANCELING:
                    self._to_cancel.append(job.id)
                log.info(
                    "Found training %s, worker %d",
                    job.id,
                    current.worker_pid,
                    extra={"log_code": "<KFX50010I>"},
                )

    def _all(self, state: JobState) -> list[Job]:
        return self.store.list(states=[state], limit=1_000_000, newest_first=False)

    def _give_back(self, job: Job) -> bool:
        """Deals with a job that was claimed and that no worker has begun.

        Should its worker be on the way still, the store will tell it that it is not wanted.
        """
        if job.state is JobState.CANCELING:
            canceled = self.store.move(
                job.id, [JobState.CANCELING], JobState.CANCELED, attempt=job.attempt
            )
            return canceled is not None
        return self.store.requeue(job.id, attempt=job.attempt)

    def _stop_cancelled(self) -> None:
        """Asks the processes of cancelled jobs to end."""
        if self.store.database.shared:
            self._to_cancel.extend(job.id for job in self._all(JobState.CANCELING))
        while self._to_cancel:
            job_id = self._to_cancel.popleft()
            for watched in self._watched:
                if watched.job.id == job_id and watched.kill_at is None:
                    watched.kill_at = time.monotonic() + self._cancel_grace
                    processes.kill_group(watched.handle.pid, signal.SIGTERM)

    def _account_for_ended(self) -> None:
        """Looks at every worker, and settles the jobs of those that have ended."""
        for watched in list(self._watched):
            if watched.exit is None:
                watched.exit = watched.handle.poll()
            if watched.exit is None:
                if watched.kill_at is not None and time.monotonic() >= watched.kill_at:
                    self._kill(watched)
            elif self._settle(watched, watched.exit):
                watched.handle.close()
                self._watched.remove(watched)

    def _settle(self, watched: _Watched, how: Exit) -> bool:
        """Brings the record of a job whose worker has ended to a final state; False: later."""
        job = self.store.get(watched.job.id)
        if job.state in TERMINAL or job.attempt != watched.job.attempt:
            # What a child of this process leaves behind was killed when it was reaped.
            return how.status is not None or not self._kill(watched)
        if self._kill(watched):
            return False
        reasons: tuple[str, ...] = ()
        if publication.is_published(job):  # it died between the last rename and the last commit
            state = JobState.COMPLETED
        elif job.state is JobState.CANCELING:
            state = JobState.CANCELED
        else:
            state = JobState.ERRORED
            reasons = (str(how),)
        publication.discard(job)
        moved = self.store.move(
            job.id,
            [job.state],
            state,
            attempt=job.attempt,
            reasons=reasons,
            log_tail=job_log.tail(job.log_path),
        )
        log.info("Training %s is %s: %s", job.id, state, how, extra={"log_code": "<KFX50020I>"})
        return moved is not None  # None: somebody cancelled it just now

    def _kill(self, watched: _Watched) -> bool:
        """Kills every process of a job; whether there was any."""
        found = processes.relatives(watched.handle.pid, watched.handle.start, watched.job.id)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    def _fill(self) -> None:
        """Starts queued jobs while there are free places."""
        while len(self._watched) < self.max_concurrent:
            job = self.store.claim_next(host=self._host)
            if job is None:
                return
            try:
                handle = self._launcher.launch(job)
            except Exception as error:
                log.exception("The worker of training %s could not be started", job.id)
                self.store.move(
                    job.id,
                    [JobState.RUNNING],
                    JobState.ERRORED,
                    attempt=job.attempt,
                    reasons=(f"worker could not be started: {error}",),
                )
                continue
            self._watched.append(_Watched(job=job, handle=handle))

    def _sleep(self, pause: float | None) -> None:
        """Waits until there is something to do."""
        poller = select.poll()
        limits = [] if pause is None else [pause]
        if self._bell is not None and pause is None:
            poller.register(self._bell, select.POLLIN)
        for watched in self._watched:
            if watched.exit is not None:
                limits.append(_LOOK_AGAIN)
                continue
            descriptor = watched.handle.fileno()
            if descriptor is None:
                limits.append(_WITHOUT_PIDFD)
            elif pause is None:
                poller.register(descriptor, select.POLLIN)
            if watched.kill_at is not None:
                limits.append(max(_LOOK_AGAIN, watched.kill_at - time.monotonic()))
        if self.store.database.shared:
            limits.append(_SHARED_STORE)
        poller.poll(min(limits) * 1000 if limits else None)
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)

    def _ring(self) -> None:
        """Wakes the thread."""
        with self._bell_guard:
            if self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def _release(self) -> None:
        for watched in self._watched:
            watched.handle.close()
        self._watched.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def log_folder(store: JobStore, otherwise: Path) -> Path:
    """Where the logs of a store's jobs lie: beside its file, if it is one."""
    database = store.database
    if isinstance(database, SqliteDatabase):
        return database.path.with_name(database.path.name + ".logs")
    return otherwise / ".logs"
