"""Files and folders that appear whole or not at all, and are still there after a power cut."""

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

__all__ = ["exchange", "make_folder", "remove_tree", "rename_new", "sync_folder", "write_file"]

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they are there after a power cut too."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file beside its place and renames it: who looks finds the old one or the new one."""
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where kernel or file system cannot.

    Raises:
        OSError: It could, but not with these two.
    """
    return _rename(one, other, _RENAME_EXCHANGE)


def rename_new(source: Path, place: Path) -> None:
    """Renames, and never replaces anything.

    Raises:
        FileExistsError: There is something at `place`.
    """
    if _rename(source, place, _RENAME_NOREPLACE):
        return
    if os.path.lexists(place):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
    source.rename(place)


def remove_tree(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _rename(source: Path, place: Path, flags: int) -> bool:
    """Linux' renameat2; False where there is no such thing."""
    import ctypes  # here: it costs a worker 10 ms, and few need it

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library without it
        return False
    first, second = os.fsencode(source), os.fsencode(place)
    if renameat2(_AT_FDCWD, first, _AT_FDCWD, second, flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(place))
