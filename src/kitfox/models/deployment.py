"""Models that come as files: written into a folder of their own, described, and then moved."""

import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from kitfox.errors import FailedPrecondition, InvalidArgument, KitfoxError
from kitfox.models.inspection import stray_link
from kitfox.models.reference import DEEPEST, check_file_names
from kitfox.modules import extract
from kitfox.modules.archive import find_model_folder
from kitfox.modules.manifest import (
    MANIFEST,
    DigestCheck,
    IncompleteModel,
    parse_manifest,
    read_manifest,
    size_problem,
)
from kitfox.modules.publication import sync_folder

__all__ = ["ModelFiles", "check_files", "copy_model", "link_or_copy", "write_files"]

ModelFiles: TypeAlias = Mapping[str, bytes] | Iterable[tuple[str, bytes]] | Path
"""A model's files by their relative names, or the path of a folder or a zip file of them."""


def check_files(files: ModelFiles) -> dict[str, bytes] | Path:
    """Returns the files by name if all names are such that they may be written.

    Raises:
        InvalidArgument: There are none, or a name cannot be used.
    """
    if isinstance(files, Path):
        if files.is_dir():
            check_file_names(path.relative_to(files).as_posix() for path in _files_in(files))
            if (manifest := files / MANIFEST).exists():
                _check_manifest(manifest.read_bytes())
        return files
    pairs = list(files.items() if isinstance(files, Mapping) else files)
    check_file_names(name for name, _ in pairs)
    found = dict(pairs)
    if MANIFEST in found:
        _check_manifest(found[MANIFEST])
    return found


def _check_manifest(text: bytes) -> None:
    try:
        manifest = parse_manifest(text, MANIFEST)
    except IncompleteModel as error:
        raise InvalidArgument(f"model file {error}") from error
    if manifest is None:
        raise InvalidArgument(
            f"model file '{MANIFEST}' is written by the server; give yours another name"
        )


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def write_files(files: dict[str, bytes] | Path, folder: Path) -> Path:
    """Writes a model into a folder that does not exist yet.

    A manifest that comes along is compared with what else comes.

    Args:
        files: What `check_files` gave.
        folder: Where to.

    Returns:
        The model's folder: `folder`, or one in it.

    Raises:
        InvalidArgument: The archive cannot be read, or a file is not what the manifest says.
        UnsafeArchive: The archive would write outside of the folder.
    """
    if isinstance(files, Path) and files.is_dir():
        model = folder
        # Not by links: whoever has the folder may go on to write in it.
        for path in _files_in(files):
            copy = folder / path.relative_to(files)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    elif isinstance(files, Path):
        _check_depth(files)
        model = Path(find_model_folder(extract(files, folder)))
        check_files(model)
    else:
        model = folder
        folder.mkdir()
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream:
                stream.write(data)
    try:
        if (manifest := read_manifest(model)) is not None:
            DigestCheck()(model, manifest)
    except KitfoxError as error:
        raise InvalidArgument(f"the model is not what its manifest says: {error}") from error
    return model


def copy_model(source: Path, folder: Path, root: Path) -> None:
    """Copies a sealed model, by hard links where that goes, and syncs the copy.

    Args:
        source: The model.
        folder: Where to; it must not exist.
        root: The folder that no link in the copy may leave.

    Raises:
        IncompleteModel: The model is not whole.
        FailedPrecondition: It has no manifest, or a link in it leads elsewhere.
    """
    manifest = read_manifest(source)
    if manifest is None:
        raise FailedPrecondition(f"{source} has no {MANIFEST}, so it cannot become a version")
    shutil.copytree(source, folder, symlinks=True, copy_function=link_or_copy)
    if problem := size_problem(folder, manifest):
        raise IncompleteModel(f"{source}: {problem}")
    if link := stray_link(folder, root):
        raise FailedPrecondition(f"{source}: {link} is a link that leads out of the model")
    for parent, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(parent))


def _check_depth(archive: Path) -> None:
    """Refuses folders in folders without end, on which all that walks through them would fail."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
    except (OSError, zipfile.BadZipFile):
        return  # it is refused when it is unpacked, with the reason
    for name in names:
        if name.count("/") > DEEPEST:
            raise InvalidArgument(
                f"the archive's member {name[:80]!r}... lies deeper than {DEEPEST} folders"
            )


def link_or_copy(source: str, target: str) -> str:
    """Has a file under a second name, or a synced copy of it where there are no hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
        with Path(target).open("rb") as stream:
            os.fsync(stream.fileno())
    return target
