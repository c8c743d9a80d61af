"""Where the results of predictions lie: `<folder>/<job id>/result.bin`, each whole or not there."""

import contextlib
import os
import shutil
from pathlib import Path

from kitfox.modules.publication import make_folder, sync_folder
from kitfox.training.jobs import Job
from kitfox.training.sqlite_database import SqliteDatabase
from kitfox.training.store import JobStore

__all__ = ["ResultFolder", "result_folder"]

_NAME = "result.bin"


class ResultFolder:
    """The results of jobs, a file for each.

    Args:
        path: The folder; it is made when the first result comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, job: Job, data: bytes) -> None:
        """Writes an attempt's result beside its place, and syncs it."""
        partial = self._partial(job)
        if not partial.parent.is_dir():
            make_folder(self.path)
            # Like the store, for its owner alone.
            partial.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.path)
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def put_in_place(self, job: Job) -> None:
        """Renames what `write` has written to its place."""
        place = self._place(job.id)
        self._partial(job).rename(place)
        sync_folder(place.parent)

    def discard(self, job: Job) -> None:
        """Clears away what an attempt has written and will not put in place."""
        with contextlib.suppress(OSError):
            self._partial(job).unlink()

    def read(self, job_id: str) -> bytes:
        """A result; `FileNotFoundError` if there is none."""
        return self._place(job_id).read_bytes()

    def remove(self, job_id: str) -> None:
        """Removes all that there is of a job, as far as possible."""
        shutil.rmtree(self._place(job_id).parent, ignore_errors=True)

    def _place(self, job_id: str) -> Path:
        return self.path / job_id / _NAME

    def _partial(self, job: Job) -> Path:
        """Where an attempt writes: another than every other attempt."""
        return self.path / job.id / f".{_NAME}.{job.attempt}"


def result_folder(store: JobStore, otherwise: Path) -> Path:
    """Where the results of a store's jobs lie: beside its file, if it is one."""
    database = store.database
    if isinstance(database, SqliteDatabase):
        return database.path.with_name(database.path.name + ".results")
    return otherwise / ".results"
