"""How a finished model gets to its place: saved beside it, described, synced, renamed.

Whatever moment a process dies at, the place holds nothing, the old model, or the whole new one.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from kitfox.errors import AlreadyExists, FailedPrecondition
from kitfox.training.jobs import Job

__all__ = [
    "MANIFEST",
    "discard",
    "is_published",
    "make_folder",
    "partial_path",
    "put_in_place",
    "seal",
    "sync_folder",
    "trainer",
]

MANIFEST = "manifest.json"
"""The file in a model folder that says which training made it, and of what it consists."""

_FORMAT = 1


def partial_path(job: Job) -> Path:
    """Where an attempt saves: beside the place, hidden, its own."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.partial")


def _aside_path(job: Job) -> Path:
    """Where the model that is being replaced goes, if the two cannot be swapped in one step."""
    place = Path(job.output_path)
    return place.with_name(f".{place.name}.{job.id}.{job.attempt}.replaced")


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they are there after a power cut too."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def seal(folder: Path, job: Job) -> None:
    """Writes the manifest of a saved model and syncs all of it to the disk."""
    if not folder.is_dir():
        raise FailedPrecondition(
            f"save() of module {job.module_id} has made no folder at the path it was given"
        )
    files = []
    for parent, _, names in os.walk(folder, topdown=False):
        for name in sorted(names):
            path = Path(parent, name)
            if path != folder / MANIFEST:  # one that came along from an older model
                files.append({"path": str(path.relative_to(folder)), **_describe(path)})
        sync_folder(Path(parent))
    manifest = {
        "format": _FORMAT,
        "training_id": job.id,
        "attempt": job.attempt,
        "files": sorted(files, key=lambda file: str(file["path"])),
    }
    with (folder / MANIFEST).open("w") as stream:
        json.dump(manifest, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(folder)


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
    elif not _swap(partial, place):
        place.rename(_aside_path(job))
        partial.rename(place)
    sync_folder(place.parent)


def trainer(place: Path) -> tuple[str, int] | None:
    """The id and the attempt of the training that made a model; None if none says it did."""
    try:
        manifest = json.loads((place / MANIFEST).read_bytes())
        return str(manifest["training_id"]), int(manifest["attempt"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                left.unlink()
    if place.parent.name == job.id:  # the folder that was made for this job alone
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # fails if there is a model in it, as it should


def _describe(path: Path) -> dict[str, Any]:
    """Size and digest of a file, or where a link points; the file is synced on the way."""
    if path.is_symlink():
        return {"link": str(path.readlink())}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        return {"size": stream.tell(), "sha256": digest}


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _swap(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where kernel or file system cannot."""
    import ctypes  # here: it costs a worker 10 ms, and few need it

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library without it
        return False
    first, second = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
