"""Model folders as zip files: packed for transport, unpacked only below the given folder."""

import errno
import io
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Self, TypeAlias

from kitfox.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from kitfox.modules.config import CONFIG_FILE

__all__ = [
    "Archive",
    "ArchivedModel",
    "UnsafeArchive",
    "extract",
    "find_model_folder",
    "iterate_archive",
    "pack_folder",
]

Archive: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A zip file: its path, its content, or an open file."""

_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # an unknown compression
    RuntimeError,  # an encrypted member
    ValueError,  # an offset before the beginning, a name that is no UTF-8
    struct.error,
)


class UnsafeArchive(InvalidArgument):
    """A zip file with a member that would be written outside of the folder it is unpacked to.

    Args:
        member: The member's name.
        why: What is wrong with it.
    """

    def __init__(self, member: str, why: str) -> None:
        self.member = member
        super().__init__(f"Refused to unpack: the archive's member {member!r} {why}")


def extract(archive: Archive, folder: str | os.PathLike[str], force_overwrite: bool = False) -> str:
    """Unpacks a zip file; all members are checked before the first one is written.

    Args:
        archive: The zip file.
        folder: Where to; made when it is missing.
        force_overwrite: Whether `folder` may exist; it is then replaced.

    Returns:
        The absolute path of the folder.

    Raises:
        FileExistsError: The folder exists.
        UnsafeArchive: A member's path leads out of the folder, or a member is a link.
        InvalidArgument: It is no zip file, or a damaged one.
        ResourceExhausted: It does not fit on the disk.
    """
    target = Path(folder).absolute()
    with _open(archive) as opened:
        for member in opened.infolist():
            _check_member(member)
        if target.exists() and not force_overwrite:
            raise FileExistsError(f"`{target}` exists; pass force_overwrite=True to replace it")
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        try:
            _check_space(opened, target)
            opened.extractall(target)
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if _is_damage(error):
                raise InvalidArgument(f"The archive cannot be unpacked: {error}") from error
            raise
    return str(target)


def _check_space(archive: zipfile.ZipFile, target: Path) -> None:
    """Refuses what does not fit; a member never unpacks to more than the archive says."""
    needed = sum(member.file_size for member in archive.infolist())
    free = shutil.disk_usage(target).free
    if needed > free:
        raise ResourceExhausted(
            f"The archive unpacks to {needed} bytes, but only {free} are free at `{target.parent}`"
        )


def find_model_folder(folder: str | os.PathLike[str]) -> str:
    """The folder that holds `config.yml`: this one, or the only one in it.

    Folders whose name begins with two underscores (`__MACOSX`) do not count.
    """
    root = Path(folder)
    if not (root / CONFIG_FILE).is_file():
        inner = [item for item in root.iterdir() if item.is_dir() and item.name[:2] != "__"]
        if len(inner) == 1 and (inner[0] / CONFIG_FILE).is_file():
            return str(inner[0])
    return str(root)


def _is_damage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        # bz2's own errors have no number; no file has the offset that a damaged archive names.
        return error.errno in (None, errno.EINVAL)
    return isinstance(error, _UNREADABLE)


class ArchivedModel:
    """A model in a zip file, looked at where it lies: nothing is unpacked.

    Example:
        >>> with ArchivedModel("models/hello.zip") as model:
        ...     model.read("config.yml")
        b'module_id: ...'

    Args:
        archive: The zip file.

    Attributes:
        sizes: The bytes of each file of the model by its name, relative to the folder that holds
            `config.yml`.

    Raises:
        InvalidArgument: It is no zip file, or not all of one.
        UnsafeArchive: A member would be written outside of the folder that it is unpacked to.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = _open(archive)
        try:
            members = self._archive.infolist()
            for member in members:
                _check_member(member)
        except BaseException:
            self._archive.close()
            raise
        self._folder = _folder_in(members)
        self.sizes: Mapping[str, int] = {
            member.filename.removeprefix(self._folder): member.file_size
            for member in members
            if member.filename.startswith(self._folder) and not member.is_dir()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, name: str, most: int = -1) -> bytes:
        """What a file of the model holds.

        Args:
            name: As in `sizes`.
            most: No more bytes than this; negative: all of it.

        Raises:
            FileNotFoundError: The model has no such file.
            InvalidArgument: The file is damaged.
        """
        return next(self.pieces(name, most), b"")

    def pieces(self, name: str, size: int = 1 << 20) -> Iterator[bytes]:
        """What a file of the model holds, piece by piece; the errors are those of `read`.

        Args:
            name: As in `sizes`.
            size: The most bytes of a piece.
        """
        if name not in self.sizes:
            raise FileNotFoundError(f"`{self._archive.filename}` does not contain `{name}`")
        try:
            with self._archive.open(self._folder + name) as file:
                while piece := file.read(size):
                    yield piece
        except Exception as error:
            if _is_damage(error):
                raise InvalidArgument(f"The archive cannot be unpacked: {error}") from error
            raise


def _folder_in(members: list[zipfile.ZipInfo]) -> str:
    """The folder of an archive that `find_model_folder` would choose, with its last slash."""
    names = {member.filename for member in members}
    if CONFIG_FILE in names:
        return ""
    inner = {name.partition("/")[0] for name in names if "/" in name and name[:2] != "__"}
    if len(inner) == 1 and f"{(only := inner.pop())}/{CONFIG_FILE}" in names:
        return f"{only}/"
    return ""


def pack_folder(folder: str | os.PathLike[str], target: str | os.PathLike[str] | BinaryIO) -> None:
    """Writes a folder's files into a zip file, with paths relative to the folder.

    Args:
        folder: What to pack; empty folders in it are kept.
        target: A path, or a binary file open for writing.
    """
    root = Path(folder)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for item in sorted(root.rglob("*")):
            archive.write(item, item.relative_to(root).as_posix())


def iterate_archive(folder: str | os.PathLike[str], *, chunk: int = 1 << 18) -> Iterator[bytes]:
    """A folder's files as a zip file in pieces, without compression: memory does not grow with it.

    Args:
        folder: What to pack; empty folders in it are kept.
        chunk: About how many bytes a piece has.

    Raises:
        FailedPrecondition: A file was changed meanwhile.
    """
    root, sink = Path(folder), _Sink()
    with zipfile.ZipFile(sink, "w", strict_timestamps=False) as archive:
        for item in sorted(root.rglob("*")):
            name = item.relative_to(root).as_posix()
            if item.is_dir():
                archive.write(item, name)
                continue
            member = zipfile.ZipInfo.from_file(item, name, strict_timestamps=False)
            with item.open("rb") as source, archive.open(member, "w") as target:
                left = member.file_size
                while data := source.read(chunk):
                    target.write(data)
                    left -= len(data)
                    if sink.size >= chunk:
                        yield sink.take()
            if left:
                raise FailedPrecondition(f"{item} was changed while it was packed")
    yield sink.take()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; it is no file to go back in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        """It is there to be written to."""
        return True

    def write(self, data: Any) -> int:
        """Keeps a piece."""
        piece = bytes(data)
        self._pieces.append(piece)
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return taken


def _open(archive: Archive) -> zipfile.ZipFile:
    opened = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    try:
        return zipfile.ZipFile(opened)
    except Exception as error:
        if not _is_damage(error):
            raise
        name = "The data" if isinstance(archive, bytes) else f"`{archive}`"
        raise InvalidArgument(f"{name} cannot be read as a zip file: {error}") from error


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
        raise UnsafeArchive(name, "has an absolute path")
    if ".." in posix.parts or ".." in windows.parts:
        raise UnsafeArchive(name, "points outside of the folder")
    mode = stat.S_IFMT(member.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeArchive(name, "is neither a file nor a folder")
