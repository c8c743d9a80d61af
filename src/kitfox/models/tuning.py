"""Finds by trial how a model is best run: how many calls at a time, singly or in batches.

A `Tuner` knows nothing of clocks, threads or models: it is told how much work was done in each
stretch of time in which there was enough to do, and says how to go on. A challenger runs in turns
with the plan in force, so that a load that changes meanwhile counts for both, and it must do better
each time: the machine has other work, too. A loser is tried again ever more rarely, and one that is
hopeless is given up before its first measurement is complete.

The sizes of batches are the rungs of a ladder. A trial goes one rung up or down, so that what lies
beyond a rung that is worse is not tried before everything else has been.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["Plan", "PlanSpace", "Tuner", "batch_sizes"]

# A challenger must do so much more; one that is simpler, a little less: call by call, or with a
# number of calls at a time that is nearer to that of the cores.
_GAIN = 1.05
_SAME = 0.97
# Pairs of measurements that a verdict takes: at least, at most, and so many standard errors.
_SOONEST = 2
_PAIRS = 12
_SURE = 1.5
_SPREAD = 0.15
_HOPELESS = 0.7
_HOPELESS_AT_ONCE = 0.5
# Batches that are on average this part of what they may be are full.
_FULL = 0.75
_LARGEST_BATCH = 64
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
    """The sizes of batches from the smallest on, each with whether its calls are alike."""
    start: int = 0
    """Which of the sizes to begin with."""

    def first(self) -> Plan:
        """The plan to begin with."""
        size, alike = self.sizes[self.start]
        parallel = self.most_parallel if self.fixed_parallel else self.cores
        return Plan(parallel=min(parallel, self.most_parallel), size=size, alike=alike)

    def wider(self, plan: Plan) -> Plan:
        """The plan with twice as many calls at a time, as far as that is allowed."""
        if self.fixed_parallel:
            return plan
        return replace(plan, parallel=min(plan.parallel * 2, self.most_parallel))

    def near(self, plan: Plan, filled: float = math.inf) -> Iterator[Plan]:
        """What differs from a plan by one rung, or in how many calls run at a time.

        Args:
            plan: The plan.
            filled: How many calls its batches have on average.
        """
        rungs = self._rungs(plan, filled)
        here = rungs.index((plan.size, plan.alike))
        for size, alike in (*rungs[max(here - 1, 0) : here], *rungs[here + 1 : here + 2]):
            yield replace(plan, size=size, alike=alike)
        if self.fixed_parallel:
            return
        tried = {plan.parallel}
        for parallel in (plan.parallel // 2, plan.parallel + 1, plan.parallel * 2):
            parallel = min(max(parallel, 1), self.most_parallel)
            if parallel not in tried:
                tried.add(parallel)
                yield replace(plan, parallel=parallel)

    def far(self, plan: Plan, filled: float = math.inf) -> Iterator[Plan]:
        """What differs by more than one rung; see `near`."""
        rungs = self._rungs(plan, filled)
        here = rungs.index((plan.size, plan.alike))
        for place, (size, alike) in enumerate(rungs):
            if abs(place - here) > 1:
                yield replace(plan, size=size, alike=alike)

    def _rungs(self, plan: Plan, filled: float) -> list[tuple[int, bool]]:
        """The sizes without those that would make the same batches as the plan does."""
        own = (plan.size, plan.alike)
        return [item for item in self.sizes if item == own or not _same_batches(item, own, filled)]


def batch_sizes(most: int) -> tuple[tuple[int, bool], ...]:
    """The sizes of batches to choose from, from small to large; just one: no batches.

    Large batches of calls of all sizes suit what does not pad; small ones of calls that are alike
    suit what does; and call by call suits what has cores enough.

    Args:
        most: The most calls in a batch; 0: as many as may be of use.
    """
    if most == 1:
        return ((1, True),)
    most = most or _LARGEST_BATCH
    middle, small = min(most, 32), min(most, 8)
    return tuple(dict.fromkeys([(1, True), (small, True), (middle, True), (most, False)]))


def _same_batches(other: tuple[int, bool], own: tuple[int, bool], filled: float) -> bool:
    """Whether batches get no nearer to either size: what fits together is less than that."""
    return other[1] == own[1] and filled < _FULL * min(other[0], own[0])


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

    def observe(
        self, rate: float, now: float, *, narrow: bool = True, filled: float = math.inf
    ) -> Plan:
        """Takes note of how much was done with `plan`, and says what to follow from now on.

        Args:
            rate: Work done per second, in a stretch with enough to do.
            now: The time in seconds, of any clock that goes forward.
            narrow: Whether fewer calls at a time are worth a trial.
            filled: How many calls a batch had on average.
        """
        if self.plan is self.best:
            if not self._before and not self._begin(now, narrow, filled):
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

    def give_up(self, most: float, now: float) -> Plan:
        """Ends a trial that is hopeless, and says what to follow from now on.

        Args:
            most: No more work per second than this has been done with the challenger.
            now: The time, as in `observe`.
        """
        if self.plan is not self.best and most < _HOPELESS * statistics.fmean(self._before):
            self._end(won=False, hopeless=True, now=now)
        return self.plan

    def inherit(self, other: "Tuner") -> bool:
        """Goes on from what another has found out, if it had the same choice; tells whether."""
        if self._space != other._space:
            return False
        self._before, self._after = [], []
        self.best = self.plan = other.best
        self._rests = dict(other._rests)
        self._next_trial = other._next_trial
        return True

    def abandon(self) -> None:
        """Has a trial rest: there is not enough to do. It goes on when there is."""
        self.plan = self.best
        del self._before[len(self._after) :]

    def _forget(self) -> None:
        self._before, self._after = [], []
        self._rests.clear()

    def _begin(self, now: float, narrow: bool, filled: float) -> bool:
        """Whether there is a challenger whose time has come."""
        least = 1 if narrow else self.best.parallel
        near = [item for item in self._space.near(self.best, filled) if item.parallel >= least]
        untried = [plan for plan in near if plan not in self._rests]
        if not untried:
            # No hurry: there is a best among those that are alike.
            others = [*near, *self._space.far(self.best, filled)]
            due = [plan for plan in others if self._rest_of(plan)[0] <= now]
            if not due or now < self._next_trial:
                return False
            untried = [min(due, key=self._rest_of)]
        self._challenger = untried[0]
        self._began = now
        return True

    def _rest_of(self, plan: Plan) -> tuple[float, float]:
        """Until when a plan is not tried, and for how long after the next time."""
        return self._rests.get(plan, (0.0, 0.0))

    def _verdict(self) -> bool | None:
        """Whether the challenger is better; None when that is not sure yet."""
        before, after = self._before, self._after
        ratios = [math.log(max(b, 1e-9) / max(a, 1e-9)) for a, b in zip(before, after, strict=True)]
        count, mean = len(ratios), statistics.fmean(ratios)
        if count < _SOONEST:
            return False if mean < math.log(_HOPELESS_AT_ONCE) else None
        # With a guess of the spread, as if two had been seen: few say little of it themselves.
        squares = sum((item - mean) ** 2 for item in ratios)
        spread = math.sqrt((2 * _SPREAD**2 + squares) / (count + 1))
        doubt = _SURE * spread / math.sqrt(count)
        simpler = self._is_simpler(self._challenger)
        needed = math.log(_SAME if simpler else _GAIN)
        if mean + doubt < needed:
            return False
        if mean - doubt > needed:
            return True
        if count < _PAIRS:
            return None
        return mean > needed and (simpler or mean > doubt / 2)

    def _is_simpler(self, plan: Plan) -> bool:
        """Whether a plan differs from the best in being call by call, or as many as cores."""
        if (plan.size, plan.alike) != (self.best.size, self.best.alike):
            return plan.size == 1
        return self._distance(plan) < self._distance(self.best)

    def _distance(self, plan: Plan) -> float:
        return abs(math.log(plan.parallel / self._space.cores))

    def _end(self, won: bool, now: float, *, hopeless: bool = False) -> None:
        lost = self._challenger
        if won:
            lost, self.best = self.best, self._challenger
        hopeless = hopeless or sum(self._after) < _HOPELESS * sum(self._before)
        _, rest = self._rests.get(lost, (0.0, _FIRST_REST * (2 if hopeless else 1)))
        self._rests[lost] = (now + rest, min(rest * 2, _LONGEST_REST))
        self._rests.pop(self.best, None)
        self._before, self._after = [], []
        self._next_trial = now + (now - self._began) / _TRIAL_PART
        self.plan = self.best
