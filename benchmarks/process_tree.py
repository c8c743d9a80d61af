"""The processes of a server: processor time and memory of all of them together, from `/proc`.

They are found by a mark in their environment, which they pass on even when they leave their
parent's session, and by their parents.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Memory", "ProcessTree", "ThreadTimes", "started", "thread_times"]

_MARK = "KITFOX_BENCH_MARK"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident memory in MB (10^6 bytes)."""

    rss: float
    """As `ps` adds it up: pages that processes share count in each of them."""
    pss: float
    """Shared pages are divided among those that share them."""


class ProcessTree:
    """A process that was started here, and all that it has started.

    Args:
        process: The first of them.
        mark: What their environments hold.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", mark: str) -> None:
        self.process = process
        self._mark = f"{_MARK}={mark}".encode()

    def pids(self) -> list[int]:
        """All that run."""
        parents: dict[int, int] = {}
        found: set[int] = {self.process.pid} if self.process.poll() is None else set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                pid = int(entry.name)
                if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(pid)
                parents[pid] = int(_stat(pid)[1])
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def cpu_seconds(self) -> float:
        """Processor time of all that run now, user and system."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = _stat(pid)
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def memory(self) -> Memory:
        """What all that run now hold."""
        sums = {"Rss:": 0, "Pss:": 0}
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    name, *rest = line.split()
                    if name in sums:
                        sums[name] += int(rest[0])
        return Memory(rss=sums["Rss:"] * 1024 / 1e6, pss=sums["Pss:"] * 1024 / 1e6)

    def stop(self, seconds: float = 10.0) -> None:
        """Asks the first to end, and ends whatever is left after so many seconds."""
        if self.process.poll() is None:
            self.process.terminate()
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.pids():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
            if self.process.poll() is not None:
                time.sleep(0.05)
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


ThreadTimes: TypeAlias = Mapping[str, float]
"""Processor time in seconds by a thread's name; of threads with one name, all of them."""


def thread_times(pid: int) -> ThreadTimes:
    """Processor time of each thread of a process that runs, user and system."""
    found: dict[str, float] = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name = (folder / "comm").read_text().strip()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def started(
    command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[ProcessTree]:
    """Runs a server while the caller is inside."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    tree = ProcessTree(process, mark)
    try:
        yield tree
    finally:
        tree.stop()
