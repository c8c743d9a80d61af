"""What lies beside a job store in a file: its reserve, its backups, the signs that it was there."""

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from kitfox.modules.publication import sync_folder

__all__ = ["Reserve", "back_up", "free_bytes", "signs_of"]

_SIGNS = ("-wal", ".reserve", ".logs", ".results")
"""What only a store leaves beside its file, by what follows the file's name."""


class Reserve:
    """Room on the disk that is given up when there is no other, so that jobs can come to an end.

    While it is missing no new jobs are accepted.

    Args:
        store: The store's file.
    """

    size = 1 << 20
    """Bytes: as much as several thousand changes of a job's state take between two checkpoints."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".reserve")

    def make(self) -> bool:
        """Makes it if it is not there and leaves as much again; whether it is there now."""
        if self._present() >= self.size:
            return True
        free = free_bytes(self.path.parent)
        return (free is None or free >= 2 * self.size) and self._take(self.size)

    def make_some(self) -> None:
        """Takes half of the room that there is, where that is not enough for all of it."""
        free = free_bytes(self.path.parent)
        if free is not None:
            self._take(min(self.size, free // 2))

    def give_up(self) -> None:
        """Frees the room."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _present(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _take(self, size: int) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, max(1, size))
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return True


def signs_of(store: Path) -> list[Path]:
    """What lies beside the place of a store's file and says that there was one."""
    found = [store.with_name(store.name + ending) for ending in _SIGNS]
    return [
        *(path for path in found if path.is_file() or (path.is_dir() and any(path.iterdir()))),
        *sorted(store.parent.glob(f"{_plain(store.name)}.v*.backup")),
    ]


def back_up(source: sqlite3.Connection, store: Path, version: int) -> Path:
    """Copies a store whole to a file beside it, synced, and gives that.

    A file of an earlier backup is never written over.

    Raises:
        sqlite3.Error: It could not be read, or written.
        OSError: The copy could not be synced, or get its name.
    """
    partial = store.with_name(f".{store.name}.{secrets.token_hex(6)}.backup")
    try:
        # For its owner alone, as the store is: it may hold somebody's keys.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        place = _link(partial, store, version)
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            partial.with_name(partial.name + ending).unlink(missing_ok=True)
    sync_folder(store.parent)
    return place


def free_bytes(folder: Path) -> int | None:
    """How much room there is; None if nobody knows."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _link(partial: Path, store: Path, version: int) -> Path:
    """Gives a backup the first name that is free."""
    number = 1
    while True:
        again = "" if number == 1 else f".{number}"
        place = store.with_name(f"{store.name}.v{version}{again}.backup")
        try:
            os.link(partial, place)
        except FileExistsError:
            number += 1
        else:
            return place


def _plain(name: str) -> str:
    """A name as a pattern that fits it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
