"""The best way to run a model is found from what is measured, and kept."""

import math
import random
from collections.abc import Callable

import pytest

from kitfox.models.tuning import Plan, PlanSpace, Tuner

SIZES = ((1, True), (8, True), (32, True), (64, False))
CORES = 2

Truth = Callable[[Plan], float]


def simulate(truth: Truth, tuner: Tuner, *, noise: float, seed: int, seconds: float = 60) -> float:
    """What part of the best plan's work is done once ten seconds have gone.

    The machine has other work, too: what is measured drifts by `noise` within a second.
    """
    generator = random.Random(seed)  # noqa: S311 -- noise
    now = drift = done = possible = 0.0
    best = max(truth(Plan(parallel=p, size=s, alike=a)) for p in range(1, 101) for s, a in SIZES)
    keep = math.exp(-0.1)
    while now < seconds:
        drift = keep * drift + math.sqrt(1 - keep**2) * generator.gauss(0, noise)
        rate = truth(tuner.plan)
        if now > 10:
            done, possible = done + rate, possible + best
        now += 0.1
        tuner.observe(rate * math.exp(drift + generator.gauss(0, noise / 3)), now)
    return done / possible


def by_size(plan: Plan, rates: dict[int, float]) -> float:
    return rates[plan.size]


def sentences(plan: Plan) -> float:
    """As measured for MiniLM on two cores: call by call in parallel is best."""
    return by_size(plan, {1: 465, 8: 387, 32: 330, 64: 127}) * (0.6 if plan.parallel == 1 else 1)


def amortised(plan: Plan) -> float:
    """What costs the same however many there are, as on a GPU."""
    return by_size(plan, {1: 100, 8: 700, 32: 1500, 64: 2500})


def one_at_a_time(plan: Plan) -> float:
    """What fights over the interpreter as soon as there are two."""
    return by_size(plan, {1: 400, 8: 390, 32: 380, 64: 300}) * (1 if plan.parallel == 1 else 0.85)


@pytest.mark.parametrize("truth", [sentences, amortised, one_at_a_time])
@pytest.mark.parametrize("noise", [0.03, 0.2])
def test_the_better_way_is_found_and_kept(truth: Truth, noise: float) -> None:
    found = [
        simulate(
            truth,
            Tuner(PlanSpace(most_parallel=100, cores=CORES, sizes=SIZES, start=1)),
            noise=noise,
            seed=seed,
        )
        for seed in range(4)
    ]
    assert sum(found) / len(found) > (0.98 if noise < 0.1 else 0.95)


def test_it_follows_when_another_way_becomes_the_better_one() -> None:
    tuner = Tuner(PlanSpace(most_parallel=100, cores=CORES, sizes=SIZES, start=1))
    simulate(sentences, tuner, noise=0.03, seed=1)
    assert tuner.best == Plan(parallel=2, size=1)
    simulate(amortised, tuner, noise=0.03, seed=2, seconds=600)
    assert tuner.best.size == 64


def test_trials_are_rare_once_all_has_been_tried() -> None:
    tuner = Tuner(PlanSpace(most_parallel=100, cores=CORES, sizes=SIZES, start=1))
    trials = 0
    for step in range(2000):
        tuner.observe(sentences(tuner.plan), step * 0.1)
        trials += step > 200 and tuner.plan != tuner.best
    assert trials < 0.05 * 1800


def test_the_number_of_calls_at_a_time_stays_if_it_is_said() -> None:
    space = PlanSpace(most_parallel=3, cores=CORES, fixed_parallel=True, sizes=SIZES, start=1)
    tuner = Tuner(space)
    for step in range(500):
        assert tuner.observe(by_size(tuner.plan, {1: 4, 8: 3, 32: 2, 64: 1}), step).parallel == 3
        tuner.widen()
    assert tuner.best == Plan(parallel=3, size=1)


def test_what_only_waits_gets_all_the_threads_there_are() -> None:
    tuner = Tuner(PlanSpace(most_parallel=100, cores=CORES))
    for expected in (4, 8, 16, 32, 64, 100, 100):
        assert tuner.widen().parallel == expected


def test_a_trial_rests_when_there_is_not_enough_to_do() -> None:
    tuner = Tuner(PlanSpace(most_parallel=100, cores=CORES))
    challenger = tuner.observe(100, 1)
    assert challenger != tuner.best
    tuner.abandon()
    assert tuner.plan == tuner.best
    assert tuner.observe(100, 2) == challenger


def test_sizes_are_tried_one_rung_at_a_time() -> None:
    space = PlanSpace(most_parallel=2, cores=2, fixed_parallel=True, sizes=SIZES, start=1)
    first = space.first()
    assert [plan.size for plan in space.near(first)] == [1, 32]
    assert [plan.size for plan in space.far(first)] == [64]


def test_a_size_that_makes_the_same_batches_is_no_trial() -> None:
    space = PlanSpace(most_parallel=2, cores=2, fixed_parallel=True, sizes=SIZES, start=1)
    first = space.first()
    assert [plan.size for plan in space.near(first, filled=5)] == [1, 64]
    larger = next(plan for plan in space.near(first) if plan.size == 32)
    assert [plan.size for plan in space.near(larger, filled=5)] == [1, 64]
    assert [plan.size for plan in space.near(larger, filled=30)] == [8, 64]


def test_what_is_hopeless_is_given_up_without_a_measurement() -> None:
    tuner = Tuner(PlanSpace(most_parallel=2, cores=2, sizes=SIZES, start=1))
    challenger = tuner.observe(100, 1.0)
    assert challenger != tuner.best
    assert tuner.give_up(80, 1.2) == challenger
    assert tuner.give_up(60, 1.4) == tuner.best
    assert tuner.observe(100, 1.5) not in (challenger, tuner.best)


def test_a_new_version_goes_on_from_what_the_old_one_found() -> None:
    space = PlanSpace(most_parallel=100, cores=CORES, sizes=SIZES, start=1)
    old = Tuner(space)
    simulate(sentences, old, noise=0.03, seed=1)
    new = Tuner(space)
    assert new.inherit(old)
    assert new.plan == new.best == old.best
    assert new.observe(465, 60.0) == new.best
    other = Tuner(PlanSpace(most_parallel=1, cores=CORES))
    assert not other.inherit(old)
    assert other.plan.size == 1
