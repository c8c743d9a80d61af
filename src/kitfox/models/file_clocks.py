"""Whether the times of files are told by this machine's clock, exactly enough to be compared."""

import os
from functools import lru_cache
from pathlib import Path

__all__ = ["TICK", "shares_clock"]

TICK = 0.02
"""Seconds by which the time of a change may be behind the clock: a tick of the kernel, and more."""

_LOCAL = {"apfs", "bcachefs", "btrfs", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}


def shares_clock(path: Path) -> bool:
    """Whether a path is on a file system of this machine, which takes its time from the kernel.

    Where nobody tells, as for what comes over a network, it is not.
    """
    try:
        return _is_local(path.stat().st_dev)
    except OSError:
        return False


@lru_cache(maxsize=64)
def _is_local(device: int) -> bool:
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        # 36 35 98:0 /root /mount options [tags] - type source options
        fields, _, kind = line.partition(" - ")
        if fields.split(" ", 3)[2:3] == [number]:
            return kind.partition(" ")[0] in _LOCAL
    return False
