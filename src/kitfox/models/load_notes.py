"""Notes of the models that are being loaded in the server's own process.

A load that ends the process, by a crash or `os._exit`, leaves its note behind. So the next server
knows whom to be careful with: the model is loaded once more, after all others, and if that ends the
server as well, no more until its files have changed or somebody asks for it. Otherwise a server
that loads its models when it starts would never start again.
"""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

import msgspec

from kitfox.errors import Unavailable
from kitfox.models.identity import Files

__all__ = ["LoadNote", "LoadNotes"]

_MOST_ENDS = 2
_LONGEST_NOTE = 4096


class _Note(msgspec.Struct, kw_only=True):
    """What a note says."""

    model_id: str
    files: str
    """What was loaded."""
    ends: int
    """How many servers had ended before when it was written."""


_decode = msgspec.json.Decoder(_Note).decode


class LoadNote:
    """A load that goes on; its note is locked as long as this process lives.

    Args:
        path: The note.
        descriptor: Of the note, open and locked; None if it could not be written.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    def end(self) -> None:
        """The load is over, whichever way, and the process is still there."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


class LoadNotes:
    """The notes of one models folder. All of this waits for the disk.

    Args:
        folder: Where they are written; made when there is a first one. Where it cannot be written
            there are none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, model_id: str, files: Files) -> LoadNote:
        """Notes that a model is loaded from now on.

        Raises:
            Unavailable: It has ended the server too often.
        """
        path = self._path(model_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = _open_locked(path)
        except OSError:  # a folder that may only be read; or another server loads it just now
            return LoadNote(path, None)
        fingerprint = files.fingerprint
        left = _read(descriptor)
        # Whoever wrote it did not live to remove it.
        ends = 1 + left.ends if left is not None and left.files == fingerprint else 0
        if ends >= _MOST_ENDS:
            os.close(descriptor)
            raise Unavailable(
                f"the server ended each time that it was loaded, {ends} times; it is loaded again "
                "when its files have changed, or when its load is asked for"
            )
        note = _Note(model_id=model_id, files=fingerprint, ends=ends)
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(note), 0)
        return LoadNote(path, descriptor)

    def suspects(self) -> frozenset[str]:
        """The models whose load has ended a server."""
        found = set()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    descriptor = _open_locked(path)
                    if (left := _read(descriptor)) is not None:
                        found.add(left.model_id)
                    os.close(descriptor)
        return frozenset(found)

    def forget(self, model_id: str) -> None:
        """Lets a model be loaded as if it had never ended a server."""
        with contextlib.suppress(OSError):
            self._path(model_id).unlink()

    def _path(self, model_id: str) -> Path:
        return self._folder / hashlib.sha256(model_id.encode()).hexdigest()[:32]


def _open_locked(path: Path) -> int:
    """Opens a note that nobody alive holds.

    Raises:
        OSError: Somebody holds it, or it cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it removed it between the two


def _read(descriptor: int) -> _Note | None:
    try:
        return _decode(os.pread(descriptor, _LONGEST_NOTE, 0))
    except (OSError, msgspec.DecodeError):
        return None
