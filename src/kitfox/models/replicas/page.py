"""A page of memory in which a replica notes what it runs, and which the server reads.

It tells the truth even when the replica is dead, hangs, or never lets go of the interpreter lock:
nothing has to be sent for it. There is a place for each call that runs, with its number and when it
began; and the numbers of the last few thousand calls that were begun, so that calls that were only
waiting are known to be innocent.
"""

import mmap
import os
import time
from dataclasses import dataclass

__all__ = ["Notes", "Running", "make_page"]

_SIZE = 128 * 1024
# What a replica has at a time is far less: each of them has its cell.
_NUMBERS = 8192
_FIRST_NUMBER = _SIZE // 8 - _NUMBERS
_PLACES = _FIRST_NUMBER // 2 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A call that a replica is in the middle of."""

    number: int
    """The call."""
    since: float
    """When it began or, of a stream, was last given something to do; of `time.monotonic`."""


def make_page() -> int:
    """The descriptor of a new page: nameless memory, gone when nobody has it open."""
    descriptor = os.memfd_create("kitfox-replica", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _SIZE)
    return descriptor


class Notes:
    """Reads and writes the page.

    Args:
        descriptor: Of the page; it may be closed afterwards.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._cells = memoryview(self._memory).cast("Q")

    @property
    def begun(self) -> frozenset[int]:
        """The numbers of the ordinary calls that were begun last."""
        return frozenset(self._cells[_FIRST_NUMBER:])

    def note_begun(self, number: int) -> None:
        """Notes that an ordinary call is begun."""
        self._cells[_FIRST_NUMBER + number % _NUMBERS] = number

    @property
    def places(self) -> int:
        """The highest place that was given out."""
        return self._cells[1]

    @places.setter
    def places(self, number: int) -> None:
        self._cells[1] = number

    def begin(self, place: int, number: int) -> None:
        """Notes that a call is run; calls without a place are not noted.

        Args:
            place: From 1 on; each belongs to one thread or coroutine at a time.
            number: The call's.
        """
        if place <= _PLACES:
            self._cells[2 * place + 1] = time.monotonic_ns()
            self._cells[2 * place] = number

    def end(self, place: int) -> None:
        """Notes that nothing is run at a place."""
        if place <= _PLACES:
            self._cells[2 * place] = 0

    def running(self) -> list[Running]:
        """The calls that are run."""
        found = []
        for place in range(1, min(self.places, _PLACES) + 1):
            number, since = self._cells[2 * place], self._cells[2 * place + 1]
            # Read again: it may have been changed meanwhile.
            if number and self._cells[2 * place] == number:
                found.append(Running(number=number, since=since / 1e9))
        return found

    def close(self) -> None:
        """Gives the memory back."""
        self._cells.release()
        self._memory.close()
