"""Processors of their own: one for Envoy's thread, one for the threads that quick calls go through.

On two processors only: with more of them there is room beside each thread, and with one nothing to
part. See `kitfox.models.placement` for what the second one is good for.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kitfox.config import Server
from kitfox.models import keep_quick_calls_on
from kitfox.server.express import is_there

__all__ = ["pin_threads"]

_WORKER = b"wrk:worker_"
"""What Envoy calls its threads."""


def pin_threads(settings: Server) -> Callable[[], None] | None:
    """Has threads keep to processors, where that is of use; before there are threads of models.

    Returns:
        What is to be called in the thread that takes requests from Envoy, once there is one; None
        if no thread is to be kept anywhere.
    """
    # Without a thread that takes requests from Envoy, quick calls go through none of their own.
    if not settings.pin_threads or settings.threads > 1 or not is_there():
        return None
    if not hasattr(os, "sched_getaffinity"):
        return None
    processors = sorted(os.sched_getaffinity(os.getpid()))
    if len(processors) != 2:
        return None
    first, second = processors

    def settle() -> None:
        # The container may have lost a processor meanwhile.
        with suppress(OSError):
            for thread in Path("/proc/self/task").iterdir():
                if (thread / "comm").read_bytes().startswith(_WORKER):
                    os.sched_setaffinity(int(thread.name), {first})
            os.sched_setaffinity(0, {second})

    keep_quick_calls_on(frozenset({second}))
    return settle
