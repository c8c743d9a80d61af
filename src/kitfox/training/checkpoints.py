"""Checkpoints of a job: models that are saved, sealed and renamed while it trains.

    .<place>.<job id>.checkpoints/
        <attempt>-<step>/       a whole model, as it could be published or loaded
        .<attempt>-<step>/      one that is being saved, or was when its process died
        files/                  the training's own, left alone here

Only what has its name without the dot is a checkpoint. The store knows the newest.
"""

import contextlib
import logging
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox.modules.manifest import UnreadableModel, whole_manifest
from kitfox.modules.publication import make_folder, remove_tree, sync_folder
from kitfox.training.disk_space import explained_space
from kitfox.training.jobs import Job
from kitfox.training.publication import (
    checkpoint_root,
    newest_checkpoint,
    patiently,
    seal,
    whole_checkpoints,
)

if TYPE_CHECKING:
    from kitfox.modules import ModuleBase

__all__ = ["Checkpoints"]

log = logging.getLogger("kitfox.TRAINING")

_FILES = "files"


class Checkpoints:
    """Writes the checkpoints of one attempt, and finds those of the attempts before.

    Args:
        job: The record of the job.
        kept: How many are kept.
    """

    def __init__(self, job: Job, *, kept: int = 2) -> None:
        self._job = job
        self._kept = kept
        self._root = checkpoint_root(job)
        self._lock = threading.Lock()

    @property
    def files(self) -> Path:
        """The folder for the training's own files; it is there.

        Where the job goes on from another one's checkpoint, it begins with a copy of the other's.
        """
        folder = self._root / _FILES
        lent = Path(self._job.resume_path).parent / _FILES
        with self._lock:
            if self._job.resume_path and lent.is_dir() and not folder.exists():
                make_folder(self._root)
                beside = folder.with_name(f".{_FILES}")
                remove_tree(beside)
                shutil.copytree(lent, beside, symlinks=True)
                beside.rename(folder)
            make_folder(folder)
        return folder

    def to_resume(self) -> Path | None:
        """The checkpoint that this attempt may go on from.

        It is this job's own, of an earlier attempt, or the one of another job that it was told to
        begin from. The log tells of one that is not as it was.

        Raises:
            UnreadableModel: There may be one: rather than to begin anew the attempt is to fail.
        """
        own = patiently(lambda: newest_checkpoint(self._job))
        recorded = self._job.checkpoint
        if recorded and str(own) != recorded:
            _tell_lost(recorded, own)
        if own is not None or not self._job.resume_path:
            return own
        other = Path(self._job.resume_path)
        if patiently(lambda: _is_model(other)):
            return other
        _tell_lost(self._job.resume_path, None)
        return None

    def save(self, model: "ModuleBase", step: int) -> Path:
        """Saves a model as a checkpoint; when this returns it is whole and on the disk.

        Raises:
            DiskFull: There is no room for it; what was written of it is removed.
        """
        with self._lock:
            place = self._free_place(f"{self._job.attempt}-{step}")
            beside = place.with_name(f".{place.name}")
            remove_tree(beside)
            try:
                with explained_space("saving a checkpoint", beside, self._root.parent):
                    make_folder(self._root)
                    model.save(str(beside))
                    # With a version, which tells it from a model that waits to be published.
                    seal(beside, self._job, version=place.name)
                    beside.rename(place)
                    sync_folder(self._root)
            except BaseException:
                remove_tree(beside)
                raise
            return place

    def drop_old(self, newest: Path) -> None:
        """Removes the oldest ones, once the store knows of the newest."""
        with self._lock:
            try:
                whole = whole_checkpoints(self._job)
            except UnreadableModel as error:
                log.warning("Older checkpoints are left where they are: %s", error)
                return
            older = [folder for folder in whole if folder != newest]
            for folder in older[: max(0, len(older) - (self._kept - 1))]:
                hidden = folder.with_name(f".{folder.name}")
                with contextlib.suppress(OSError):
                    folder.rename(hidden)  # so that nobody takes what is left of it for one
                remove_tree(hidden)

    def _free_place(self, name: str) -> Path:
        """A name that no checkpoint has yet: a training may save one step twice."""
        place, again = self._root / name, 1
        while place.exists():
            again += 1
            place = self._root / f"{name}.{again}"
        return place


def _is_model(folder: Path) -> bool:
    """Whether a model lies there, of whichever job, that has all its files."""
    try:
        return whole_manifest(folder) is not None
    except UnreadableModel as error:
        raise UnreadableModel(f"The checkpoint {folder}", error.error) from error


def _tell_lost(checkpoint: str, other: Path | None) -> None:
    log.warning(
        "The checkpoint %s is damaged or gone; the training begins %s",
        *(checkpoint, f"from {other}" if other else "anew"),
    )
