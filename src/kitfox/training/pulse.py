"""The signs of life of a worker, and what it is told in answer.

A thread looks into the store every half second for an order, and writes there what is new:
progress, the end of the log, the newest checkpoint. Even if nothing is, a sign of life goes out
every few seconds, by which a scheduler tells a worker that works from one that hangs.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kitfox.errors import KitfoxError
from kitfox.training import job_log
from kitfox.training.database import StoreGone
from kitfox.training.jobs import Job, Order, Progress
from kitfox.training.outcome import GONE_PATIENCE
from kitfox.training.progress import JobContext
from kitfox.training.publication import partial_path
from kitfox.training.store import JobStore

__all__ = ["LOST_STATUS", "Pulse"]

log = logging.getLogger("kitfox.TRAINING")

LOST_STATUS = 75
"""The exit status of a worker whose attempt does not count any more."""

_CLEAR = "import os, shutil, sys; shutil.rmtree(sys.argv[1], True); os._exit(int(sys.argv[2]))"


class Pulse:
    """Signs of life of one attempt.

    Args:
        store: The worker's own.
        job: The record of the job.
        cancel: Called, once, when the job is to end and nothing of it is kept.
    """

    look = 0.5
    """Seconds between looks for an order."""
    interval = 1.0
    """Seconds between signs of life while there is something new."""
    silence = 5.0
    """Seconds between signs of life else."""

    def __init__(self, store: JobStore, job: Job, *, cancel: Callable[[], None]) -> None:
        self._store = store
        self._job = job
        self._cancel = cancel
        self._context: JobContext | None = None
        self._checkpoint: Path | None = None
        self._told: tuple[Progress | None, tuple[int, int], Path | None] | None = None
        self._told_at = time.monotonic()
        self._troubled = False
        self._gone_since: float | None = None
        self._cancelled = False
        self._deaf = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kitfox-pulse", daemon=True)

    def start(self, context: JobContext) -> None:
        """Begins; the context tells the progress, and is told to stop."""
        self._context = context
        self._thread.start()

    def ignore_orders(self) -> None:
        """Gives signs of life as before, and does nothing of what it is told.

        When the store has the outcome, the attempt is one that does not count any more.
        """
        self._deaf = True

    def stop(self) -> None:
        """Gives no further sign, and waits for one that is on its way."""
        self._deaf = True
        self._ended.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=self.silence)

    def tell_checkpoint(self, path: Path) -> bool:
        """Takes a new checkpoint to the store at once; False if it has to be tried again later."""
        self._checkpoint = path
        return self._beat()

    def _run(self) -> None:
        while not self._ended.wait(self.look):
            try:
                job_log.limit(self._job.log_path)
                if self._is_due():
                    self._beat()
                else:
                    self._obey(self._store.order(self._job.id, attempt=self._job.attempt))
                    self._troubled, self._gone_since = False, None
            except KitfoxError as error:
                self._tell_trouble(error)
            except Exception:  # the thread is what keeps the job from counting as dead
                log.exception("A sign of life met an error")

    def _is_due(self) -> bool:
        silent = time.monotonic() - self._told_at
        return silent >= (self.interval if self._news() != self._told else self.silence)

    def _news(self) -> tuple[Progress | None, tuple[int, int], Path | None]:
        """What there is to tell; of the log only whether it has changed."""
        progress = None if self._context is None else self._context.progress
        return progress, job_log.mark(self._job.log_path), self._checkpoint

    def _beat(self) -> bool:
        """One sign of life, with all that is new; False if the store could not be told."""
        with self._lock:
            news, told = self._news(), self._told
            progress, mark, checkpoint = news
            try:
                order = self._store.beat(
                    self._job.id,
                    attempt=self._job.attempt,
                    progress=progress,
                    log_tail=job_log.tail(self._job.log_path)
                    if told is None or mark != told[1]
                    else None,
                    checkpoint=None if checkpoint is None else str(checkpoint),
                )
            except KitfoxError as error:  # the next one may have more luck
                self._tell_trouble(error)
                self._told_at = time.monotonic()
                return False
            self._told, self._told_at, self._troubled = news, time.monotonic(), False
            self._gone_since = None
        self._obey(order)
        return True

    def _tell_trouble(self, error: KitfoxError) -> None:
        if isinstance(error, StoreGone):
            now = time.monotonic()
            if self._gone_since is None:
                self._gone_since = now
            elif now - self._gone_since >= GONE_PATIENCE:
                self._give_up(f"{error}. Nobody would learn what becomes of this training: it ends")
        elif not self._troubled:
            log.warning("No sign of life could be given; trying again: %s", error)
            self._troubled = True

    def _obey(self, order: Order) -> None:
        if self._deaf:
            return
        if order is Order.STOP and self._context is not None:
            self._context.stop()
        elif order is Order.CANCEL and not self._cancelled:
            self._cancelled = True
            self._cancel()
        elif order is Order.LOST:
            self._give_up(f"Attempt {self._job.attempt} does not count any more and ends")

    def _give_up(self, why: str) -> None:
        """Ends everything of this attempt: another one has taken its place, or nothing has."""
        log.warning("%s", why)
        me = os.getpid()
        if os.getsid(0) == me:  # not in somebody else's session, as in a test
            for pid in _session(me):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        # Whatever else runs in this process may be saving: a new program ends it all, then clears.
        left, status = str(partial_path(self._job)), str(LOST_STATUS)
        with contextlib.suppress(OSError):
            command = [sys.executable, "-I", "-S", "-c", _CLEAR, left, status]
            os.execv(sys.executable, command)  # noqa: S606 -- no shell is wanted
        os._exit(LOST_STATUS)


def _session(leader: int) -> list[int]:
    """The other processes of a session. Not those of the job: a later attempt is one of its."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found
