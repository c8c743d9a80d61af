"""What a model folder consists of: a list of its files with sizes and digests, kept in the folder.

`seal` writes it when a model is complete. Whoever wants to load the model compares: sizes each
time, which takes a look at each file, and digests once for each file as it lies there.
"""

import datetime
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kitfox.errors import Code, FailedPrecondition, KitfoxError, Unavailable
from kitfox.modules.publication import sync_folder, write_file

__all__ = [
    "LARGEST_MANIFEST",
    "MANIFEST",
    "DamagedModel",
    "DigestCheck",
    "FileRecord",
    "IncompleteModel",
    "Manifest",
    "UnreadableModel",
    "parse_manifest",
    "read_manifest",
    "replace_manifest",
    "seal",
    "size_problem",
    "whole_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
"""The file in a model folder that says of what it consists, and which training made it."""

_FORMAT = 1
LARGEST_MANIFEST = 64 << 20
"""Bytes: no manifest is longer, so what is is none."""
_MOST_REMEMBERED = 200_000


class IncompleteModel(Unavailable):
    """A model folder that lacks something; it may still be on its way."""


class UnreadableModel(IncompleteModel):
    """A model folder of which nobody can tell what it holds, as the disk gives errors.

    Args:
        what: What cannot be read.
        error: What the disk says.
    """

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(f"{what} cannot be read: {error.strerror}")
        self.error = error


class DamagedModel(KitfoxError):
    """A model folder of which a file is not what was published."""

    code = Code.DATA_LOSS


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file of a model."""

    path: str
    """Relative to the folder, with `/` between its parts."""
    size: int = 0
    """Bytes."""
    sha256: str = ""
    """The digest of its content, hexadecimal."""
    link: str | None = None
    """Where it points, if it is a symbolic link; it then has no size and no digest."""

    def compare(self, sha256: str) -> None:
        """Compares the digest of what was found in its place, hexadecimal.

        Raises:
            DamagedModel: The content is another than was published.
        """
        if sha256 != self.sha256:
            raise DamagedModel(
                f"{self.path} is damaged: its SHA-256 is {sha256[:16]}..., but "
                f"{self.sha256[:16]}... was published"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Of what a model consists, and where it came from."""

    files: tuple[FileRecord, ...]
    """All but the manifest itself, in the order of their paths."""
    version: str = ""
    """Which version of the model it is, where that was said when it was published."""
    training_id: str = ""
    """The training that made it, if one did."""
    attempt: int = 0
    """Which attempt of that training."""
    created: str = ""
    """When it was sealed: ISO 8601, UTC."""

    @property
    def name(self) -> str:
        """What this version is called: as published, else by its training; may be empty."""
        return self.version or self.training_id

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """The SHA-256 of paths and contents, hexadecimal: equal for equal models."""
        return _digest(self.files)


def seal(
    folder: Path, *, version: str | None = "", training_id: str = "", attempt: int = 0
) -> Manifest:
    """Writes the manifest of a complete model and syncs all of the folder to the disk.

    Args:
        folder: The model; nobody else writes there any more.
        version: What this version is called; None: the beginning of the digest of its content.
        training_id: The training that made it.
        attempt: Which attempt of that training.

    Raises:
        FailedPrecondition: Something in the folder is neither a file, a folder nor a link.
    """
    found = []
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in [*names, *(name for name in folders if Path(parent, name).is_symlink())]:
            path = Path(parent, name)
            if path != folder / MANIFEST:  # one that came along from an older model
                found.append(_describe(path, path.relative_to(folder).as_posix()))
        sync_folder(Path(parent))
    files = tuple(sorted(found, key=lambda file: file.path))
    manifest = Manifest(
        files=files,
        version=_digest(files)[:12] if version is None else version,
        training_id=training_id,
        attempt=attempt,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes a manifest into a model's folder, whose files are on the disk already."""
    with (folder / MANIFEST).open("wb") as stream:
        stream.write(_as_bytes(manifest))
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(folder)


def replace_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes another manifest in place of a model's own, in one step."""
    write_file(folder / MANIFEST, _as_bytes(manifest))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a model folder; None if it has none, or a file of that name is another's.

    Raises:
        IncompleteModel: It has been written in part, for example.
        UnreadableModel: It cannot be read.
    """
    try:
        with (folder / MANIFEST).open("rb") as stream:
            text = stream.read(LARGEST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise UnreadableModel(MANIFEST, error) from error
    return parse_manifest(text, MANIFEST)


def parse_manifest(text: bytes, source: str) -> Manifest | None:
    """The manifest that a file holds; None if the file is something else.

    Args:
        text: What the file holds.
        source: Names the file in errors.

    Raises:
        IncompleteModel: It is no JSON, or not as a manifest should be.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise IncompleteModel(f"{source} is not complete: {error}") from error
    if not isinstance(values, dict) or "format" not in values or "files" not in values:
        return None
    try:
        return _from_json(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompleteModel(f"{source} is not as a manifest should be: {error}") from error


def size_problem(folder: Path, manifest: Manifest) -> str:
    """What a look at each file's size finds wrong with a folder; empty if nothing.

    Files that the manifest does not name do not matter: some modules keep caches there.
    """
    try:
        return _size_problem(folder, manifest)
    except UnreadableModel as error:
        return str(error)


def whole_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder that has all its files; None if something is missing or damaged.

    Raises:
        UnreadableModel: It may be whole, or not.
    """
    try:
        found = read_manifest(folder)
    except UnreadableModel:
        raise
    except IncompleteModel:
        return None
    return None if found is None or _size_problem(folder, found) else found


def _size_problem(folder: Path, manifest: Manifest) -> str:
    for record in manifest.files:
        path = folder / record.path
        try:
            found = path.lstat()
            if record.link is not None:
                if not stat.S_ISLNK(found.st_mode) or str(path.readlink()) != record.link:
                    return f"{record.path} is not the link to {record.link} that was published"
                continue
        except (FileNotFoundError, NotADirectoryError):
            return f"{record.path} is missing"
        except OSError as error:
            raise UnreadableModel(record.path, error) from error
        if not stat.S_ISREG(found.st_mode):
            return f"{record.path} is not a file"
        if found.st_size != record.size:
            return f"{record.path} has {found.st_size} bytes, not {record.size}"
    return ""


class DigestCheck:
    """Compares digests; what has been compared once is not read again as long as it lies there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int], tuple[int, int, str]] = {}

    def __call__(self, folder: Path, manifest: Manifest) -> None:
        """Reads all files of a model that have not been compared, or have changed since.

        Raises:
            IncompleteModel: A file is missing, or its size is another.
            DamagedModel: A file's content is another than was published.
        """
        if problem := size_problem(folder, manifest):
            raise IncompleteModel(problem)
        for record in manifest.files:
            if record.link is None:
                self._check(folder / record.path, record)

    def _check(self, path: Path, record: FileRecord) -> None:
        try:
            with path.open("rb") as stream:
                found = os.fstat(stream.fileno())
                # The inode, not the path: a version that is published by hard links is known.
                key = found.st_dev, found.st_ino
                mark = found.st_size, found.st_mtime_ns, record.sha256
                if self._known.get(key) == mark:
                    return
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise IncompleteModel(f"{record.path} cannot be read: {error.strerror}") from error
        record.compare(digest)
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = mark


def _describe(path: Path, name: str) -> FileRecord:
    """Size and digest of a file, or where a link points; the file is synced on the way."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return FileRecord(path=name, link=str(path.readlink()))
    if not stat.S_ISREG(mode):  # to open a pipe would wait for its other end
        raise FailedPrecondition(f"{path} is neither a file, a folder nor a link")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        return FileRecord(path=name, size=stream.tell(), sha256=digest)


def _digest(files: Iterable[FileRecord]) -> str:
    listed = [[file.path, file.size, file.sha256, file.link] for file in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _as_bytes(manifest: Manifest) -> bytes:
    return json.dumps(_as_json(manifest), indent=1).encode()


def _as_json(manifest: Manifest) -> dict[str, Any]:
    values: dict[str, Any] = {"format": _FORMAT}
    if manifest.version:
        values["version"] = manifest.version
    if manifest.training_id:
        values |= {"training_id": manifest.training_id, "attempt": manifest.attempt}
    values["created"] = manifest.created
    values["files"] = [
        {"path": file.path, "link": file.link}
        if file.link is not None
        else {"path": file.path, "size": file.size, "sha256": file.sha256}
        for file in manifest.files
    ]
    return values


def _from_json(values: Mapping[str, Any]) -> Manifest:
    if values["format"] != _FORMAT:
        raise ValueError(f"its format is {values['format']!r}, not {_FORMAT}")
    return Manifest(
        files=tuple(_record(file) for file in values["files"]),
        version=str(values.get("version", "")),
        training_id=str(values.get("training_id", "")),
        attempt=int(values.get("attempt", 0)),
        created=str(values.get("created", "")),
    )


def _record(values: Mapping[str, Any]) -> FileRecord:
    path = PurePosixPath(values["path"])
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise ValueError(f"it names {values['path']!r}, which is not in the folder")
    if (link := values.get("link")) is not None:
        return FileRecord(path=str(path), link=str(link))
    digest = str(values["sha256"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"the digest of {values['path']!r} is no SHA-256")
    return FileRecord(path=str(path), size=int(values["size"]), sha256=digest)
