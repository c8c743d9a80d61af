"""What is said when there is no room: how much is needed, how much is free, and where.

What saves a model is an author's code and libraries below it; whatever they make of a full disk,
in the end a caller reads one sentence with the figures.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from kitfox.errors import DiskFull

__all__ = ["explained_space"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TEXT = os.strerror(errno.ENOSPC)


@contextlib.contextmanager
def explained_space(what: str, written: Path, place: Path) -> Iterator[None]:
    """Turns errors for want of room into `DiskFull`, and has other ones say where they came up.

    Args:
        what: What is being done, as it follows "while".
        written: The folder that is being written, and may be there in part.
        place: What an operator knows of where that is.

    Raises:
        DiskFull: What is inside failed because the disk is full.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        number = _number(error)
        if number is None:
            if isinstance(error, OSError) and error.errno and not error.filename:
                # Of a call for an open file; without the path nobody knows which disk.
                raise OSError(error.errno, error.strerror, str(place)) from error
            raise
        # What has been written would be free again without it, so it counts as both.
        taken = _taken(written)
        free = None if number == errno.EDQUOT else taken + _free(written)
        needed = 1 + (taken if free is None else free)
        raise DiskFull(what, place, needed=needed, free=free) from error


def _number(error: BaseException) -> int | None:
    """The error number that says so, in an error or in what led to it; None if none does."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        if isinstance(now, OSError) and now.errno in _NO_ROOM:
            return now.errno
        if _TEXT in str(now):  # what C++ libraries make of it
            return errno.ENOSPC
        now = now.__cause__ or now.__context__
    return None


def _taken(folder: Path) -> int:
    """Bytes of the disk that a folder and what is in it have."""
    total = 0
    for parent, _, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in names)):  # noqa: PTH118 -- text is quicker
            with contextlib.suppress(OSError):
                total += os.lstat(path).st_blocks * 512
    return total


def _free(path: Path) -> int:
    """Bytes that are free where a path is, or would be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail  # some are kept for root
    return blocks * found.f_frsize
