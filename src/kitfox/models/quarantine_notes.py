"""What models refuse because it ended their processes, written down for the next server.

One file for each model id: what is refused of the files that were loaded under it last. It is
written beside its place and renamed, so a server that dies leaves the list before or after.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kitfox.models.identity import Files
from kitfox.modules.publication import make_folder, write_file

__all__ = ["QuarantineNotes", "RefusedRequest"]

_MOST_MODELS = 1000

log = logging.getLogger("kitfox.MODELS")


class RefusedRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A request that is refused; the fields are those of `QuarantineEntry`."""

    digest: str
    method: str
    reason: str
    since: float


class _Note(msgspec.Struct, kw_only=True):
    """What a file says."""

    model_id: str
    files: str
    """Which files were loaded."""
    requests: list[RefusedRequest]
    """What they refuse, oldest first."""


_decode = msgspec.json.Decoder(_Note).decode


class QuarantineNotes:
    """The notes of one models folder. All of this waits for the disk.

    Args:
        folder: Where they are written; made when there is a first one. Where it cannot be written
            there are none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, model_id: str, files: Files) -> list[RefusedRequest]:
        """What is refused under an id as long as these are its files; oldest first."""
        path = self._path(model_id)
        try:
            note = _decode(path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warning("What model %s refuses cannot be read: %s: %s", model_id, path, error)
            return []
        same = note.model_id == model_id and note.files == files.fingerprint
        return note.requests if same else []

    def write(self, model_id: str, files: Files, requests: Sequence[RefusedRequest]) -> None:
        """Notes what is refused from now on; nothing: there is no note any more."""
        path = self._path(model_id)
        try:
            if not requests:
                path.unlink(missing_ok=True)
                return
            make_folder(self._folder)
            note = _Note(model_id=model_id, files=files.fingerprint, requests=list(requests))
            write_file(path, msgspec.json.encode(note))
            self._remove_oldest()
        except OSError as error:  # a folder that may only be read, a full disk
            log.warning(
                "What model %s refuses is forgotten when the server ends: %s", model_id, error
            )

    def _remove_oldest(self) -> None:
        """Keeps the number of notes bounded: models come and go."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                # Another server may be about to rename it.
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime, entry.path))
        for _, path in sorted(found)[: max(0, len(found) - _MOST_MODELS)]:
            with contextlib.suppress(OSError):
                Path(path).unlink()

    def _path(self, model_id: str) -> Path:
        return self._folder / hashlib.sha256(model_id.encode()).hexdigest()[:32]
