"""The bell of a job store in a file: whoever has changed a job wakes the scheduler with it.

A named pipe beside the store. Nothing is said but that there is something to look at, so a ring
that is lost costs time at most, and one too many a look.
"""

import contextlib
import os
import stat
from pathlib import Path

from kitfox.training.database import Database
from kitfox.training.sqlite_database import SqliteDatabase

__all__ = ["Bell", "bell_path", "ring"]

_ROOM = 4096
"""As many rings as are taken in at once."""


def bell_path(database: Database) -> Path | None:
    """Where the bell of a store is; None for one that schedulers look into by themselves."""
    if not isinstance(database, SqliteDatabase):
        return None
    return database.path.with_name(database.path.name + ".bell")


def ring(path: Path) -> bool:
    """Wakes the scheduler; False if nobody listens."""
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no such pipe, or no reader
        return False
    try:
        if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
            return False
        with contextlib.suppress(BlockingIOError):  # it is full of rings already
            os.write(pipe, b"!")
    except OSError:
        return False
    finally:
        os.close(pipe)
    return True


class Bell:
    """The scheduler's side, from its making until `close`.

    Args:
        path: The pipe; made if it is not there, and left there.

    Raises:
        OSError: There cannot be one, as on some network disks.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISFIFO(path.lstat().st_mode):
                path.unlink()
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # For writing as well: without a writer, a pipe that somebody has rung is always readable.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable when somebody has rung."""
        return self._pipe

    def clear(self) -> bool:
        """Whether somebody has rung since the last time."""
        try:
            return bool(os.read(self._pipe, _ROOM))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Stops listening."""
        os.close(self._pipe)
