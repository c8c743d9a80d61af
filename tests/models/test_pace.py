"""What tuning costs in the first seconds: a model, its threads and the clock are simulated."""

import asyncio
import heapq
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, cast

import pytest

from kitfox.models.batch_executor import BatchExecutor
from kitfox.models.batch_shape import batch_shape
from kitfox.models.pace import Pace, Progress
from kitfox.models.tuning import Plan, PlanSpace, Tuner
from kitfox.modules import ModuleBase, default_registry, module
from tests.models.models_under_test import Answer, EchoTask, until

SIZES = ((1, True), (8, True), (32, True), (64, False))
CORES = 2
CALLERS = 32

Rate = Callable[[Plan], float]


class Clock:
    """As much of an event loop as is asked for: what is to be called when, in simulated time."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, callback))
        return cast("asyncio.TimerHandle", None)

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        callback()

    def run(self, until: float) -> None:
        while self._events[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._events)
            callback()
        self.now = until


class Machine:
    """Runs the calls of callers who each send the next one when the last was answered.

    Args:
        clock: The time.
        rate: How many calls a second are done by a plan whose batches are full.
        alike: How many of the calls that wait are alike in size.
        noise: By what part the duration of a run varies.
    """

    threads: Sequence[Thread] = ()
    threshold = 0

    def __init__(self, clock: Clock, rate: Rate, plan: Plan, *, alike: int, noise: float) -> None:
        self.check: Callable[[], object] = self.drop_cancelled
        self.waiting = CALLERS
        self.progress = Progress(0, 0, 0.0, 0.0)
        self.done_by: list[tuple[float, int]] = []
        self._clock = clock
        self._rate = rate
        self._alike = alike
        self._noise = noise
        self._plan = plan
        self._running: list[int] = []
        self._random = random.Random(1)  # noqa: S311 -- noise
        self._fill()

    @property
    def active(self) -> int:
        return len(self._running)

    running_count = active

    @property
    def in_process(self) -> int:
        return sum(self._running)

    @property
    def work_in_process(self) -> float:
        return self.in_process

    def follow(self, plan: Plan) -> None:
        self._plan = plan
        self._fill()

    def drop_cancelled(self) -> None:
        raise AssertionError("nobody gives up")

    def _fill(self) -> None:
        plan = self._plan
        while len(self._running) < plan.parallel and self.waiting:
            most = min(plan.size, self._alike if plan.alike else plan.size)
            # What waits is shared by those who take it: nobody waits for company.
            count = min(most, self.waiting)
            self.waiting -= count
            self._running.append(count)
            seconds = count * plan.parallel / self._rate(plan)
            seconds *= math.exp(self._random.gauss(0, self._noise))
            self._clock.call_later(seconds, lambda count=count: self._end(count))  # type: ignore[misc]

    def _end(self, count: int) -> None:
        self._running.remove(count)
        self.waiting += count
        before = self.progress
        calls = before.calls + count
        self.progress = Progress(before.runs + 1, calls, float(calls), self._clock.now)
        self.done_by.append((self._clock.now, calls))
        self._fill()

    def rate_between(self, start: float, end: float) -> float:
        counts = [calls for at, calls in self.done_by if start <= at <= end]
        return (counts[-1] - counts[0]) / (end - start)


def paced(
    rate: Rate, *, alike: int, noise: float = 0.1, now: float = 0.0
) -> tuple[Clock, Machine, Tuner]:
    clock = Clock(now)
    tuner = Tuner(PlanSpace(most_parallel=100, cores=CORES, sizes=SIZES, start=1))
    machine = Machine(clock, rate, tuner.plan, alike=alike, noise=noise)
    loop: Any = clock

    def busy(threads: Sequence[Thread]) -> float:
        return clock.now * CORES

    pace = Pace("test", machine, tuner, queue_limit=100, loop=loop, cpu_seconds=busy)
    pace.check()
    return clock, machine, tuner


def sentences(plan: Plan) -> float:
    """As measured for MiniLM on two slow cores: call by call in parallel is best."""
    return {1: 150, 8: 125, 32: 107, 64: 41}[plan.size] * (0.6 if plan.parallel == 1 else 1.0)


def amortised(plan: Plan) -> float:
    """What costs nearly the same however many there are, as on a GPU."""
    return {1: 100, 8: 700, 32: 1500, 64: 1500}[plan.size] * 1.0


@pytest.mark.parametrize(
    ("rate", "alike", "best", "part"),
    [(sentences, 7, 150, 0.95), (amortised, 32, 1500, 0.9)],
)
def test_the_first_seconds_cost_little(rate: Rate, alike: int, best: float, part: float) -> None:
    clock, machine, _ = paced(rate, alike=alike)
    clock.run(until=33)
    assert machine.rate_between(3, 33) >= part * best


def test_the_time_before_the_first_run_is_not_measured() -> None:
    # A batch takes 0.1 s, and the clock has run for longer than any measurement.
    clock, machine, tuner = paced(lambda _: 80.0 * CORES, alike=8, noise=0.0, now=1000.0)
    clock.run(until=1000.2)
    assert machine.progress.runs >= CORES
    assert tuner.plan is tuner.best


def test_a_hopeless_trial_ends_within_a_batch() -> None:
    def rate(plan: Plan) -> float:
        return {1: 100.0, 8: 150.0}.get(plan.size, 5.0)

    clock, machine, tuner = paced(rate, alike=32, noise=0.0)
    while tuner.plan.size != 32:
        clock.run(until=clock.now + 0.01)
        assert clock.now < 30
    began = machine.progress.runs
    tried = clock.now
    while tuner.plan.size == 32:
        clock.run(until=clock.now + 0.01)
    assert clock.now - tried < 1
    # No more than what was being run before.
    assert machine.progress.runs - began <= 2


def test_a_trial_is_over_while_its_first_batches_still_run() -> None:
    gate = threading.Event()
    held: list[int] = []

    class Chokes(ModuleBase):
        def run(self, text: str) -> Answer:
            time.sleep(0.02)
            return Answer(text=text)

        def run_batch(self, text: list[str]) -> list[Answer]:
            if len(text) > 8:
                held.append(len(text))
                assert gate.wait(60)
            time.sleep(0.002 * len(text))
            return [Answer(text=item) for item in text]

    with default_registry().preserved():
        model = module("5b5a5e8a-0c5c-4d55-9a3c-6b2f6f0e0b12", "Test", "1.0.0", EchoTask)(Chokes)()
    shape = batch_shape(model)
    assert shape is not None

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        tuner = Tuner(PlanSpace(most_parallel=2, cores=2, sizes=SIZES[:3], start=1))
        executor = BatchExecutor(model, shape, plan=tuner.plan, loop=loop)
        pace = Pace("test", executor, tuner, queue_limit=1000, loop=loop)

        async def caller() -> None:
            while not gate.is_set():
                pace.check()
                await executor.submit({"text": "x"})

        callers = [asyncio.create_task(caller()) for _ in range(60)]
        await until(lambda: held and executor.plan.size == 8, "the end of the trial")
        gate.set()
        await asyncio.gather(*callers)
        pace.stop()
        await asyncio.to_thread(executor.close)

    asyncio.run(scenario())
