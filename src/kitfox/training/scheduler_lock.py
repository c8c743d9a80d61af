"""The lock by which a job store in a file has one scheduler."""

import fcntl
import os
from pathlib import Path

from kitfox.errors import FailedPrecondition

__all__ = ["SchedulerLock"]


class SchedulerLock:
    """Held from its making until `release`, or until the process ends in whatever way.

    Args:
        path: The lock file; it holds the number of the process and stays when the lock is gone.
        store: The store's name, for the message.
    """

    def __init__(self, path: Path, *, store: str) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise FailedPrecondition(
                f"The job store {store} has a scheduler already: process {holder} holds {path}"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Lets another scheduler have it."""
        os.close(self._descriptor)
