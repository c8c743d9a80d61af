"""A worker under the eyes of a scheduler: what it was asked to do, and how long it may take."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass

from kitfox.training import processes
from kitfox.training.jobs import Job, JobState
from kitfox.training.launchers import Exit, WorkerHandle

__all__ = ["Patience", "Watched"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long workers may take for their end, in seconds."""

    cancel: float = 10.0
    """From being asked by SIGTERM to being killed."""
    stop: float = 60.0
    """From being told to keep what there is to SIGTERM."""


@dataclass(kw_only=True, slots=True)
class Watched:
    """A worker that runs, or has ended and is not accounted for."""

    job: Job
    """As it was when the worker was started or adopted."""
    handle: WorkerHandle
    """The process."""
    mark: str
    """What its processes carry, as `job_mark` gives it."""
    patience: Patience
    """How long it may take."""
    exit: Exit | None = None
    """How it ended."""
    why: str = ""
    """Why it was killed, if that was for a reason of the scheduler's."""
    ticks: int = 0
    """How much of a processor it had had when it was last looked at."""
    ask_at: float | None = None
    """When it is asked to end by a signal, in monotonic seconds."""
    kill_at: float | None = None
    """When it is killed, in monotonic seconds."""

    def obey(self, state: JobState) -> None:
        """Begins to see to it that a job comes to the end that somebody asked for."""
        if state is JobState.CANCELING and self.kill_at is None:
            self._ask()
        elif state is JobState.STOPPING and self.ask_at is None and self.kill_at is None:
            # It reads of it in the store.
            self.ask_at = time.monotonic() + self.patience.stop

    def press(self) -> None:
        """Does what is due now: asks, or kills."""
        now = time.monotonic()
        if self.exit is None and self.kill_at is not None and now >= self.kill_at:
            self.kill()
        elif self.exit is None and self.ask_at is not None and now >= self.ask_at:
            self._ask()

    def due(self) -> float | None:
        """Seconds until something is due; None if nothing will be."""
        moment = self.kill_at if self.kill_at is not None else self.ask_at
        return None if moment is None else moment - time.monotonic()

    def works(self) -> bool:
        """Whether it has been on a processor since this was asked last.

        Code that keeps the interpreter to itself lets no sign of life out, but is alive.
        """
        before, self.ticks = self.ticks, processes.processor_ticks(self.handle.pid)
        return self.exit is None and self.ticks > before

    def kill(self) -> bool:
        """Kills every process of the job; whether there was any."""
        found = processes.relatives(self.handle.pid, self.handle.start, self.mark)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    def _ask(self) -> None:
        self.ask_at = None
        self.kill_at = time.monotonic() + self.patience.cancel
        processes.kill_group(self.handle.pid, signal.SIGTERM)
