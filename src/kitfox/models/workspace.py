"""Where changes to the models folder are prepared: `.versions/.work` in it, so a rename is enough.

It holds the lock that changes take, folders that are being filled, what has been removed and waits
for its deletion, and notes of changes that take more than one step. Whoever dies leaves some of
these behind; the next one who looks clears them away, or finishes what the note says.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from kitfox.errors import Code, FailedPrecondition, KitfoxError, ResourceExhausted, Unavailable
from kitfox.modules.publication import make_folder, remove_tree, write_file

__all__ = ["VERSIONS", "Redo", "Workspace", "explaining"]

VERSIONS = ".versions"
"""The folder of all versions, in the models folder."""

_LOCK = "lock"
_PATIENCE = 30.0
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)

log = logging.getLogger("kitfox.MODELS")

Redo: TypeAlias = Callable[[dict[str, str]], None]
"""Finishes a change that a note describes; called under the lock, maybe more than once."""


@contextlib.contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Turns errors of the file system into ours.

    Args:
        doing: What was tried, for the message: `deploy model x`.
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot {doing}: {error.strerror or error}"
        if error.errno in _NOT_ALLOWED:
            raise FailedPrecondition(reason) from error
        if error.errno in _NO_ROOM:
            raise ResourceExhausted(reason) from error
        raise KitfoxError(reason, code=Code.UNKNOWN) from error


class Workspace:
    """The place of work of one models folder.

    Args:
        root: The models folder.
        patience: Seconds for which a change waits for another one.
    """

    def __init__(self, root: Path, *, patience: float = _PATIENCE) -> None:
        self.folder = root / VERSIONS / ".work"
        self._patience = patience
        self._mutex = threading.Lock()
        self._filling: set[str] = set()

    @contextlib.contextmanager
    def lock(self, redo: Redo) -> Iterator[None]:
        """Within, no other process or thread changes the models folder; what died is repaired.

        Args:
            redo: Finishes what a note describes.

        Raises:
            Unavailable: Another change has not ended in time.
        """
        make_folder(self.folder)
        with self._locked(self._patience) as held:
            if not held:
                raise Unavailable(
                    f"another change of the models folder has not ended in {self._patience:g} s"
                )
            self._repair(redo)
            yield

    def recover(self, redo: Redo) -> bool:
        """Repairs what those who died have left behind, unless a change is being made just now.

        Returns:
            Whether anything may look different from before.
        """
        leftovers = self._leftovers()
        if not leftovers:
            return False
        try:
            with self._locked(0) as held:
                if held:
                    self._repair(redo)
        except OSError as error:  # a folder that may only be read, for one
            log.debug("Leftovers in %s stay: %s", self.folder, error)
        return True

    @contextlib.contextmanager
    def staging(self, redo: Redo) -> Iterator[Path]:
        """A new folder to fill and to rename from; what is left in it is removed at the end."""
        with self.lock(redo):
            folder = self.path("staging")
            self._filling.add(folder.name)
            folder.mkdir()
            # Held as long as this process lives: so others can tell what died from what is slow.
            mark = _open_lock(folder)
            with contextlib.suppress(OSError):
                _flock(mark, 0)
        try:
            yield folder
        finally:
            os.close(mark)
            remove_tree(folder)
            self._filling.discard(folder.name)

    def last_change(self) -> float:
        """When anything was prepared here last: seconds since 1970; 0 for never."""
        try:
            return self.folder.stat().st_mtime
        except OSError:
            return 0.0

    def path(self, kind: str) -> Path:
        """A name for something new."""
        return self.folder / f"{kind}-{secrets.token_hex(8)}"

    def note(self, **what: str) -> Path:
        """Writes down a change of several steps, under the lock, before the first; durable.

        Returns:
            The note, to be unlinked after the last step.
        """
        path = self.path("pending")
        write_file(path, json.dumps(what).encode())
        return path

    def _leftovers(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir() if path.name != _LOCK]
        except OSError:
            return []

    @contextlib.contextmanager
    def _locked(self, patience: float) -> Iterator[bool]:
        """Whether the lock could be had within so many seconds."""
        if not self._mutex.acquire(timeout=patience):
            yield False
            return
        try:
            descriptor = _open_lock(self.folder)
            try:
                yield _flock(descriptor, patience)
            finally:
                os.close(descriptor)
        finally:
            self._mutex.release()

    def _repair(self, redo: Redo) -> None:
        for name in sorted(self._leftovers()):
            path = self.folder / name
            if name.startswith("pending-"):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    redo(json.loads(path.read_bytes()))
                path.unlink(missing_ok=True)
            elif not name.startswith("staging-") or (
                name not in self._filling and _is_abandoned(path)
            ):
                remove_tree(path)


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _flock(descriptor: int, patience: float) -> bool:
    """Whether the lock could be had; where a file system knows no locks, it always can."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            raise
        else:
            return True


def _is_abandoned(folder: Path) -> bool:
    """Whether the process that was filling it is gone."""
    try:
        descriptor = _open_lock(folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is locked, or cannot be
        return False
    else:
        return True
    finally:
        os.close(descriptor)
