"""How many calls may read a stream of requests at the same time: each holds a thread."""

import math
from collections import Counter
from collections.abc import Hashable

from kitfox.errors import TRY_AGAIN_SECONDS, ResourceExhausted

__all__ = ["StreamPlaces"]

# No model gets more than this part of the places that others leave: theirs are never all taken.
_SHARE = 0.75


class StreamPlaces:
    """Places for calls with a stream of requests, shared by all models.

    Args:
        limit: How many there are.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._taken: Counter[Hashable] = Counter()
        self._all = 0

    def take(self, model: Hashable, name: str) -> None:
        """Takes a place for a call of a model.

        Args:
            model: What tells the model from others.
            name: Its id.

        Raises:
            ResourceExhausted: There is none, or the model has as many as it may have.
        """
        taken = self._taken[model]
        share = math.ceil(_SHARE * (self._limit - self._all + taken))
        if self._all >= self._limit or taken >= share:
            whose = f"{taken} of them of model {name!r}, "
            raise ResourceExhausted(
                f"{self._all} calls with a stream of requests are being worked on, {whose}and no "
                "more are taken (setting server.max_concurrent_streams); try again later",
                TRY_AGAIN_SECONDS,
            )
        self._taken[model] = taken + 1
        self._all += 1

    def give_back(self, model: Hashable) -> None:
        """Gives a place back."""
        self._all -= 1
        self._taken[model] -= 1
        if not self._taken[model]:
            del self._taken[model]
