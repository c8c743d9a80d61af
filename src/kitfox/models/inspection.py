"""What can be said of a model without loading it: its class, its size, what is wrong with it."""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import KitfoxError
from kitfox.models.file_clocks import TICK, shares_clock
from kitfox.modules import ModuleBase, model_class
from kitfox.modules.archived_manifest import archived_manifest
from kitfox.modules.manifest import MANIFEST, IncompleteModel, read_manifest, size_problem

__all__ = ["Measure", "ModelEntry", "inspect_model", "measure", "settled", "stray_link"]

_RECENT = 2.0
"""Seconds: what has not changed for so long may be taken for old, whoever's clock it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """One model as it lies on disk."""

    name: str
    """The model's id."""
    path: Path
    """The folder, or the archive, that holds it."""
    module: type[ModuleBase] | None
    """The class that loads it, when it could be found."""
    problem: str = ""
    """Why it cannot be loaded; empty when nothing is known to be wrong."""
    version: str = ""
    """Which version it is; empty for one whose maker gave it none."""
    versions: tuple[str, ...] = ()
    """All versions of this model that are there, where that was asked for."""
    size: int = 0
    """Bytes of its files."""
    training_id: str = ""
    """The training that made it, if one did."""
    created: str = ""
    """When it was published: ISO 8601, UTC; empty for one without a manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What a look at all files of a model says."""

    size: int
    """Bytes."""
    changed: float
    """When anything in it changed last: seconds since 1970, by the clock of the file system."""
    files: int
    """How many there are."""


def measure(path: Path) -> Measure:
    """Looks at all files of a folder, or at one file; what vanishes meanwhile does not count."""
    found = _status(path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        size, changed = (found.st_size, found.st_ctime) if found else (0, 0.0)
        return Measure(size=size, changed=changed, files=1 if found else 0)
    size, files, changed = 0, 0, found.st_ctime
    for entry in _walk(path):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        changed = max(changed, status.st_ctime)
        if stat.S_ISREG(status.st_mode):
            size += status.st_size
            files += 1
    return Measure(size=size, changed=changed, files=files)


def stray_link(path: Path, root: Path) -> str:
    """The first link in a model that leads out of a folder; empty if there is none."""
    inside = Path(os.path.realpath(root))
    for entry in _walk(path):
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(inside):
            return os.path.relpath(entry.path, path)
    return ""


def settled(paths: Iterable[Path], *, period: float) -> set[Path]:
    """Those of some models that nobody is writing just now.

    Only what has no manifest is looked at twice, and only if it may have changed within the period.

    Args:
        paths: Folders and archives.
        period: Seconds in which a change means that somebody is writing; 0: all are taken for
            settled.
    """
    wanted = set(paths)
    if period <= 0:
        return wanted
    now = time.time()  # before the look, which may take a while
    first = {path: measure(path) for path in wanted if _status(path / MANIFEST) is None}
    waits = {path: _doubt(path, found, now, period) for path, found in first.items()}
    doubtful = [path for path, wait in waits.items() if wait]
    if doubtful:
        time.sleep(max(waits.values()))
    return wanted - {path for path in doubtful if measure(path) != first[path]}


def _doubt(path: Path, found: Measure, now: float, period: float) -> float:
    """Seconds after which a second look tells whether somebody is writing; 0: nobody is."""
    age = now - found.changed
    if age > max(period, _RECENT):
        return 0.0
    # Whole seconds are those of a file system that counts no others.
    if found.changed.is_integer() or not shares_clock(path):
        return period
    return min(max(period + TICK - age, 0.0), period)


def inspect_model(name: str, path: Path, *, root: Path | None = None) -> ModelEntry:
    """What can be said of a model without loading it.

    Args:
        name: Its id.
        path: Its folder or archive.
        root: The folder that no link in it may leave; None: they may lead anywhere.
    """
    if path.is_file():
        return _inspect_file(name, path)
    try:
        manifest = read_manifest(path)
    except IncompleteModel as error:
        return ModelEntry(name=name, path=path, module=None, problem=str(error))
    module, problem = _class_of(path)
    if manifest is not None:
        return ModelEntry(
            name=name,
            path=path,
            module=module,
            problem=size_problem(path, manifest) or problem,
            version=manifest.name,
            size=manifest.size,
            training_id=manifest.training_id,
            created=manifest.created,
        )
    if not problem and root is not None and (link := stray_link(path, root)):
        problem = f"{link} is a link that leads out of the models folder"
    return ModelEntry(name=name, path=path, module=module, problem=problem, size=measure(path).size)


def _inspect_file(name: str, path: Path) -> ModelEntry:
    size = measure(path).size
    module, problem = _class_of(path)
    manifest = None
    if not problem:
        try:
            manifest = archived_manifest(path)
        except (OSError, KitfoxError) as error:
            problem = str(error)
    return ModelEntry(
        name=name,
        path=path,
        module=module,
        problem=problem,
        version=manifest.name if manifest else "",
        size=size,
        training_id=manifest.training_id if manifest else "",
        created=manifest.created if manifest else "",
    )


def _class_of(path: Path) -> tuple[type[ModuleBase] | None, str]:
    try:
        return model_class(path), ""
    except (OSError, KitfoxError) as error:
        return None, str(error)


def _status(path: "str | Path") -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _walk(path: "str | Path") -> Iterator["os.DirEntry[str]"]:
    """All that is in a folder, at any depth; links are not followed."""
    waiting: list[str | Path] = [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = list(entries)
        except OSError:
            continue
        yield from found
        waiting += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
