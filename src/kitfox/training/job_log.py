"""The log of one job: a file that takes all its processes print, of which the end is shown."""

import os
import sys
from pathlib import Path

from kitfox.modules.publication import make_folder

__all__ = ["limit", "open_log", "redirect", "tail"]

TAIL_BYTES = 16 * 1024
"""How much of the end is kept in the job's record."""
MOST_BYTES = 64 * 1024 * 1024
"""How large a log may grow."""
KEPT_BYTES = 1024 * 1024
"""How much of its end is kept when it has grown too large."""


def open_log(path: str) -> int:
    """Opens a log for writing at its end, whoever else writes; gives the file descriptor."""
    make_folder(Path(path).parent)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def redirect(path: str) -> None:
    """Sends this process's output and errors, also those of C code and children, to a log."""
    descriptor = open_log(path)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def tail(path: str) -> str:
    """The last lines; empty if there is no log."""
    try:
        with Path(path).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    if size <= TAIL_BYTES:
        return text
    cut, newline, rest = text.partition("\n")
    return rest if newline else cut


def limit(path: str) -> None:
    """Drops the beginning of a log that has grown too large."""
    log = Path(path)
    try:
        if log.stat().st_size <= MOST_BYTES:
            return
        with log.open("rb") as stream:
            stream.seek(-KEPT_BYTES, os.SEEK_END)
            kept = stream.read()
        os.truncate(log, 0)  # writers append, so they go on at the new end
        with log.open("ab") as stream:
            stream.write(b"... the beginning of this log was dropped ...\n" + kept)
    except OSError:
        return  # no log, or no space: the training matters more
