"""A limit for the memory of a process, as containers have one: past it the kernel ends the process.

`RLIMIT_AS` is another thing: past that the process gets a `MemoryError`.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["memory_limit"]

_ROOT = Path("/sys/fs/cgroup")
_MORE = 48 * 2**20


@contextlib.contextmanager
def memory_limit(pid: int) -> Iterator[None]:
    """Within, a process may take 48 MiB more; skips the test where nobody may say so.

    Args:
        pid: The process, which the test has started.
    """
    parent, limit, swap = _files()
    group = parent / f"kitfox-test-{secrets.token_hex(4)}"
    try:
        group.mkdir()
    except OSError as err:
        pytest.skip(f"no group of processes can be made in {parent}: {err}")
    try:
        try:
            (group / limit).write_text(str(_MORE))
            # What it had before is counted where it was before.
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as err:
            pytest.skip(f"the memory of a group cannot be limited in {parent}: {err}")
        for name in swap:
            with contextlib.suppress(OSError):  # there is none, or it is not counted
                (group / name).write_text(str(_MORE))
        yield
    finally:
        _remove(group)


def _files() -> tuple[Path, str, tuple[str, ...]]:
    """Where groups are made, and the names of the files with their limits."""
    if (first := _ROOT / "memory").is_dir():
        return first, "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes",)
    if not (_ROOT / "cgroup.controllers").is_file():
        pytest.skip(f"{_ROOT} has no groups that limit memory")
    return _ROOT, "memory.max", ("memory.swap.max",)


def _remove(group: Path) -> None:
    """Removes a group when the last process has left it."""
    deadline = time.monotonic() + 30
    while True:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)
        try:
            os.rmdir(group)  # noqa: PTH106 -- of a group only
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
