"""What a server asks of the operating system."""

import os

__all__ = ["available_cores", "raise_file_limit"]


def available_cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def raise_file_limit() -> None:
    """Lets there be as many connections as the system allows; shells start with 1024 files."""
    try:
        import resource
    except ImportError:
        # Windows, which has no such limit.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
