"""Who has given no sign of life for too long."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

__all__ = ["Lease"]

Who = TypeVar("Who", bound=Hashable)

_LOOKS = 6
"""How often within its length a lease is looked at."""
_FEWEST_LOOKS = 3
"""How many looks must find nothing new, however long ago the first of them was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Silence:
    """What is known of one who is to give signs."""

    count: int
    """The signs it had given."""
    since: float
    """When the last of them was seen."""
    looks: int = 0
    """How often there was no other."""


class Lease(Generic[Who]):
    """Measures silence by counters of signs, and by this process's own clock alone.

    So it does not matter what time it is, here or elsewhere. Nor does it matter when this process
    has stood still, maybe with the whole machine: it takes several looks to find somebody silent.

    Args:
        seconds: For how long one may be silent.
        clock: What time is measured by.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.interval = seconds / _LOOKS
        self._clock = clock
        self._looked: float | None = None
        self._known: dict[Who, _Silence] = {}

    def next_look(self) -> float:
        """Seconds until it should be looked again."""
        if self._looked is None:
            return 0.0
        return max(0.0, self._looked + self.interval - self._clock())

    def look(self, signs: Mapping[Who, int]) -> set[Who]:
        """Takes in the count of signs of each; gives those who have been silent for too long."""
        now = self._looked = self._clock()
        known: dict[Who, _Silence] = {}
        for who, count in signs.items():
            before = self._known.get(who)
            if before is None or before.count != count:
                known[who] = _Silence(count=count, since=now)
            else:
                known[who] = replace(before, looks=before.looks + 1)
        self._known = known
        return {
            who
            for who, silence in known.items()
            if silence.looks >= _FEWEST_LOOKS and now - silence.since >= self.seconds
        }

    def is_silent(self, who: Who, count: int) -> bool:
        """Whether there has been no new sign since the last look."""
        before = self._known.get(who)
        return before is not None and before.count == count
