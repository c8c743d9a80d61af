"""The log of one job: a file that takes all its processes print, of which the end is shown."""

import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from kitfox.modules.publication import make_folder

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["limit", "mark", "open_log", "open_output", "redirect", "tail"]

TAIL_BYTES = 16 * 1024
"""How much of the end is kept in the job's record."""
_READ_BYTES = 4 * TAIL_BYTES
_OVERWRITTEN = re.compile(rb"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)
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


def open_output(descriptor: int) -> TextIO:
    """A process's standard output or errors, written line by line, which a full disk only cuts.

    With Python's own a `print` of the author's would end the training.
    """
    raw = _Output(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


class _Output(io.FileIO):
    """Drops what there is no room for."""

    def write(self, data: "ReadableBuffer") -> int:
        """Writes, or drops; in both cases all of it is gone."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def mark(path: str) -> tuple[int, int]:
    """Another value each time the log has grown; for a look without reading."""
    try:
        found = Path(path).stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def tail(path: str) -> str:
    """The last lines; empty if there is no log.

    Of a line that was written over again and again, as a progress bar is, the last state is shown.
    """
    try:
        with Path(path).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _READ_BYTES))
            data = stream.read()
    except OSError:
        return ""
    if b"\r" in data:
        data = _OVERWRITTEN.sub(b"", data.replace(b"\r\n", b"\n"))
    text = data[-TAIL_BYTES:].decode(errors="replace")
    if size <= _READ_BYTES and len(data) <= TAIL_BYTES:
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
