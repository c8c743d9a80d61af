"""The lock by which a job store in a file has one scheduler."""

import fcntl
import os
import time
from pathlib import Path

from kitfox.errors import FailedPrecondition
from kitfox.training.processes import start_token

__all__ = ["HasScheduler", "SchedulerLock"]

_PATIENCE = 5.0
"""For how many seconds a dead holder's lock is waited for."""


class HasScheduler(FailedPrecondition):
    """Another process runs the jobs of a store.

    Args:
        store: The store's name.
        holder: The number of the process, as far as it is known.
        lock: The lock file that it holds.
    """

    def __init__(self, store: str, holder: str, lock: Path) -> None:
        super().__init__(
            f"The job store {store} has a scheduler already: "
            f"process {holder or 'unknown'} holds {lock}"
        )


class SchedulerLock:
    """Held from its making until `release`, or until the process ends in whatever way.

    Args:
        path: The lock file; it holds the number of the process and stays when the lock is gone.
        store: The store's name, for the message.
    """

    def __init__(self, path: Path, *, store: str) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + _PATIENCE
        while not self._is_taken():
            holder = self._holder()
            # A process that was being started when its server was killed has the lock until its
            # program begins: the holder is dead then, and a moment later the lock is free.
            if not holder.isdigit() or start_token(int(holder)) or time.monotonic() > deadline:
                os.close(self._descriptor)
                raise HasScheduler(store, holder, path)
            time.sleep(0.01)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets another scheduler have it."""
        os.close(self._descriptor)

    def _is_taken(self) -> bool:
        """Tries to take the lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _holder(self) -> str:
        return os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
