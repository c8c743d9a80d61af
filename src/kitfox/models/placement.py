"""Where threads run that hand quick calls to each other.

They hold Python's lock in turns, so never two of them run at the same time; but Linux spreads them
over the processors, where they wake each other across and stand in the way of those threads that
could run meanwhile. Kept on one processor they do as much with less waiting: on two processors, a
server a fifth more. That holds for calls that take little more than handing them over; a thread
whose calls compute may run anywhere.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Settler", "keep_quick_calls_on", "new_settler"]

_QUICK_SECONDS = 80e-6
"""Processor time of a call, on average, that is quick: handing it over takes about a third."""
_CALLS = 1000
"""So many must have been quick before a thread settles."""
_LONG_SECONDS = 2e-3
"""Processor time between two looks after which it does not wait for so many to go elsewhere."""

_quick: frozenset[int] | None = None


def keep_quick_calls_on(processors: frozenset[int] | None) -> None:
    """Has threads that are started from now on settle on these processors while they are quick."""
    global _quick
    _quick = processors


def new_settler() -> "Settler | None":
    """A settler for the present thread; None if nothing was asked of threads."""
    return None if _quick is None else Settler(_quick)


class Settler:
    """Puts the present thread on some processors while its calls are quick.

    Args:
        quick: The processors.
    """

    def __init__(self, quick: frozenset[int]) -> None:
        self._quick = quick
        self._settled = False
        self._calls = 0
        _go(_everywhere())  # whoever started this thread may have settled
        self._began = self._seen = time.thread_time()

    def note(self, calls: int) -> None:
        """Takes note of so many calls since the last time; in the thread that ran them."""
        now = time.thread_time()
        self._calls += calls
        is_long = now - self._seen > max(calls * _QUICK_SECONDS, _LONG_SECONDS)
        self._seen = now
        if self._calls < _CALLS and not is_long:
            return
        quick = not is_long and now - self._began < self._calls * _QUICK_SECONDS
        self._calls, self._began = 0, now
        if quick != self._settled:
            self._settled = quick
            _go(self._quick if quick else _everywhere())


def _everywhere() -> set[int]:
    # What a process may use is what its main thread may, which settles nowhere.
    return os.sched_getaffinity(os.getpid())


def _go(processors: Iterable[int]) -> None:
    # A container may lose processors while it runs; its threads then go on where they are.
    with suppress(OSError):
        os.sched_setaffinity(0, processors)
