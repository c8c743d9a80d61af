"""Watches a model that has more calls than it runs at once: bounds what waits, and tunes it.

Nothing is measured as long as nothing waits, and nothing per call when something does: fifty times
a second the executor's counters are read. From them comes how much is done with the plan in force,
which a `Tuner` compares with others; and from the CPU time of the threads whether the model only
waits for something else, so that more of its calls can run at the same time. A trial is looked at
more closely: one that cannot be worthwhile any more is over before its batches are.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Protocol

from kitfox.models.executor import ThreadExecutor, too_many_wait
from kitfox.models.tuning import Plan, Tuner

__all__ = ["Pace", "Paced", "PacedThreads", "Progress"]

_TICK = 0.02
# Ticks without anything that waits until it is no longer looked at.
_QUIET_TICKS = 25
# What is measured at a time: so many seconds, and so many runs for each that runs beside others.
_WINDOW = 0.1
_LONGEST_WINDOW = 2.0
_RUNS = 3
# How long a trial goes on before it may be found hopeless.
_FIRST_LOOK = 0.2
# Runs per second past which a call costs less than what could be gained.
_TOO_QUICK = 3000
# A thread that works less than this part of the time waits for something else.
_WAITS = 0.04
_CLOSE_LOOKS = 20
_FAR_LOOKS = 16
_PURGE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an executor has come."""

    runs: int
    """The calls, or batches, that have been run."""
    calls: int
    """The calls in them."""
    work: float
    """What was done by them."""
    at: float
    """When the last one ended."""


class Paced(Protocol):
    """An executor that can be watched and told how to run."""

    threshold: int
    """`check` is called before a call is added to more than so many that wait."""
    check: Callable[[], object]
    """Raises what a caller is told instead, if one more may not be added."""

    @property
    def waiting(self) -> int:
        """The calls that have not begun."""

    @property
    def active(self) -> int:
        """The threads at work."""

    @property
    def running_count(self) -> int:
        """The threads that have got something to run."""

    @property
    def in_process(self) -> int:
        """The calls that are being run."""

    @property
    def work_in_process(self) -> float:
        """The work of these, as `progress` counts it."""

    @property
    def threads(self) -> Sequence[Thread]:
        """Its threads."""

    @property
    def progress(self) -> Progress:
        """How far it has come."""

    def follow(self, plan: Plan) -> None:
        """Runs what comes next by another plan."""

    def drop_cancelled(self) -> None:
        """Forgets waiting calls that were given up."""


class PacedThreads:
    """A `ThreadExecutor` as something that is paced.

    Args:
        executor: The threads.
    """

    def __init__(self, executor: ThreadExecutor) -> None:
        self._executor = executor
        self.threads = executor.threads
        self.drop_cancelled = executor.drop_cancelled

    @property
    def threshold(self) -> int:
        """`check` is called before a call is added to more than so many that wait."""
        return self._executor.threshold

    @threshold.setter
    def threshold(self, waiting: int) -> None:
        self._executor.threshold = waiting

    @property
    def check(self) -> Callable[[], object]:
        """Raises what a caller is told instead, if one more may not be added."""
        return self._executor.check

    @check.setter
    def check(self, check: Callable[[], object]) -> None:
        self._executor.check = check

    @property
    def waiting(self) -> int:
        """The calls that have not begun."""
        return self._executor.waiting

    @property
    def active(self) -> int:
        """The threads at work."""
        return self._executor.active

    @property
    def running_count(self) -> int:
        """The threads that have got something to run."""
        return len(self._executor.running())

    @property
    def in_process(self) -> int:
        """The calls that are being run: one in each thread."""
        return self._executor.active

    @property
    def work_in_process(self) -> float:
        """The work of these: each call counts the same."""
        return self._executor.active

    @property
    def progress(self) -> Progress:
        """How far it has come: each call counts the same."""
        done = self._executor.completed
        return Progress(done, done, done, self._executor.last_completion)

    def follow(self, plan: Plan) -> None:
        """Runs so many calls at the same time from now on."""
        self._executor.limit = plan.parallel


class Pace:
    """Watches one executor, on its event loop.

    Args:
        name: The model's id.
        executor: What runs it.
        tuner: Chooses the plan.
        queue_limit: The most calls that may wait.
        loop: The event loop.
        cpu_seconds: The CPU time that threads have had, together.
    """

    def __init__(
        self,
        name: str,
        executor: Paced,
        tuner: Tuner,
        *,
        queue_limit: int,
        loop: asyncio.AbstractEventLoop,
        cpu_seconds: Callable[[Sequence[Thread]], float] | None = None,
    ) -> None:
        executor.threshold, executor.check = 0, self.check
        self._name = name
        self._executor = executor
        self._tuner = tuner
        self._queue_limit = queue_limit
        self._loop = loop
        self._cpu_seconds = cpu_seconds or _cpu_of
        self._timer: asyncio.TimerHandle | None = None
        self._begins = False
        self._quiet = 0
        self._looks = 0
        self._last_tick = 0.0
        self._last_purge = 0.0
        self._start: Progress | None = None
        self._flush_until = 0
        self._followed: Progress | None = None
        self._followed_at = 0.0
        self._cpu: tuple[float, float] | None = None
        self._waits = 0

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._tuner.plan

    def inherit(self, other: "Pace") -> None:
        """Goes on from what another has found out about the same model."""
        if self._tuner.inherit(other._tuner):
            self._follow()

    def check(self) -> None:
        """Looks at the queue before one more call is added to it.

        Raises:
            ResourceExhausted: As many calls wait as may wait.
        """
        if self._timer is None and not self._begins:
            self._begins = True
            self._executor.threshold = self._queue_limit - 1
            # A `Continuation` may call this in another thread.
            self._loop.call_soon_threadsafe(self._begin)
        if self._executor.waiting < self._queue_limit:
            return
        now = self._loop.time()
        if now - self._last_purge > _PURGE_SECONDS:
            self._executor.drop_cancelled()
            self._last_purge = now
        # A call that a free thread is about to take does not wait.
        free = max(self.plan.parallel - self._executor.running_count, 0)
        if self._executor.waiting - free >= self._queue_limit:
            raise too_many_wait(self._name, self._queue_limit)

    def _begin(self) -> None:
        self._begins = False
        if self._timer is None:
            self._quiet = self._looks = 0
            self._last_tick = self._loop.time()
            self._start = self._cpu = None
            self._timer = self._loop.call_later(_TICK / 2, self._tick)

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._executor.threshold = 0

    def _tick(self) -> None:
        now, waiting = self._loop.time(), self._executor.waiting
        # What the machine did not give to this process is not held against a trial.
        self._followed_at += max(now - self._last_tick - 2 * _TICK, 0.0)
        self._last_tick = now
        self._looks += 1
        if waiting or self._executor.in_process > self._executor.active:
            self._quiet = 0
            if waiting and self._only_waits():
                self._widen()
            else:
                self._doubt(now)
                self._measure(now)
        else:
            self._quiet += 1
            self._start = self._cpu = None
            if self._quiet >= _QUIET_TICKS:
                self._abandon()
                self.stop()
                return
        period = _TICK / 2 if self._looks < _CLOSE_LOOKS else _TICK
        self._timer = self._loop.call_later(period, self._tick)

    # -- whether it only waits

    def _only_waits(self) -> bool:
        """Whether the threads, all busy, have done next to nothing since the last look."""
        if self._looks > _CLOSE_LOOKS and self._looks % _FAR_LOOKS > 2:
            self._cpu = None
            return False
        before, self._cpu = self._cpu, None
        # What runs on the event loop has no threads that could be seen to wait.
        if self._executor.active < self.plan.parallel or not self._executor.threads:
            return False
        now = (self._loop.time(), self._cpu_seconds(self._executor.threads))
        self._cpu = now
        if before is None:
            return False
        seconds, threads = now[0] - before[0], now[1] - before[1]
        # Twice in a row: a machine that has other work may leave a thread nothing for a while.
        rests = threads < _WAITS * seconds * self._executor.active and threads < 0.5 * seconds
        self._waits = self._waits + 1 if rests else 0
        return self._waits > 1

    def _widen(self) -> None:
        before = self.plan
        if self._tuner.widen() != before:
            self._follow()
            self._looks = self._waits = 0
            self._cpu = None

    # -- how much is done

    def _measure(self, now: float) -> None:
        progress = self._executor.progress
        start = self._start
        if start is None:
            self._flush_until = progress.runs + self.plan.parallel
        if start is None or start.runs < self._flush_until:
            # What was begun under another plan, or from an idle state, does not count, nor does the
            # time since the run before it.
            self._start = progress
            return
        runs, seconds = progress.runs - start.runs, progress.at - start.at
        enough = seconds >= _WINDOW and runs >= _RUNS * self.plan.parallel
        if not enough and not (seconds >= _LONGEST_WINDOW and runs >= self.plan.parallel):
            return
        self._start = progress
        if runs > _TOO_QUICK * seconds and self.plan.size == 1:
            return
        before = self.plan
        rate = (progress.work - start.work) / seconds
        filled = (progress.calls - start.calls) / runs
        if self._tuner.observe(rate, now, narrow=not self._waits, filled=filled) != before:
            self._follow()

    def _doubt(self, now: float) -> None:
        """Ends a trial if what it can have done at most is too little."""
        began, seconds = self._followed, now - self._followed_at
        if began is None or seconds < _FIRST_LOOK or self.plan == self._tuner.best:
            return
        work = self._executor.progress.work - began.work + self._executor.work_in_process
        before = self.plan
        if self._tuner.give_up(work / seconds, now) != before:
            self._follow()

    def _abandon(self) -> None:
        before = self.plan
        self._tuner.abandon()
        if self.plan != before:
            self._follow()

    def _follow(self) -> None:
        self._executor.follow(self.plan)
        self._start = None
        self._followed, self._followed_at = self._executor.progress, self._loop.time()


def _cpu_of(threads: Sequence[Thread]) -> float:
    """The seconds of CPU time of some threads, together."""
    total = 0.0
    for thread in threads:
        # A thread that has not started, or has ended, has none.
        with contextlib.suppress(OSError, TypeError):
            total += _thread_cpu(thread.ident)
    return total


def _thread_cpu(ident: int | None) -> float:
    clock: Callable[[int], int] | None = getattr(time, "pthread_getcpuclockid", None)
    if clock is None or ident is None:
        return time.process_time()
    return time.clock_gettime(clock(ident))
