"""Gives back the pages of programs and libraries that only the start of a process needed."""

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

__all__ = ["give_back_code", "loaded_code"]

_MAPS, _SMAPS = Path("/proc/self/maps"), Path("/proc/self/smaps")
_HEAD = (
    # Addresses, permissions, place in the file, device, inode, path: of a file, not shared, and not
    # writable, as another thread might just change it.
    rb"^([0-9a-f]+)-([0-9a-f]+) (r-[x-]p) \S+ \S+ \S+ +(/.*)\n"
)
_WHERE = re.compile(_HEAD, re.MULTILINE)
_WHAT = re.compile(
    _HEAD + rb"(?:[A-Z].*\n)*?Rss: +(\d+) kB\n"
    # What was changed since it was read from the file: in memory, and elsewhere.
    rb"(?:[A-Z].*\n)*?Anonymous: +(\d+) kB\n"
    rb"(?:[A-Z].*\n)*?Swap: +(\d+) kB\n",
    re.MULTILINE,
)
_MADV_DONTNEED = 4

Place: TypeAlias = tuple[bytes, bytes]
"""First and last address."""


def loaded_code() -> frozenset[Place]:
    """Where code is, and the tables beside it; nowhere, if the system does not tell.

    To be asked while no thread loads a library.
    """
    found = _WHERE.findall(_read(_MAPS))
    programs = {path for _, _, permissions, path in found if b"x" in permissions}
    return frozenset((begin, end) for begin, end, _, path in found if path in programs)


def give_back_code(places: Collection[Place]) -> int:
    """Takes code, and the tables beside it, out of this process's memory.

    What is needed again comes back from the system's cache of the file, sixteen pages at a time.
    Of what Envoy and the libraries have in memory after a start that is a third. What was changed
    since it was read stays, and so do files without code: they may be the weights of a model.

    Args:
        places: What `loaded_code` gave, of libraries that are never unloaded. Those that another
            thread is just loading are not whole yet.

    Returns:
        How many bytes were given back.
    """
    if not places:
        return 0
    try:
        import ctypes  # here: not every Python has it
    except ImportError:
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    given = 0
    for begin, end, _, _, resident, *changed in _WHAT.findall(_read(_SMAPS)):
        start, stop, size = int(begin, 16), int(end, 16), int(resident) << 10
        is_in_file = (begin, end) in places and changed == [b"0", b"0"]
        if is_in_file and size and madvise(start, stop - start, _MADV_DONTNEED) == 0:
            given += size
    return given


def _read(file: Path) -> bytes:
    """What the system says, as bytes: the name of a file may be no text."""
    try:
        return file.read_bytes() if sys.platform == "linux" else b""
    except OSError:
        return b""
