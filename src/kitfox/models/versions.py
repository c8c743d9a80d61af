"""The versions of models: which one is current, and how another becomes it in one step.

`<models>/<name>` is a model as it is now. It is a folder or an archive as somebody put it there,
or a link to `.versions/<name>/<version>`. To promote a version is to rename a new link over the
old one. A folder that stands there is exchanged with the link in one step, and so becomes one of
the versions itself. `.versions/<name>/.history.json` has the versions that were current, the
newest last; it may be one step ahead or behind after a crash, and the link is what counts.
"""

import contextlib
import datetime
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import FailedPrecondition, NotFound
from kitfox.models.workspace import VERSIONS, Workspace, explaining
from kitfox.modules.manifest import IncompleteModel, read_manifest
from kitfox.modules.publication import (
    exchange,
    make_folder,
    remove_tree,
    rename_new,
    sync_folder,
    write_file,
)

__all__ = ["Promotion", "Versions", "own_version"]

_HISTORY = ".history.json"
_MOST_HISTORY = 100
_UNNAMED = "original"
"""What a model is called that said of itself no version when another took its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """One version that became the current one."""

    version: str
    """Which."""
    time: str = ""
    """When: ISO 8601, UTC; empty if nobody wrote it down."""


def own_version(path: Path) -> str:
    """The version that a model folder says it is; empty if it says none."""
    try:
        manifest = read_manifest(path)
    except IncompleteModel:
        return ""
    return manifest.name if manifest else ""


class Versions:
    """The versions of the models of one folder.

    Names and versions that are passed in have been checked.

    Args:
        root: The models folder.
        workspace: Where changes are prepared.
    """

    def __init__(self, root: Path, workspace: Workspace) -> None:
        self._root = root
        self._work = workspace

    def linked(self, name: str) -> str | None:
        """The version that a model's link points to; None if it is no such link.

        Raises:
            NotFound: It is a link that points elsewhere; such links are not followed.
        """
        try:
            target = str((self._root / name).readlink())
        except OSError:
            return None
        parent, _, version = target.rpartition("/")
        if parent == f"{VERSIONS}/{name}" and version[:1] not in ("", "."):
            return version
        if self._leads_outside(name):
            raise NotFound(f"Model {name!r} is a link that leads out of the models folder")
        return None

    def current(self, name: str) -> str:
        """The version that a model has now; empty if there is no model."""
        if (version := self.linked(name)) is not None:
            return version
        return self._label(name) if os.path.lexists(self._root / name) else ""

    def path(self, name: str, version: str) -> Path | None:
        """Where a version lies, or None."""
        path = self._root / VERSIONS / name / version
        if os.path.lexists(path) and not path.is_symlink():
            return path
        place = self._root / name
        if self.linked(name) is None and place.exists() and self._label(name) == version:
            return place
        return None

    def names(self, name: str) -> list[str]:
        """All versions of a model, sorted, the current one among them."""
        found = self._kept(name)
        if current := self.current(name):
            found.add(current)
        return sorted(found)

    def others(self, name: str) -> set[str]:
        """All versions of a model but for the current one; no manifest is read."""
        # A folder that stands for a model is called by a name that no version has.
        with contextlib.suppress(NotFound):
            return self._kept(name) - {self.linked(name)}
        return self._kept(name)

    def models(self) -> list[str]:
        """The models that have a folder of versions."""
        try:
            return os.listdir(self._root / VERSIONS)  # noqa: PTH208 -- names are all that is wanted
        except OSError:
            return []

    def history(self, name: str) -> list[Promotion]:
        """The versions that were current, the newest, which is the present one, last."""
        known = self._read_history(name)
        current = self.current(name)
        if not current:
            return []
        for index in range(len(known), 0, -1):
            if known[index - 1].version == current:
                return known[:index]
        return [*known, Promotion(version=current, time=_published(self._root / name))]

    def add(self, name: str, version: str, source: Path) -> Path:
        """Gives a sealed model that lies in the workspace its place among the versions.

        Raises:
            FileExistsError: There is such a version.
        """
        folder = self._root / VERSIONS / name
        place = folder / version
        with self._work.lock(self.redo):
            make_folder(folder)
            if place.is_symlink():
                place.unlink()
            rename_new(source, place)
            sync_folder(folder)
        return place

    def promote(self, name: str, version: str) -> None:
        """Makes a version that is there the current one; nothing happens if it is.

        Raises:
            NotFound: There is no such version.
            FailedPrecondition: What has the model's name cannot be replaced.
        """
        with explaining(f"promote model {name}@{version}"), self._work.lock(self.redo):
            if self.path(name, version) is None:
                raise NotFound(f"Model {name!r} has no version {version!r}")
            if self.current(name) != version:
                # Written first: a history that is ahead of the link is put right by reading it.
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                past = self.history(name)
                self._write_history(name, [*past, Promotion(version=version, time=now)])
                self._switch(name, version)

    def roll_back(self, name: str) -> str:
        """Makes the version current that was so before; that one is returned.

        Raises:
            FailedPrecondition: There is none.
        """
        with explaining(f"roll back model {name}"), self._work.lock(self.redo):
            past = self._earlier(name)
            if past:
                self._switch(name, past[-1].version)
                self._write_history(name, past)
                return past[-1].version
        raise FailedPrecondition(f"Model {name!r} has no earlier version to roll back to")

    def previous(self, name: str) -> str:
        """The version that was current before the present one and is still there; empty if none."""
        past = self._earlier(name)
        return past[-1].version if past else ""

    def _kept(self, name: str) -> set[str]:
        """What is in a model's folder of versions."""
        with contextlib.suppress(OSError), os.scandir(self._root / VERSIONS / name) as entries:
            # A link is half of a change that its maker did not live to see.
            return {item.name for item in entries if item.name[0] != "." and not item.is_symlink()}
        return set()

    def _earlier(self, name: str) -> list[Promotion]:
        """The history up to the last version that is another one than the present and is there."""
        past = self.history(name)
        for index in range(len(past) - 2, -1, -1):
            version = past[index].version
            if version != past[-1].version and self.path(name, version) is not None:
                return past[: index + 1]
        return []

    def remove(self, name: str) -> bool:
        """Removes a model with all its versions; whether there was any."""
        place, folder = self._root / name, self._root / VERSIONS / name
        with explaining(f"remove model {name}"), self._work.lock(self.redo):
            self.linked(name)  # a link that leads outside is refused
            if not os.path.lexists(place) and not folder.is_dir():
                return False
            note = self._work.note(action="remove", name=name)
            trash = self._remove(name)
            note.unlink()
        for path in trash:
            remove_tree(path)
        return True

    def remove_version(self, name: str, version: str) -> bool:
        """Removes a version that is not current; whether there was such a one.

        Raises:
            FailedPrecondition: It is the current one.
        """
        path = self._root / VERSIONS / name / version
        with explaining(f"remove model {name}@{version}"), self._work.lock(self.redo):
            if self.path(name, version) is None:
                return False
            if self.current(name) == version:
                raise FailedPrecondition(
                    f"Model {name}@{version} is the current version of {name}; promote another "
                    "one first, or remove the model as a whole"
                )
            past = [item for item in self.history(name) if item.version != version]
            trash = self._discard(path)
            self._write_history(name, past)
        remove_tree(trash)
        return True

    def redo(self, note: dict[str, str]) -> None:
        """Finishes a change of several steps whose maker has died."""
        name = note.get("name", "")
        if note.get("action") == "remove" and name:
            for path in self._remove(name):
                remove_tree(path)
        elif note.get("action") == "promote" and name:
            place = self._root / name
            with contextlib.suppress(FileExistsError):
                if (self._root / VERSIONS / name / note["version"]).exists():
                    rename_new(self._new_link(name, note["version"]), place)
            sync_folder(self._root)

    def _switch(self, name: str, version: str) -> None:
        """Makes the model's name a link to a version. Called under the lock."""
        place = self._root / name
        is_link = self.linked(name) is not None
        if place.is_symlink() and not is_link:
            raise FailedPrecondition(
                f"{place} is a link that was made by hand; no version can take its place"
            )
        if is_link or not os.path.lexists(place):
            self._new_link(name, version).replace(place)
        else:
            self._replace_folder(name, version)
        sync_folder(self._root)

    def _replace_folder(self, name: str, version: str) -> None:
        """Makes the folder that stands for a model one of its versions, and a link take its place.

        The link is made where the folder will be, in words that are right where it will be: so
        one exchange is all there is to do.
        """
        place, folder = self._root / name, self._root / VERSIONS / name
        make_folder(folder)
        old = folder / self._label(name)
        old.unlink(missing_ok=True)  # the link of one who got no further
        old.symlink_to(f"{VERSIONS}/{name}/{version}")
        try:
            exchanged = exchange(old, place)
        except OSError as error:
            old.unlink()
            if error.errno in (errno.EXDEV, errno.EBUSY):
                raise FailedPrecondition(
                    f"{place} is on another file system than {folder}, so no version can take its "
                    "place"
                ) from error
            raise
        if not exchanged:
            old.unlink()
            note = self._work.note(action="promote", name=name, version=version)
            place.rename(old)
            rename_new(self._new_link(name, version), place)
            note.unlink()
        sync_folder(folder)

    def _label(self, name: str) -> str:
        """The version of a folder that stands for a model: what it will be called among the others.

        That is what it says of itself, unless it says nothing or the name is taken.
        """
        own = own_version(self._root / name)
        plain = (
            own[:1] not in ("", ".") and len(own.encode()) < 250 and not set(own) & set("/@\\\0")
        )
        wanted = own if plain else _UNNAMED
        folder = self._root / VERSIONS / name
        return next(label for label in _numbered(wanted) if _is_free(folder / label))

    def _new_link(self, name: str, version: str) -> Path:
        link = self._work.path("link")
        link.symlink_to(f"{VERSIONS}/{name}/{version}")
        return link

    def _remove(self, name: str) -> list[Path]:
        places = (self._root / name, self._root / VERSIONS / name)
        return [self._discard(path) for path in places if os.path.lexists(path)]

    def _discard(self, path: Path) -> Path:
        """Takes something from its place in one step; it is yet to be removed."""
        trash = self._work.path("trash")
        path.rename(trash)
        sync_folder(path.parent)
        return trash

    def _leads_outside(self, name: str) -> bool:
        found = os.path.realpath(self._root / name)
        return not Path(found).is_relative_to(os.path.realpath(self._root))

    def _read_history(self, name: str) -> list[Promotion]:
        try:
            values = json.loads((self._root / VERSIONS / name / _HISTORY).read_bytes())
            return [
                Promotion(version=str(item["version"]), time=str(item.get("time", "")))
                for item in values["current"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []

    def _write_history(self, name: str, past: list[Promotion]) -> None:
        folder = self._root / VERSIONS / name
        make_folder(folder)
        values = [{"version": item.version, "time": item.time} for item in past[-_MOST_HISTORY:]]
        written = self._work.path("history")
        write_file(written, json.dumps({"current": values}, indent=1).encode())
        written.replace(folder / _HISTORY)
        sync_folder(folder)


def _published(path: Path) -> str:
    """When a model was published; empty if it does not say."""
    try:
        manifest = read_manifest(path)
    except IncompleteModel:
        return ""
    return manifest.created if manifest else ""


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or half of a change that its maker did not live to see."""
    return path.is_symlink() or not path.exists()


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
