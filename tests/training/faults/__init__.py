"""Processes whose calls of the C library fail at a chosen moment, or whose clock jumps.

    fault = Fault(calls=("write", "fsync"), number=3, action="ENOSPC", below=tmp_path / "models")
    launcher = SubprocessLauncher(store_url=url, environ=environment(fault, note=tmp_path / "note"))

The third of these calls that a process makes for a file below that folder then fails. A fault with
the number 0 only counts; `calls_made` tells how many there are, so a test can go through all of
them. `shim.c` beside this file does it; the C compiler makes a library of it once per test run.
"""

import atexit
import ctypes
import functools
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "Action",
    "Call",
    "Fault",
    "FaultFile",
    "calls_made",
    "environment",
    "python_with",
    "set_clock",
]

Call = Literal["open", "read", "write", "fsync", "truncate", "rename", "link", "unlink", "mkdir"]
"""What can be counted; each stands for all calls of the C library that do it."""
Action = Literal["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "kill", "stop"]
"""An error, or SIGKILL or SIGSTOP just before the call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One call that does not do what it should."""

    calls: tuple[Call, ...]
    """Which calls count."""
    below: Path
    """They count if their file, the new name of a rename, is this or lies below it."""
    number: int = 0
    """The how many-th that counts, in each process by itself, from 1; 0: none."""
    action: Action = "EIO"
    """What happens instead, or before."""
    lasting: bool = False
    """Whether it happens to all that come later as well, as on a disk that is full."""


def environment(
    fault: Fault | None = None, *, note: Path | None = None, clock: Path | None = None
) -> dict[str, str]:
    """The variables for a process to which the fault shall happen, and for its children.

    Args:
        fault: What fails.
        note: A file to which each call that counts is appended, as `pid call path`.
        clock: A file that `set_clock` has written, and may write again while the process runs.
    """
    values = {"LD_PRELOAD": str(_library()), **_settings(fault, note)}
    if clock is not None:
        values["KITFOX_FAULT_CLOCK"] = str(clock)
    return values


def python_with(path: Path, variables: Mapping[str, str]) -> Path:
    """Writes a program that is this Python with some more variables.

    For workers, which a server does not hand on what the loader was told to load into itself.

    Args:
        path: Where the program is written.
        variables: What `environment` gives.
    """
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in variables.items())
    path.write_text(f'#!/bin/sh\nexec env {settings} {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return path


class FaultFile:
    """Faults for processes that are forked from one that is there already, as warm workers are.

    Args:
        path: A file of its own.
    """

    VARIABLE = "KITFOX_FAULT_FILE"
    """Where a process finds the path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.write()

    def environment(self) -> dict[str, str]:
        """The variables for the process; nothing happens to that itself."""
        return {"LD_PRELOAD": str(_library()), self.VARIABLE: str(self._path)}

    def write(self, fault: Fault | None = None, *, note: Path | None = None) -> None:
        """Says what shall happen to each process that is forked from now on."""
        lines = [f"{name}={value}\n" for name, value in _settings(fault, note).items()]
        beside = self._path.with_name(self._path.name + "~")
        beside.write_text("".join(lines))
        beside.rename(self._path)

    def apply(self) -> None:
        """Makes what is written happen to this very process, whose calls are counted anew."""
        ctypes.CDLL(None).kitfox_faults_read()


def _settings(fault: Fault | None, note: Path | None) -> dict[str, str]:
    values: dict[str, str] = {}
    if fault is not None:
        values |= {
            "KITFOX_FAULT_CALLS": ",".join(fault.calls),
            "KITFOX_FAULT_BELOW": str(fault.below.resolve()),
            "KITFOX_FAULT_NUMBER": str(fault.number),
            "KITFOX_FAULT_ACTION": fault.action,
        }
        if fault.lasting:
            values["KITFOX_FAULT_LASTING"] = "1"
    if note is not None:
        values["KITFOX_FAULT_NOTE"] = str(note)
    return values


def calls_made(note: Path) -> int:
    """How many calls counted, those that failed among them; in all processes together."""
    return len(note.read_text().splitlines()) if note.exists() else 0


def set_clock(clock: Path, seconds: float) -> None:
    """Makes the wall clock of processes with this `clock` file wrong by so many seconds."""
    data = struct.pack("=q", int(seconds * 1e9))
    if clock.exists():  # mapped by the processes: written in place
        with clock.open("r+b") as stream:
            stream.write(data)
    else:
        clock.write_bytes(data)


@functools.cache
def _library() -> Path:
    folder = tempfile.mkdtemp(prefix="kitfox-faults-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = Path(folder, "shim.so")
    source = Path(__file__).with_name("shim.c")
    compiler = shutil.which("cc") or "/usr/bin/gcc"
    options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread", "-ldl"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return library
