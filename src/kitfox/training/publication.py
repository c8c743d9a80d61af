"""How a finished model gets to its place: saved beside it, described, synced, renamed.

Whatever moment a process dies at, the place holds nothing, the old model, or the whole new one.
Checkpoints lie beside the place too, each a model that could be put there.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kitfox.errors import AlreadyExists, FailedPrecondition
from kitfox.modules import manifest
from kitfox.modules.manifest import Manifest, UnreadableModel
from kitfox.modules.publication import exchange, make_folder, remove_tree, sync_folder
from kitfox.training.jobs import Job

__all__ = [
    "checkpoint_root",
    "discard",
    "is_published",
    "is_whole",
    "newest_checkpoint",
    "partial_path",
    "patiently",
    "put_in_place",
    "seal",
    "stage_checkpoint",
    "trainer",
    "whole_checkpoints",
]

Result = TypeVar("Result")

_READ_PATIENCE = 2.0
"""For how many seconds a folder that cannot be read is looked at again."""
_READ_PAUSE = 0.1


def partial_path(job: Job) -> Path:
    """Where an attempt saves: beside the place, hidden, its own."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.partial")


def checkpoint_root(job: Job) -> Path:
    """The folder of a job's checkpoints, of all its attempts."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.checkpoints")


def _aside_path(job: Job) -> Path:
    """Where the model that is being replaced goes, if the two cannot be swapped in one step."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.replaced")


def seal(folder: Path, job: Job, *, version: str = "") -> Manifest:
    """Writes the manifest of a saved model and syncs all of it to the disk."""
    if not folder.is_dir():
        raise FailedPrecondition(
            f"save() of module {job.module_id} has made no folder at the path it was given"
        )
    return manifest.seal(folder, version=version, training_id=job.id, attempt=job.attempt)


def put_in_place(job: Job) -> None:
    """Renames the sealed model to its place; what lies there is replaced if the job says so.

    What an earlier attempt of the same job has left there is replaced too. May be repeated: the
    second time nothing is left to do.
    """
    partial, place = partial_path(job), Path(job.output_path)
    made_by = trainer(place)
    if made_by != (job.id, job.attempt):
        if not os.path.lexists(place):
            partial.rename(place)
        elif not job.overwrite and (made_by is None or made_by[0] != job.id):
            raise AlreadyExists(f"There is something at {place} already; it was left as it is")
        elif not exchange(partial, place):
            place.rename(_aside_path(job))
            partial.rename(place)
    sync_folder(place.parent)


def trainer(place: Path) -> tuple[str, int] | None:
    """The id and the attempt of the training that made a model; None if none says it did.

    Raises:
        UnreadableModel: There may be a model, or not.
    """
    try:
        with _named(f"The model {place}"):
            found = manifest.read_manifest(place)
    except UnreadableModel:
        raise
    except manifest.IncompleteModel:
        return None
    return (found.training_id, found.attempt) if found and found.training_id else None


def is_published(job: Job) -> bool:
    """Whether this very attempt has put its model in place.

    Raises:
        UnreadableModel: Nobody can tell.
    """
    return trainer(Path(job.output_path)) == (job.id, job.attempt)


def is_whole(folder: Path, job: Job, *, what: str = "model") -> Manifest | None:
    """The manifest of a model that a job has sealed; None if something of the model is missing.

    Raises:
        UnreadableModel: Nobody can tell.
    """
    with _named(f"The {what} {folder}"):
        found = manifest.whole_manifest(folder)
    return found if found is not None and found.training_id == job.id else None


def whole_checkpoints(job: Job) -> list[Path]:
    """The checkpoints of a job that are whole, the oldest first.

    Raises:
        UnreadableModel: One of them cannot be read, or their folder.
    """
    found = []
    for folder in _checkpoint_folders(job):
        if sealed := is_whole(folder, job, what="checkpoint"):
            with contextlib.suppress(FileNotFoundError):  # one that is dropped just now
                written = (folder / manifest.MANIFEST).stat().st_mtime_ns
                found.append((sealed.attempt, written, folder))
    return [folder for _, _, folder in sorted(found)]


def newest_checkpoint(job: Job) -> Path | None:
    """The checkpoint that the store has recorded, if it is whole.

    Else the newest whole one: the one after may have been sealed when its process died, and one
    that was recorded may have been damaged since.

    Raises:
        UnreadableModel: There is one that cannot be read, so nobody can tell which it is.
    """
    recorded = Path(job.checkpoint) if job.checkpoint else None
    if recorded is not None and is_whole(recorded, job, what="checkpoint"):
        return recorded
    found = whole_checkpoints(job)
    return found[-1] if found else None


def patiently(look: Callable[[], Result], seconds: float = _READ_PATIENCE) -> Result:
    """What a look at a disk gives, which is repeated for a while if something cannot be read.

    Raises:
        UnreadableModel: It could not be read all the time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except UnreadableModel:
            if time.monotonic() > deadline:
                raise
        time.sleep(_READ_PAUSE)


def stage_checkpoint(job: Job) -> bool:
    """Makes the newest checkpoint what `put_in_place` puts there; False if there is none.

    Called for a job that is to keep what it has, when nobody writes there any more: by its worker
    at the end, or once that is gone. May be repeated. A model that was sealed already is left as
    it is.

    Raises:
        UnreadableModel: There may be one.
    """
    partial = partial_path(job)
    sealed = is_whole(partial, job)
    if sealed and sealed.attempt == job.attempt and not sealed.version:
        return True
    checkpoint = newest_checkpoint(job)
    if checkpoint is None:
        return False
    kept = is_whole(checkpoint, job, what="checkpoint")
    if kept is None:
        return False
    remove_tree(partial)
    # First the manifest, in one step: what has this attempt's manifest can be published as it is.
    manifest.replace_manifest(checkpoint, replace(kept, attempt=job.attempt, version=""))
    make_folder(partial.parent)
    checkpoint.rename(partial)
    return True


def discard(job: Job, *, checkpoints: bool = False) -> None:
    """Clears away, as far as possible, what an attempt has left beside the place.

    Called when nobody writes there any more: by the worker at its end, or once it is gone.

    Args:
        job: Whose attempt.
        checkpoints: Whether the job's checkpoints go too, as nobody will go on from them.
    """
    aside = _aside_path(job)
    place = Path(job.output_path)
    if not os.path.lexists(place):
        with contextlib.suppress(OSError):  # died between two renames: back with the old model
            aside.rename(place)
    lefts = [partial_path(job), *([checkpoint_root(job)] if checkpoints else [])]
    if os.path.lexists(place):  # else the old model is all that there is
        lefts.append(aside)
    for left in lefts:
        remove_tree(left)
        if os.path.lexists(left):  # one error of the disk is not to leave it for ever
            remove_tree(left)
    with contextlib.suppress(OSError):
        checkpoint_root(job).rmdir()  # fails if there is a checkpoint in it, as it should
    if place.parent.name == job.id:  # the folder that was made for this job alone
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # fails if there is a model in it, as it should


def _checkpoint_folders(job: Job) -> list[Path]:
    root = checkpoint_root(job)
    try:
        return [folder for folder in root.iterdir() if not folder.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableModel(f"The folder of checkpoints {root}", error) from error


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Says which folder it is that cannot be read."""
    try:
        yield
    except UnreadableModel as error:
        raise UnreadableModel(what, error.error) from error
