"""Which files lie at a path, told from their numbers, sizes and times; none is read.

A model that was replaced, by a rename or by writing over it, is told from the one that was there.
What is added to it, as by a module that keeps a cache in its folder, changes nothing.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitfox.modules.manifest import MANIFEST

__all__ = ["Files", "files_at", "files_if_any"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of a model as they were at some time."""

    marks: frozenset[tuple[object, ...]]
    """What tells each of them from any other that was or will be in its place."""
    size: int
    """Their bytes together, without the manifest's."""

    @property
    def fingerprint(self) -> str:
        """The same after a restart, when a device or an inode may be another one.

        It tells names, times and sizes.
        """
        marks = sorted((str(mark[0]), *map(str, mark[3:])) for mark in self.marks if len(mark) > 3)
        return hashlib.sha256(json.dumps(marks).encode()).hexdigest()

    def are_in(self, later: "Files | None") -> bool:
        """Whether they all are still there, unchanged."""
        return later is not None and self.marks <= later.marks


def files_at(path: Path) -> Files:
    """What lies at a path: a file, or all that is in a folder.

    Raises:
        OSError: There is nothing, or it cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return Files(marks=frozenset([_mark("", found)]), size=found.st_size)
    # A folder's times and size change with what is added to it.
    marks: set[tuple[object, ...]] = {("", found.st_dev, found.st_ino)}
    size, manifest = 0, str(path / MANIFEST)
    for name, status in _walk(path):
        marks.add(_mark(name, status))
        size += 0 if name == manifest else status.st_size
    return Files(marks=frozenset(marks), size=size)


def files_if_any(path: Path) -> Files | None:
    """The same, or None when there is nothing."""
    try:
        return files_at(path)
    except OSError:
        return None


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent, name)
            try:
                yield str(file), file.stat()
            except OSError:  # removed meanwhile, or a link to nothing
                continue


def _mark(name: str, status: os.stat_result) -> tuple[object, ...]:
    return (name, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
