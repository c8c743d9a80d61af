"""How much memory this process holds."""

import resource
from pathlib import Path

__all__ = ["resident_bytes"]

_STATUS = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The bytes of memory that the process holds now; 0 where the system does not tell."""
    try:
        return int(_STATUS.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
