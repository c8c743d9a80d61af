"""How a finished model gets to its place: saved beside it, described, synced, renamed.

Whatever moment a process dies at, the place holds nothing, the old model, or the whole new one.
"""

import contextlib
import os
from pathlib import Path

from kitfox.errors import AlreadyExists, FailedPrecondition
from kitfox.modules import manifest
from kitfox.modules.publication import exchange, remove_tree, sync_folder
from kitfox.training.jobs import Job

__all__ = [
    "discard",
    "is_published",
    "partial_path",
    "put_in_place",
    "seal",
    "trainer",
]


def partial_path(job: Job) -> Path:
    """Where an attempt saves: beside the place, hidden, its own."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.partial")


def _aside_path(job: Job) -> Path:
    """Where the model that is being replaced goes, if the two cannot be swapped in one step."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.replaced")


def seal(folder: Path, job: Job) -> None:
    """Writes the manifest of a saved model and syncs all of it to the disk."""
    if not folder.is_dir():
        raise FailedPrecondition(
            f"save() of module {job.module_id} has made no folder at the path it was given"
        )
    manifest.seal(folder, training_id=job.id, attempt=job.attempt)


def put_in_place(job: Job) -> None:
    """Renames the sealed model to its place; what lies there is replaced if the job says so.

    May be repeated: the second time nothing is left to do.
    """
    partial, place = partial_path(job), Path(job.output_path)
    if is_published(job):
        return
    if not os.path.lexists(place):
        partial.rename(place)
    elif not job.overwrite:
        raise AlreadyExists(f"There is something at {place} already; it was left as it is")
    elif not exchange(partial, place):
        place.rename(_aside_path(job))
        partial.rename(place)
    sync_folder(place.parent)


def trainer(place: Path) -> tuple[str, int] | None:
    """The id and the attempt of the training that made a model; None if none says it did."""
    try:
        found = manifest.read_manifest(place)
    except manifest.IncompleteModel:
        return None
    return (found.training_id, found.attempt) if found and found.training_id else None


def is_published(job: Job) -> bool:
    """Whether this very attempt has put its model in place."""
    return trainer(Path(job.output_path)) == (job.id, job.attempt)


def discard(job: Job) -> None:
    """Clears away, as far as possible, what an attempt has left beside the place.

    Called when nobody writes there any more: by the worker at its end, or once it is gone.
    """
    aside = _aside_path(job)
    place = Path(job.output_path)
    if not os.path.lexists(place):
        with contextlib.suppress(OSError):  # died between two renames: back with the old model
            aside.rename(place)
    for left in (partial_path(job), aside):
        remove_tree(left)
    if place.parent.name == job.id:  # the folder that was made for this job alone
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # fails if there is a model in it, as it should
