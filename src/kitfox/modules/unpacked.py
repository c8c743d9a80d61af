"""Folders that zip files of models are unpacked to: none outlives its process for long."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

__all__ = ["UnpackedFolder"]

_PREFIX = "kitfox-model-"
_LOCK = "lock"


class UnpackedFolder:
    """A folder below the system's one for temporary files, to be removed when it is not in use.

    A process that is killed cannot remove its own. So each is locked as long as its process lives,
    and whoever makes one removes those that nobody has locked.

    Attributes:
        path: Where to unpack to; it does not exist yet.
    """

    def __init__(self) -> None:
        _remove_left_ones()
        while True:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = self._folder / _LOCK
            self._lock = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
            # Before it was locked it could be taken for one that was left.
            if _may_lock(self._lock) and lock.exists():
                break
            os.close(self._lock)
        self.path = self._folder / "model"

    def remove(self) -> None:
        """Removes it. To be called once."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _remove_left_ones() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # it is being made, or removed, or another program's
            continue
        try:
            if _may_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _may_lock(lock: int) -> bool:
    import fcntl  # here, because those who only call a server may do so from Windows

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
