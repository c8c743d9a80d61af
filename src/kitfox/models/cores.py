"""How much of the machine this process may use, and how libraries share it with parallel calls."""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["LibraryThreads", "available_cores", "library_environment", "library_threads"]

_ONNX = "ORT_INTRA_OP_NUM_THREADS"
_OPEN_MP = "OMP_NUM_THREADS"
# Names the variables that were set here, for a replica: what the operator said is left alone.
_CHOSEN = "KITFOX_CHOSEN_VARIABLES"


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


def library_environment(
    parallel: int, environ: Mapping[str, str], *, processes: int = 0, cores: int = 0
) -> dict[str, str]:
    """The variables that give each of several calls its part of a library's threads.

    A session of ONNX Runtime has threads of its own, as many as there are cores, which nothing can
    change once it is made; where its author names no number, recent versions take this one.
    What stands in the environment already is the operator's, and is not among them.

    Args:
        parallel: The calls at the same time; 0: one for each core.
        environ: The environment.
        processes: How many processes share the machine for one model; 0: this process runs any.
        cores: The cores that there are; 0: as it is.
    """
    cores = cores or available_cores()
    shares = {_ONNX: cores // (max(processes, 1) * (parallel or cores))}
    if processes:
        # In one process torch's threads are shared out from call to call.
        shares[_OPEN_MP] = cores // processes
    chosen = environ.get(_CHOSEN, "").split(",")
    found = {
        name: str(max(1, share))
        for name, share in shares.items()
        if name not in environ or name in chosen
    }
    return {**found, _CHOSEN: ",".join(found)} if found else {}


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
