"""Finds by trial how a model is best run: how many calls at a time, singly or in batches.

A `Tuner` knows nothing of clocks, threads or models: it is told how much work was done in each
stretch of time in which there was enough to do, and says how to go on. A challenger runs in turns
with the plan in force, so that a load that changes meanwhile counts for both, and it must do better
each time: the machine has other work, too. A loser is tried again ever more rarely.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["Plan", "PlanSpace", "Tuner"]

# A challenger must do so much more; one that is nearer to a call for each core, a little less.
_GAIN = 1.05
_SAME = 0.97
# Pairs of measurements that a verdict takes: at least, at most, and so many standard errors.
_SOONEST = 2
_PAIRS = 12
_SURE = 1.5
_SPREAD = 0.15
_HOPELESS = 0.7
_FIRST_REST = 3.0
_LONGEST_REST = 300.0
# After all have been tried: the part of the time that goes into further trials.
_TRIAL_PART = 0.04


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One way to run the calls of a model."""

    parallel: int
    """How many calls, or batches, run at the same time."""
    size: int = 1
    """The most calls in a batch; 1: each call by itself."""
    alike: bool = True
    """Whether the calls of a batch are alike in size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSpace:
    """The plans that may be tried."""

    most_parallel: int
    """The most calls at the same time."""
    cores: int
    """The cores that there are."""
    fixed_parallel: bool = False
    """Whether the number of calls at a time is not to be changed."""
    sizes: tuple[tuple[int, bool], ...] = ((1, True),)
    """The sizes of batches, each with whether its calls are alike; the first is begun with."""

    def first(self) -> Plan:
        """The plan to begin with."""
        size, alike = self.sizes[0]
        parallel = self.most_parallel if self.fixed_parallel else self.cores
        return Plan(parallel=min(parallel, self.most_parallel), size=size, alike=alike)

    def wider(self, plan: Plan) -> Plan:
        """The plan with twice as many calls at a time, as far as that is allowed."""
        if self.fixed_parallel:
            return plan
        return replace(plan, parallel=min(plan.parallel * 2, self.most_parallel))

    def around(self, plan: Plan) -> Iterator[Plan]:
        """What differs from a plan in one respect."""
        for size, alike in self.sizes:
            if (size, alike) != (plan.size, plan.alike):
                yield replace(plan, size=size, alike=alike)
        if self.fixed_parallel:
            return
        for parallel in (plan.parallel // 2, plan.parallel + 1, plan.parallel * 2):
            parallel = min(max(parallel, 1), self.most_parallel)
            if parallel != plan.parallel:
                yield replace(plan, parallel=parallel)


class Tuner:
    """Chooses among plans.

    Args:
        space: The plans that there are.
    """

    def __init__(self, space: PlanSpace) -> None:
        self._space = space
        self.best = space.first()
        self.plan = self.best
        """The plan to be followed now: the best so far, or a challenger."""
        self._challenger = self.best
        self._before: list[float] = []
        self._after: list[float] = []
        self._rests: dict[Plan, tuple[float, float]] = {}
        self._next_trial = 0.0
        self._began = 0.0

    def observe(self, rate: float, now: float, *, narrow: bool = True) -> Plan:
        """Takes note of how much was done with `plan`, and says what to follow from now on.

        Args:
            rate: Work done per second, in a stretch with enough to do.
            now: The time in seconds, of any clock that goes forward.
            narrow: Whether fewer calls at a time are worth a trial.
        """
        if self.plan is self.best:
            if not self._before and not self._begin(now, narrow):
                return self.plan
            self._before.append(rate)
            self.plan = self._challenger
        else:
            self._after.append(rate)
            verdict = self._verdict()
            if verdict is None:
                self.plan = self.best
            else:
                self._end(verdict, now)
        return self.plan

    def widen(self) -> Plan:
        """Has twice as many calls at a time, without a trial: the model does nothing but wait."""
        wider = self._space.wider(self.best)
        if wider != self.best:
            self.best = self.plan = wider
            self._forget()
        return self.plan

    def abandon(self) -> None:
        """Has a trial rest: there is not enough to do. It goes on when there is."""
        self.plan = self.best
        del self._before[len(self._after) :]

    def _forget(self) -> None:
        self._before, self._after = [], []
        self._rests.clear()

    def _begin(self, now: float, narrow: bool) -> bool:
        """Whether there is a challenger whose time has come."""
        least = 1 if narrow else self.best.parallel
        candidates = [plan for plan in self._space.around(self.best) if plan.parallel >= least]
        due = [plan for plan in candidates if self._rests.get(plan, (0, 0))[0] <= now]
        untried = [plan for plan in due if plan not in self._rests]
        if not due or (not untried and now < self._next_trial):
            return False
        self._challenger = untried[0] if untried else min(due, key=lambda item: self._rests[item])
        self._began = now
        return True

    def _verdict(self) -> bool | None:
        """Whether the challenger is better; None when that is not sure yet."""
        before, after = self._before, self._after
        ratios = [math.log(max(b, 1e-9) / max(a, 1e-9)) for a, b in zip(before, after, strict=True)]
        count, mean = len(ratios), statistics.fmean(ratios)
        if count < _SOONEST:
            return None
        # With a guess of the spread, as if two had been seen: few say little of it themselves.
        squares = sum((item - mean) ** 2 for item in ratios)
        spread = math.sqrt((2 * _SPREAD**2 + squares) / (count + 1))
        doubt = _SURE * spread / math.sqrt(count)
        nearer = self._is_nearer(self._challenger)
        needed = math.log(_SAME if nearer else _GAIN)
        if mean + doubt < needed:
            return False
        if mean - doubt > needed:
            return True
        if count < _PAIRS:
            return None
        return mean > needed and (nearer or mean > doubt / 2)

    def _is_nearer(self, plan: Plan) -> bool:
        """Whether a plan differs from the best in being nearer to one call for each core."""
        same = (plan.size, plan.alike) == (self.best.size, self.best.alike)
        return same and self._distance(plan) < self._distance(self.best)

    def _distance(self, plan: Plan) -> float:
        return abs(math.log(plan.parallel / self._space.cores))

    def _end(self, won: bool, now: float) -> None:
        lost = self._challenger
        if won:
            lost, self.best = self.best, self._challenger
        hopeless = sum(self._after) < _HOPELESS * sum(self._before)
        _, rest = self._rests.get(lost, (0.0, _FIRST_REST * (2 if hopeless else 1)))
        self._rests[lost] = (now + rest, min(rest * 2, _LONGEST_REST))
        self._rests.pop(self.best, None)
        self._before, self._after = [], []
        self._next_trial = now + (now - self._began) / _TRIAL_PART
        self.plan = self.best
