"""Calls run off the loop, as many at a time as allowed, and none is lost or run twice."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kitfox.models import ThreadExecutor


@asynccontextmanager
async def executor(threads: int) -> AsyncIterator[ThreadExecutor]:
    made = ThreadExecutor(threads=threads, loop=asyncio.get_running_loop())
    try:
        yield made
    finally:
        made.close()


def test_every_call_gets_its_own_answer() -> None:
    async def scenario() -> None:
        async with executor(4) as pool:
            futures = [pool.submit(lambda x: x * 2, {"x": item}) for item in range(1000)]
            assert await asyncio.gather(*futures) == [item * 2 for item in range(1000)]

    asyncio.run(scenario())


def test_slow_calls_run_side_by_side_up_to_the_limit() -> None:
    """Four calls that each wait for the other three can only end when all four run."""

    async def scenario() -> None:
        barrier = threading.Barrier(4, timeout=60)
        async with executor(4) as pool:
            await asyncio.gather(*(pool.submit(barrier.wait, {}) for _ in range(4)))

    asyncio.run(scenario())


def test_slow_calls_run_side_by_side_after_short_ones_too() -> None:
    async def scenario() -> None:
        barrier = threading.Barrier(4, timeout=60)
        async with executor(4) as pool:
            for _ in range(5):
                short = [pool.submit(int, {}) for _ in range(2000)]
                slow = [pool.submit(barrier.wait, {}) for _ in range(4)]
                await asyncio.gather(*short, *slow)

    asyncio.run(scenario())


def test_never_more_calls_at_a_time_than_the_limit() -> None:
    async def scenario() -> int:
        running = most = 0
        changed = threading.Condition()

        def call() -> None:
            nonlocal running, most
            with changed:
                running += 1
                most = max(most, running)
                changed.notify_all()
                # On a busy machine the first one could be over before another begins.
                changed.wait_for(lambda: most >= 3, timeout=60)
            time.sleep(0.005)
            with changed:
                running -= 1

        async with executor(3) as pool:
            await asyncio.gather(*(pool.submit(call, {}) for _ in range(30)))
        return most

    assert asyncio.run(scenario()) == 3


def test_a_call_that_is_cancelled_while_it_waits_is_not_run() -> None:
    async def scenario() -> list[str]:
        ran: list[str] = []
        hold = threading.Event()
        async with executor(1) as pool:
            first = pool.submit(hold.wait, {})
            second = pool.submit(lambda: ran.append("ran"), {})
            second.cancel()
            hold.set()
            await first
            await pool.submit(lambda: None, {})
        return ran

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyError("x")])
def test_what_a_call_raises_reaches_its_caller(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def scenario() -> BaseException | None:
        async with executor(1) as pool:
            future = pool.submit(fail, {})
            await asyncio.wait([future])
            return future.exception()

    assert asyncio.run(scenario()) is error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(3), r"the module called sys\.exit\(3\)"),
        (KeyboardInterrupt(), r"the module raised KeyboardInterrupt\(\)"),
        (GeneratorExit(), r"the module raised GeneratorExit\(\)"),
        (asyncio.CancelledError(), r"the module raised CancelledError\(\)"),
    ],
)
def test_what_would_end_the_event_loop_becomes_an_error(error: BaseException, words: str) -> None:
    def fail() -> None:
        raise error

    async def scenario() -> None:
        async with executor(1) as pool:
            with pytest.raises(RuntimeError, match=words):
                await pool.submit(fail, {})

    asyncio.run(scenario())


def test_stop_iteration_becomes_an_error_that_a_coroutine_can_carry() -> None:
    def fail() -> None:
        raise StopIteration

    async def scenario() -> None:
        async with executor(1) as pool:
            with pytest.raises(RuntimeError, match="StopIteration"):
                await pool.submit(fail, {})

    asyncio.run(scenario())


def test_closing_ends_the_threads_and_drops_what_waits() -> None:
    async def scenario() -> None:
        pool = ThreadExecutor(threads=1, loop=asyncio.get_running_loop(), name="closing")
        begun = threading.Event()
        waiting: list[asyncio.Future[None]] = []

        def work() -> None:
            begun.set()
            # Until `close` has dropped what waits: then it waits for this.
            while not (waiting and waiting[0].cancelled()):
                threading.Event().wait(0.001)

        running = pool.submit(work, {})
        await asyncio.to_thread(begun.wait)
        waiting.append(pool.submit(lambda: None, {}))
        pool.close()
        await running
        assert not [item for item in threading.enumerate() if item.name.startswith("closing")]
        with pytest.raises(RuntimeError, match="closed"):
            pool.submit(lambda: None, {})

    asyncio.run(scenario())
