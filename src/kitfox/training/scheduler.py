"""Who runs jobs: claims what is queued, starts workers, notices their end, cancels.

A thread that sleeps until something happens: a job was submitted, a worker ended, somebody cancels,
here or, by the bell of the store, in another process. It knows nothing of training; it starts,
watches, stops by a deadline, and keeps the store true.
"""

import contextlib
import functools
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from kitfox import logs
from kitfox.errors import FailedPrecondition, JobNotFound, KitfoxError
from kitfox.training import processes
from kitfox.training.bell import Bell, bell_path, ring
from kitfox.training.jobs import TERMINAL, Job, JobState
from kitfox.training.launchers import (
    AdoptedWorker,
    Exit,
    Launcher,
    SubprocessLauncher,
    WorkerHandle,
)
from kitfox.training.lease import Lease
from kitfox.training.scheduler_lock import SchedulerLock
from kitfox.training.settlement import Settlement
from kitfox.training.sqlite_database import SqliteDatabase
from kitfox.training.store import JobStore
from kitfox.training.watched import Patience, Watched

__all__ = ["Scheduler"]

log = logs.channel("TRAINING")

_LOOK_AGAIN = 0.02
"""Seconds until the next look at processes that were killed and are not gone yet."""
_WITHOUT_PIDFD = 0.25
"""Seconds between looks at workers whose end the kernel does not announce."""
_AFTER_TROUBLE = 0.1
"""Seconds until the next try when something failed, such as a change of the store; twice as many
each time that something fails again, ..."""
_LONGEST_PAUSE = 5.0
"""... up to this."""
_WITHOUT_BELL = 1.0
"""Seconds between looks into a store whose bell others cannot ring, or that other servers share."""

_ASKED_TO_END = (JobState.CANCELING, JobState.STOPPING)


class Scheduler:
    """Runs the jobs of one store in worker processes, which outlive it.

    Args:
        store: The jobs.
        max_concurrent: How many workers run at the same time.
        queue_limit: How many jobs may wait.
        launcher: How workers are started; a new Python process for each unless given.
        cancel_grace: Seconds that a worker has for its end when it is cancelled.
        stop_grace: Seconds that it has when it is to keep what there is; then it is cancelled, but
            for its last checkpoint.
        lease: Seconds without a sign of life after which a worker counts as dead.
        on_end: Told, in the scheduler's thread, of each job that has ended after a worker was
            started for it.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        max_concurrent: int = 2,
        queue_limit: int = 1000,
        launcher: Launcher | None = None,
        cancel_grace: float = 10.0,
        stop_grace: float = 60.0,
        lease: float = 30.0,
        on_end: Callable[[Job], None] | None = None,
    ) -> None:
        self.store = store
        self.max_concurrent = max_concurrent
        self.queue_limit = queue_limit
        self.on_end = on_end
        self._launcher = launcher or SubprocessLauncher(store_url=store.url)
        self._patience = Patience(cancel=cancel_grace, stop=stop_grace)
        self._lease: Lease[tuple[str, int]] = Lease(lease)
        self._settlement = Settlement(store)
        self._host = os.uname().nodename
        self._identity = ""
        self._watched: list[Watched] = []
        self._asked: deque[tuple[str, JobState]] = deque()
        self._unsure = False
        self._known: set[str] = set()
        self._troubles: set[str] = set()
        self._stopping = False
        self._lock: SchedulerLock | None = None
        self._thread: threading.Thread | None = None
        self._waker: int | None = None
        self._waker_guard = threading.Lock()
        self._bell: Bell | None = None

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
        pid = os.getpid()
        self._identity = f"{self._host} {pid} {processes.start_token(pid)}"
        try:
            self._hang_bell()
            self._try(self._adopt_all)
        except BaseException:
            self._release()
            raise
        self._launcher.prepare()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="kitfox-scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Running workers go on; the next scheduler finds them."""
        self._stopping = True
        self._ring()
        if self._thread is not None:
            self._thread.join()
        with self._waker_guard:
            if self._waker is not None:
                os.close(self._waker)
                self._waker = None
        self._launcher.close()
        self._release()

    def submit(self, job: Job) -> None:
        """Keeps a job, durably, and lets it run as soon as there is a place.

        Raises:
            ResourceExhausted: As many jobs wait as may.
        """
        try:
            self.store.add(job, queue_limit=self.queue_limit)
        finally:
            self._ring()  # a failure may be that of the answer, with the job in the store

    def cancel(self, job_id: str) -> Job:
        """Ends a job, if it has not ended; gives it as it is then.

        One that waits is CANCELED at once. One that runs is CANCELING until its processes are
        gone: they are asked to end, and killed when `cancel_grace` is over.
        """
        return self._ask(job_id, JobState.CANCELING, (JobState.RUNNING, JobState.STOPPING))

    def stop_job(self, job_id: str) -> Job:
        """Lets a job end early with what it has; gives it as it is then.

        One that waits has ended at once: CANCELED if no attempt has left a checkpoint. One that
        runs is STOPPING until its model is there, or its last checkpoint has become it.
        """
        return self._ask(job_id, JobState.STOPPING, (JobState.RUNNING,))

    def _ask(self, job_id: str, state: JobState, running: tuple[JobState, ...]) -> Job:
        while True:
            job = self.store.get(job_id)
            try:
                if job.state is JobState.QUEUED and job.attempt:
                    moved = self._end_between_attempts(job, state)
                elif job.state is JobState.QUEUED:
                    moved = self.store.move(job_id, [JobState.QUEUED], JobState.CANCELED)
                elif job.state in running:
                    moved = self.store.move(job_id, [job.state], state, attempt=job.attempt)
                    self._asked.append((job_id, state))
                    self._ring()
                else:
                    return job
            except BaseException:
                self._unsure = True  # it may have been asked for all the same
                self._ring()
                raise
            if moved is not None:
                return moved

    def _end_between_attempts(self, job: Job, state: JobState) -> Job | None:
        """Ends a job that waits to be tried again, as if its last worker had just gone.

        Its earlier attempts may have left checkpoints: to be kept, or to be cleared away. Should
        that fail, the scheduler of the store tries it again.
        """
        asked = self.store.interrupt(job.id, state, attempt=job.attempt)
        if asked is None:
            return None
        settled = self._settlement.settle(asked, "ended while it waited to be tried again")
        self._tell_end(settled)
        return settled

    def _run(self) -> None:
        pause: float | None = None
        while not self._stopping:
            # Each by itself: a store that cannot be written to must not keep workers from being
            # killed, one of which may be what keeps others from writing.
            for step in (
                self._listen,
                self._press,
                self._look_for_silence,
                self._account_for_ended,
                self._fill,
            ):
                self._try(step)
            if not self._unsure:
                pause = None
            else:
                pause = _AFTER_TROUBLE if pause is None else min(2 * pause, _LONGEST_PAUSE)
            self._known, self._troubles = self._troubles, set()
            self._sleep(pause)

    def _try(self, step: Callable[[], object]) -> None:
        """Does something; should it fail, all that is under way is looked at again before long."""
        try:
            step()
        except KitfoxError as error:
            if str(error) not in self._known | self._troubles:
                log.warning("The scheduler goes on after an error: %s", error)
            self._troubles.add(str(error))
            self._unsure = True
        except Exception:
            log.exception("The scheduler met an error and goes on")
            self._unsure = True

    def _adopt_all(self) -> None:
        """Takes up what is under way and not watched.

        An earlier scheduler has left it behind; or this one, when it could not tell the store what
        had become of it.
        """
        watched = {(watched.job.id, watched.job.attempt) for watched in self._watched}
        for job_id, attempt, _, host, scheduler in self.store.signs():
            if (job_id, attempt) not in watched and self._is_mine(host, scheduler):
                self._try(functools.partial(self._adopt, job_id))

    def _is_mine(self, host: str, scheduler: str) -> bool:
        """Whether this scheduler is to look after a job."""
        return scheduler == self._identity or self._is_orphan(host, scheduler)

    def _is_orphan(self, host: str, scheduler: str) -> bool:
        """Whether a job has no scheduler any more, and this one is to look after it."""
        if not self.store.database.shared:
            return scheduler != self._identity  # who had the store before is gone
        if host != self._host:
            return False  # it has a scheduler over there
        pid, _, token = scheduler.removeprefix(f"{host} ").partition(" ")
        return not (pid.isdigit() and processes.is_running(int(pid), token))

    def _adopt(self, job_id: str) -> None:
        while True:
            job = self.store.get(job_id)
            if job.state in (*TERMINAL, JobState.QUEUED):
                return
            if job.worker_pid is not None:
                break
            if self._give_back(job):
                return
        handle = AdoptedWorker(job.worker_pid, job.worker_start)
        self._watch(job, handle)
        if job.state in _ASKED_TO_END:
            self._asked.append((job.id, job.state))
        log.info(
            "Found training %s, worker %d",
            *(job.id, job.worker_pid),
            extra={"log_code": "<KFX50010I>"},
        )

    def _watch(self, job: Job, handle: WorkerHandle) -> None:
        mark = processes.job_mark(self.store.url, job.id)
        self._watched.append(Watched(job=job, handle=handle, mark=mark, patience=self._patience))

    def _give_back(self, job: Job) -> bool:
        """Deals with a job that was claimed and that no worker has begun; False: it has changed.

        Should its worker be on the way still, the store will tell it that it is not wanted.
        """
        if job.state in _ASKED_TO_END:
            settled = self._settlement.settle(job, "ended before a worker began")
            self._tell_end(settled)
            return settled is not None
        return self.store.requeue(job.id, attempt=job.attempt)

    def _listen(self) -> None:
        """Hears what jobs were asked to end, here or in other processes."""
        rung = self._bell.clear() if self._bell is not None else True
        unsure, self._unsure = self._unsure, False
        if unsure:
            self._adopt_all()
        if rung or unsure:
            self._look_for_asked()
        while self._asked:
            job_id, state = self._asked.popleft()
            for watched in self._watched:
                if watched.job.id == job_id:
                    watched.obey(state)

    def _look_for_asked(self) -> None:
        """Finds the jobs that were asked to end and have not."""
        watched = {watched.job.id for watched in self._watched}
        for job in self.store.list(states=_ASKED_TO_END, limit=1_000_000):
            if job.id in watched:
                self._asked.append((job.id, job.state))
            elif self._is_mine(job.worker_host, job.scheduler):
                # It waited to be tried again, and who was asked to end it could not.
                self._try(functools.partial(self._adopt, job.id))

    def _press(self) -> None:
        """Asks and kills those whose time is over."""
        for watched in self._watched:
            watched.press()

    def _look_for_silence(self) -> None:
        """Kills workers that give no signs of life, and takes over from hosts that do not."""
        if self._lease.next_look() > 0 or not (self._watched or self.store.database.shared):
            return
        signs = {(sign[0], sign[1]): sign for sign in self.store.signs()}
        counts = {who: sign[2] for who, sign in signs.items()}
        mine = {(watched.job.id, watched.job.attempt): watched for watched in self._watched}
        for who in counts.keys() & mine.keys():
            if mine[who].works() and self._lease.is_silent(who, counts[who]):
                counts[who] += 1
                if self.store.database.shared:  # so that other hosts see it as well
                    self.store.beat(who[0], attempt=who[1])
        # Those that have told their end may stand still as well, and would keep their places.
        for who in mine.keys() - counts.keys():
            mine[who].works()
            counts[who] = mine[who].ticks
        silent = self._lease.look(counts)
        why = f"worker gave no sign of life for {self._lease.seconds:g} s"
        for who in silent & mine.keys():
            # First of all: it may be holding the lock that every writer waits for.
            if mine[who].exit is None and mine[who].kill():
                mine[who].why = why
        for who in signs.keys() - mine.keys():
            _, _, _, host, scheduler = signs[who]
            if self._is_mine(host, scheduler):
                self._try(functools.partial(self._adopt, who[0]))
            elif who in silent and host != self._host:
                self._try(functools.partial(self._take_over, *who, why))

    def _take_over(self, job_id: str, attempt: int, why: str) -> None:
        """Settles a job of another host; what its worker there still writes is refused."""
        job = self.store.get(job_id)
        if job.attempt == attempt and job.state not in (*TERMINAL, JobState.QUEUED):
            settled = self._settlement.settle(job, f"{why} on host {job.worker_host}")
            self._tell_end(settled)

    def _account_for_ended(self) -> None:
        """Looks at every worker, and settles the jobs of those that have ended."""
        for watched in list(self._watched):
            # Each by itself: there may be trouble with the place of one model.
            self._try(functools.partial(self._account_for, watched))

    def _account_for(self, watched: Watched) -> None:
        if watched.exit is None:
            watched.exit = watched.handle.poll()
        if watched.exit is not None and self._settle(watched, watched.exit):
            watched.handle.close()
            self._watched.remove(watched)

    def _settle(self, watched: Watched, how: Exit) -> bool:
        """Brings the record of a job whose worker has ended to what follows; False: later."""
        try:
            job = self.store.get(watched.job.id)
        except JobNotFound:  # ended and removed
            return True
        over = job.state in TERMINAL
        if over or job.state is JobState.QUEUED or job.attempt != watched.job.attempt:
            # What a child of this process leaves behind was killed when it was reaped.
            if how.status is None and watched.kill():
                return False
            self._settlement.clear(job, watched.job.attempt)
            self._tell_end(job if over else None)
            return True
        if watched.kill():
            return False
        settled = self._settlement.settle(job, watched.why or str(how))
        self._tell_end(settled)
        return settled is not None  # None: somebody cancelled it just now

    def _tell_end(self, job: Job | None) -> None:
        if self.on_end is None or job is None or job.state not in TERMINAL:
            return
        try:
            self.on_end(job)
        except Exception:
            log.exception("The end of training %s could not be told", job.id)

    def _fill(self) -> None:
        """Starts queued jobs while there are free places."""
        while (free := self.max_concurrent - len(self._watched)) > 0:
            # Asked first, as claiming has to wait for whoever is writing.
            if not self.store.list(states=[JobState.QUEUED], limit=1, newest_first=False):
                return
            claimed = self.store.claim(host=self._host, scheduler=self._identity, limit=free)
            for job in claimed:
                self._try(functools.partial(self._launch, job))
            if self._unsure:  # else all that wait might be claimed in vain, one after the other
                return

    def _launch(self, job: Job) -> None:
        try:
            handle = self._launcher.launch(job)
        except Exception as error:
            log.exception("The worker of training %s could not be started", job.id)
            moved = self.store.move(
                job.id,
                [JobState.RUNNING],
                JobState.ERRORED,
                attempt=job.attempt,
                reasons=(f"worker could not be started: {error}",),
            )
            self._tell_end(moved)
            return
        self._watch(job, handle)

    def _sleep(self, pause: float | None) -> None:
        """Waits until there is something to do."""
        poller = select.poll()
        limits = [] if pause is None else [pause]
        for source in (self._waker, self._bell):
            if source is not None:
                poller.register(source, select.POLLIN)
        for watched in self._watched:
            if watched.exit is not None:
                if pause is None:
                    limits.append(_LOOK_AGAIN)
                continue
            descriptor = watched.handle.fileno()
            if descriptor is None:
                limits.append(_WITHOUT_PIDFD)
            elif pause is None:
                poller.register(descriptor, select.POLLIN)
            due = watched.due()
            if due is not None:
                limits.append(max(_LOOK_AGAIN, due))
        if self._watched and pause is None:
            limits.append(max(_LOOK_AGAIN, self._lease.next_look()))
        if self._bell is None:
            limits.append(_WITHOUT_BELL)
        poller.poll(min(limits) * 1000 if limits else None)
        if self._waker is not None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._waker)

    def _ring(self) -> None:
        """Wakes the thread, or the scheduler of another process if this one does not run."""
        with self._waker_guard:
            if self._waker is not None:
                os.eventfd_write(self._waker, 1)
                return
        path = bell_path(self.store.database)
        if path is not None:
            ring(path)

    def _hang_bell(self) -> None:
        path = bell_path(self.store.database)
        if path is None:
            return
        try:
            self._bell = Bell(path)
        except OSError as error:  # a file system without pipes
            log.warning(
                "%s cannot be made, so the job store is looked at each second: %s", path, error
            )

    def _release(self) -> None:
        for watched in self._watched:
            watched.handle.close()
        self._watched.clear()
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def log_folder(store: JobStore, otherwise: Path) -> Path:
    """Where the logs of a store's jobs lie: beside its file, if it is one."""
    database = store.database
    if isinstance(database, SqliteDatabase):
        return database.path.with_name(database.path.name + ".logs")
    return otherwise / ".logs"
