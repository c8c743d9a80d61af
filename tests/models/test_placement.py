"""Threads keep to some processors while their calls are quick, and only then."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator

import pytest

from kitfox.models import ThreadExecutor, keep_quick_calls_on

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are pinned on Linux only")


@pytest.fixture
def quick() -> Iterator[set[int]]:
    """The processor for quick calls."""
    chosen = {max(os.sched_getaffinity(0))}
    keep_quick_calls_on(frozenset(chosen))
    yield chosen
    keep_quick_calls_on(None)


def where() -> set[int]:
    return os.sched_getaffinity(0)


def burn() -> set[int]:
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    return where()


async def submit_all(pool: ThreadExecutor, count: int, pause: float = 0.05) -> None:
    """So many quick calls, and the thread has slept since."""
    await asyncio.gather(*(pool.submit(lambda: None, {}) for _ in range(count)))
    await asyncio.sleep(pause)


async def seen_at(pool: ThreadExecutor, processors: set[int], *, calls: int = 0) -> set[int]:
    """Where the thread is when it has got there; where it is instead after a minute.

    On a busy machine it is some time until it goes to sleep, which is when it moves.

    Args:
        pool: Its pool.
        processors: Where it is to go.
        calls: So many quick calls are made before each look.
    """
    deadline, pause = time.monotonic() + 60, 0.05
    while True:
        await submit_all(pool, calls, pause)
        found: set[int] = await pool.submit(where, {})
        if found == processors or time.monotonic() > deadline:
            return found
        # Each look is a quick call: of many of them the thread would move as well.
        pause = min(2 * pause, 1)


def test_a_thread_settles_while_its_calls_are_quick(quick: set[int]) -> None:
    async def scenario() -> list[set[int]]:
        pool = ThreadExecutor(threads=1, loop=asyncio.get_running_loop(), settles=True)
        try:
            seen = [await pool.submit(where, {})]
            seen.append(await seen_at(pool, quick, calls=500))
            seen.append(await pool.submit(burn, {}))
            seen.append(await seen_at(pool, everywhere))
        finally:
            pool.close()
        return seen

    everywhere = os.sched_getaffinity(0)
    assert asyncio.run(scenario()) == [everywhere, quick, quick, everywhere]


def test_a_thread_goes_nowhere_unless_asked(quick: set[int]) -> None:
    async def scenario(settles: bool) -> set[int]:
        pool = ThreadExecutor(threads=1, loop=asyncio.get_running_loop(), settles=settles)
        try:
            for _ in range(5):
                await submit_all(pool, 500)
            found: set[int] = await pool.submit(where, {})
        finally:
            pool.close()
        return found

    assert asyncio.run(scenario(settles=False)) == os.sched_getaffinity(0)
    keep_quick_calls_on(None)
    assert asyncio.run(scenario(settles=True)) == os.sched_getaffinity(0)


def test_a_processor_that_is_gone_stops_nothing(quick: set[int]) -> None:
    gone = max(os.sched_getaffinity(0)) + 500
    keep_quick_calls_on(frozenset({gone}))

    async def scenario() -> set[int]:
        pool = ThreadExecutor(threads=1, loop=asyncio.get_running_loop(), settles=True)
        try:
            for _ in range(5):
                await submit_all(pool, 500)
            found: set[int] = await asyncio.wait_for(pool.submit(where, {}), 60)
        finally:
            pool.close()
        return found

    assert asyncio.run(scenario()) == os.sched_getaffinity(0)


def test_a_thread_is_free_although_its_starter_was_not(quick: set[int]) -> None:
    async def scenario() -> set[int]:
        pool = ThreadExecutor(threads=1, loop=asyncio.get_running_loop(), settles=True)
        loop = asyncio.get_running_loop()

        def start() -> "asyncio.Future[set[int]]":
            os.sched_setaffinity(0, quick)
            return pool.submit(where, {})

        try:
            return await (await loop.run_in_executor(None, start))
        finally:
            pool.close()

    assert asyncio.run(scenario()) == os.sched_getaffinity(os.getpid())
