"""How much of the machine this process may use, and how libraries share it with parallel calls."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

__all__ = ["LibraryThreads", "available_cores", "library_threads"]


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use at a time, at least one.

    Args:
        cgroup: Where Linux says what a container may use.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, _, period = (cgroup / "cpu.max").read_text().partition(" ")
        if quota != "max":
            cores = min(cores, round(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no limit is known
    return max(cores, 1)


class LibraryThreads:
    """Gives each of the calls that run at the same time its part of torch's threads.

    torch runs one operation in as many threads as there are cores: right for one call at a time,
    too many when there are several. What its author or `OMP_NUM_THREADS` made it is shared out.

    Args:
        torch: The library.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._all: int = torch.get_num_threads()
        self._mine = threading.local()

    def share(self, parallel: int) -> None:
        """Sets what operations of the present thread use.

        Args:
            parallel: The calls at the same time.
        """
        threads = max(1, self._all // max(1, parallel))
        if getattr(self._mine, "threads", None) != threads:
            self._mine.threads = threads
            self._torch.set_num_threads(threads)


def library_threads() -> LibraryThreads | None:
    """How torch's threads are shared out; None when nothing here has imported it."""
    torch = sys.modules.get("torch")
    return LibraryThreads(torch) if hasattr(torch, "set_num_threads") else None
