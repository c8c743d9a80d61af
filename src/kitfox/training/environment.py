"""What a training ran on: Python, the machine, and the version of each package it had imported.

The standard library can tell which distribution a package comes from, by reading the lists of
files of all that are installed; a worker would spend more time on it than on a small training.
Here most are known by their names, and for the others the shortest lists are read first.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import kitfox

__all__ = ["imported_packages", "system"]

_PYTHON = frozenset(sys.stdlib_module_names) | {"__main__"}
_NOT_A_NAME = re.compile(r"[-_.]+")


def system() -> dict[str, str]:
    """Python, Kitfox and the machine."""
    found = os.uname()
    return {
        "python": sys.version.split()[0],
        "platform": f"{found.sysname} {found.release} {found.machine}",
        "host": found.nodename,
        "kitfox": kitfox.__version__,
    }


def imported_packages() -> dict[str, str]:
    """The version of each distribution of which something is imported now, by its name.

    What is found by a path of its own, as an author's package is, belongs to none.
    """
    installed = _installed()
    found: dict[str, str] = {}
    others = set()
    for package in {name.partition(".")[0] for name in list(sys.modules)} - _PYTHON:
        owner = installed.get(_plain(package))
        if owner is not None:
            found[owner.name] = owner.version
        else:
            others |= set(_places(package))
    for owner in _owners(frozenset(others)):
        found[owner.name] = owner.version
    return dict(sorted(found.items()))


class _Distribution(NamedTuple):
    """One that is installed."""

    name: str
    version: str
    folder: Path
    """What is noted of it."""


@functools.cache
def _installed() -> Mapping[str, _Distribution]:
    """All that are installed, by the name that their package most likely has."""
    found: dict[str, _Distribution] = {}
    for entry in sys.path:
        with contextlib.suppress(OSError):
            for folder in Path(entry).glob("*.dist-info"):
                name, _, version = folder.name.removesuffix(".dist-info").partition("-")
                name = name.replace("_", "-")
                found.setdefault(_plain(name), _Distribution(name, version, folder))
    return found


@functools.cache
def _sites() -> frozenset[str]:
    """The folders that packages are installed in."""
    return frozenset(str(item.folder.parent) for item in _installed().values())


def _plain(name: str) -> str:
    return _NOT_A_NAME.sub("-", name).lower()


def _places(package: str) -> Iterator[str]:
    """How the files of a package begin in the lists; nothing if it is not among what is installed.

    A package without a file of its own is shared: its parts come from different distributions.
    """
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    folders = [Path(path) for path in getattr(module, "__path__", ())]
    place = folders[0] if folders else Path(file or "")
    if str(place.parent) not in _sites():
        return
    if file is not None:
        yield package
        return
    start = f"{package}."
    for name in list(sys.modules):
        if name.startswith(start):
            yield "/".join(name.split(".")[:2])


@functools.cache
def _owners(places: frozenset[str]) -> frozenset[_Distribution]:
    """The distributions that have files at these places."""
    lists = []
    for distribution in _installed().values():
        with contextlib.suppress(OSError):
            record = distribution.folder / "RECORD"
            lists.append((record.stat().st_size, record, distribution))
    missing = set(places)
    found = set()
    for _, record, distribution in sorted(lists):
        if not missing:
            break
        files = "\n" + record.read_text(encoding="utf-8", errors="replace")
        here = {place for place in missing if f"\n{place}/" in files or f"\n{place}." in files}
        if here:
            found.add(distribution)
            missing -= here
    return frozenset(found)
