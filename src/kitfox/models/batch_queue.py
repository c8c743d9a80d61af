"""What waits for a model that runs batches, and which of it goes together next.

The call that has waited longest is always in the next batch, so none is passed over for ever; what
joins it has the same parameters and, as the plan has it, nearly the same size.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from kitfox.models.batch_shape import BatchShape
from kitfox.models.tuning import Plan
from kitfox.modules import RequestContext

__all__ = ["BatchCall", "BatchQueue"]

# So many calls are looked at for those that fit: what waits behind them costs nothing.
_WINDOW = 256
# Calls are alike in size when the larger is at most so many times, or so much, larger.
_RATIO = 1.3
_DIFFERENCE = 4


class BatchCall:
    """A call that may share a batch.

    Args:
        arguments: By name.
        future: Gets what it comes to, by whoever runs it; `cancelled()` tells whether it was given
            up.
        context: The request that it is for.
        since: When it came.
        finish: Takes its result, in the thread that ran the batch.
    """

    __slots__ = ("arguments", "context", "finish", "future", "key", "since", "weight")

    def __init__(
        self,
        arguments: Mapping[str, Any],
        future: Any,
        context: RequestContext | None,
        since: float,
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        self.arguments = arguments
        self.future = future
        self.context = context
        self.since = since
        self.finish = finish
        self.weight = 0.0
        self.key: Hashable = None


class BatchQueue:
    """The calls that wait, in the order in which they came. Used by one thread at a time.

    Args:
        shape: Tells which calls fit together.
        max_weight: The most that a batch may weigh; what weighs more goes alone. 0: no limit.
        refuse: Told of a call that cannot be measured, with the reason; it is not run.
    """

    def __init__(
        self,
        shape: BatchShape,
        *,
        max_weight: float,
        refuse: Callable[[BatchCall, BaseException], object],
    ) -> None:
        self._shape = shape
        self._max_weight = max_weight
        self._refuse = refuse
        self._calls: deque[BatchCall] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def since(self) -> float:
        """When the oldest call came; infinity when there is none."""
        return self._calls[0].since if self._calls else math.inf

    def add(self, calls: Iterable[BatchCall]) -> None:
        """Puts calls at the end. Runs the author's code that measures them."""
        for call in calls:
            if call.future.cancelled():
                continue
            try:
                call.weight = self._shape.weigh(call.arguments)
            except BaseException as err:  # noqa: BLE001 -- the author's code; the caller is told
                self._refuse(call, err)
            else:
                self._calls.append(call)

    def drop_cancelled(self) -> None:
        """Forgets the calls that nobody waits for any more."""
        alive = [call for call in self._calls if not call.future.cancelled()]
        self._calls.clear()
        self._calls.extend(alive)

    def clear(self) -> list[BatchCall]:
        """Empties it and gives what was in it."""
        calls = list(self._calls)
        self._calls.clear()
        return calls

    def take(self, plan: Plan, *, ripe: float | None = None) -> list[BatchCall]:
        """The next batch; empty when there is none.

        Args:
            plan: How large, and whether of calls alike in size.
            ripe: Give a batch that could still grow only if its oldest call came before this time.
        """
        while self._calls and self._calls[0].future.cancelled():
            self._calls.popleft()
        if not self._calls:
            return []
        if plan.size == 1:
            return [self._calls.popleft()]
        window = [self._calls.popleft() for _ in range(min(_WINDOW, len(self._calls)))]
        batch = self._choose(window, plan)
        if ripe is not None and batch[0].since > ripe and self._may_grow(batch, plan):
            batch = []
        taken = set(map(id, batch))
        self._calls.extendleft(call for call in reversed(window) if id(call) not in taken)
        return batch

    def _choose(self, window: list[BatchCall], plan: Plan) -> list[BatchCall]:
        oldest = window[0]
        key = self._key(oldest)
        fitting = [
            call for call in window if not call.future.cancelled() and self._key(call) == key
        ]
        if plan.alike:
            nearest = sorted(fitting, key=lambda call: abs(call.weight - oldest.weight))
            fitting = [call for call in nearest if _alike(call.weight, oldest.weight)]
        batch, weight = [oldest], oldest.weight
        for call in fitting:
            if len(batch) == plan.size:
                break
            if call is oldest or (self._max_weight and weight + call.weight > self._max_weight):
                continue
            batch.append(call)
            weight += call.weight
        return batch

    def _key(self, call: BatchCall) -> Hashable:
        if call.key is None:
            try:
                call.key = self._shape.key(call.arguments)
            except Exception:  # noqa: BLE001 -- values of any kind; what cannot be compared goes alone
                call.key = object()
        return call.key

    def _may_grow(self, batch: list[BatchCall], plan: Plan) -> bool:
        weight = sum(call.weight for call in batch)
        return len(batch) < plan.size and not (self._max_weight and weight >= self._max_weight)


def _alike(a: float, b: float) -> bool:
    low, high = (a, b) if a < b else (b, a)
    return high <= low * _RATIO or high - low <= _DIFFERENCE
