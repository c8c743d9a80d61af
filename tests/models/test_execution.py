"""Calls run where and as many at a time as is configured; what waits is bounded and watched."""

import asyncio
import contextlib
import hashlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from kitfox.errors import ResourceExhausted
from kitfox.logs import current_request
from kitfox.models import ModelManager, generate
from kitfox.models.cores import available_cores
from kitfox.models.watchdog import Watchdog
from kitfox.modules import ModuleBase, RequestContext
from tests.models.actors import Actor, Stage, ask, run, write_model
from tests.models.models_under_test import Answer, call, opened, texts, until

ATTEMPTS = 10


class Held(ModuleBase):
    """Waits for its gate when asked to hold."""

    gate: ClassVar[threading.Event]
    ran: ClassVar[list[str]]

    def run(self, text: str) -> Answer:
        self.ran.append(text)
        if text.startswith("hold"):
            assert self.gate.wait(30)
        if text == "bad":
            raise ValueError("bad")
        if text == "stop":
            raise StopIteration
        request = current_request.get()
        return Answer(text=text, extra=request.request_id if request else "")


class Batched(Held):
    """The same with batches."""

    def run_batch(self, text: list[str]) -> Sequence[Answer]:
        return [self.run(item) for item in text]


@pytest.fixture(autouse=True)
def fresh() -> None:
    Held.gate, Held.ran = threading.Event(), []


def test_inline_calls_run_on_the_event_loop() -> None:
    class Where(ModuleBase):
        def run(self, text: str) -> Answer:
            return Answer(text=threading.current_thread().name)

    async def scenario() -> None:
        async with opened(Where, mode="inline") as execution:
            future = call(execution, "x")
            assert future.done()
            assert (await future).text == threading.current_thread().name
            assert execution.figures().calls == 1
            made = generate(
                lambda: iter([threading.current_thread().name]),
                encode=str.encode,
                executor=execution.executor,
                context=RequestContext(),
            )
            assert [batch async for batch in made] == [[b"test-stream-0"]]

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.parametrize("cls", [Held, Batched])
def test_errors_and_request_ids_reach_whom_they_concern(mode: str, cls: type[Held]) -> None:
    async def scenario() -> None:
        async with opened(cls, mode=mode) as execution:
            with pytest.raises(ValueError, match="bad"):
                await call(execution, "bad")
            with pytest.raises(RuntimeError, match="StopIteration"):
                await call(execution, "stop")
            assert (await call(execution, "good")).extra == "id-good"

    asyncio.run(scenario())


@pytest.mark.parametrize("cls", [Held, Batched])
def test_no_more_calls_wait_than_may(cls: type[Held]) -> None:
    async def scenario() -> None:
        async with opened(cls, threads=2, queue_limit=3) as execution:
            running = [call(execution, "hold 1")]
            await until(lambda: execution.figures().running == 1)
            running.append(call(execution, "hold 2"))  # not in one batch with the first
            await until(lambda: execution.figures().running == 2)
            waiting = [call(execution, f"{item}") for item in range(3)]
            sentence = "3 calls of model 'test' wait.*models.execution.queue_limit"
            with pytest.raises(ResourceExhausted, match=sentence):
                call(execution, "too many")
            assert execution.figures().waiting == 3
            # What has been given up does not count, once it is looked for again.
            waiting[1].cancel()
            instead = None
            while instead is None:
                with contextlib.suppress(ResourceExhausted):
                    instead = call(execution, "instead")
                await asyncio.sleep(0)
            Held.gate.set()
            await asyncio.gather(*running)
            assert await texts([waiting[0], waiting[2]]) == ["0", "2"]

    asyncio.run(scenario())
    assert "too many" not in Held.ran
    assert "1" not in Held.ran


def test_streams_have_threads_of_their_own() -> None:
    """What makes a stream may wait for its reader: the tuning of other calls is not for it."""
    barrier = threading.Barrier(12, timeout=60)

    async def scenario() -> None:
        async with opened(Held, queue_limit=1) as execution:

            async def stream() -> list[list[bytes]]:
                made = generate(
                    lambda: iter([str(barrier.wait() >= 0)]),
                    encode=str.encode,
                    executor=execution.executor,
                    context=RequestContext(),
                )
                return [batch async for batch in made]

            assert await asyncio.gather(*(stream() for _ in range(12))) == [[[b"True"]]] * 12

    asyncio.run(scenario())


def test_a_burst_that_free_threads_take_is_not_refused() -> None:
    """Calls that are about to be taken do not wait, though they are in the queue for a moment."""

    async def scenario() -> None:
        async with opened(Held, threads=8, queue_limit=1) as execution:
            for _ in range(20):
                await asyncio.gather(*(call(execution, "x") for _ in range(9)))

    asyncio.run(scenario())


def test_calls_that_only_wait_run_side_by_side_and_no_author_has_to_say_so() -> None:
    """Twelve calls that wait for each other end only when all of them run."""
    barrier = threading.Barrier(12, timeout=60)

    class Waits(ModuleBase):
        def run(self, text: str) -> Answer:
            barrier.wait()
            return Answer(text=text)

    async def scenario() -> None:
        async with opened(Waits) as execution:
            assert len(await texts([call(execution, "x") for _ in range(12)])) == 12
            assert execution.figures().limit >= 12

    asyncio.run(scenario())


def test_a_new_version_is_run_as_was_best_for_the_old_one(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.loads.total() == 0
    barrier = threading.Barrier(12, timeout=60)
    monkeypatch.setattr(Actor, "run", lambda _: str(barrier.wait()))
    # Otherwise as many might run from the beginning.
    monkeypatch.setattr("kitfox.models.opening.available_cores", lambda: 2)
    write_model(tmp_path, "waiter")

    async def scenario(models: ModelManager) -> None:
        old = await models.get("waiter")
        assert old.execution.figures().limit < 12
        await asyncio.gather(*(ask(models, "waiter") for _ in range(12)))
        new = await models.reload("waiter")
        assert new is not old
        assert new.execution.figures().limit >= 12

    run(scenario, tmp_path, threads=20)


def test_never_more_at_a_time_than_the_pool_has() -> None:
    async def scenario() -> None:
        async with opened(Held, most_threads=3) as execution:
            calls = [call(execution, f"hold {item}") for item in range(6)]
            await until(lambda: execution.figures().running == 3)
            await asyncio.sleep(0.1)
            assert (execution.figures().running, execution.figures().waiting) == (3, 3)
            Held.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_a_busy_model_keeps_to_about_as_many_calls_as_there_are_cores() -> None:
    cores = available_cores()

    class Busy(ModuleBase):
        def run(self, text: str) -> Answer:
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2000)
            return Answer(text=text)

    async def scenario() -> int:
        async with opened(Busy) as execution:
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                await asyncio.gather(*(call(execution, "x") for _ in range(20)))
            return execution.figures().limit

    # Who gets no processor seems to wait for something else: that may happen, but not each time.
    assert any(asyncio.run(scenario()) <= 2 * cores for _ in range(ATTEMPTS))


def test_a_deadlocked_model_keeps_nobody_else_from_work(caplog: pytest.LogCaptureFixture) -> None:
    """Others are served, and the log says where it hangs and for which request."""
    caplog.set_level(logging.WARNING)
    watchdog = Watchdog()

    def told() -> dict[str, list[str]]:
        found = defaultdict(list)
        for item in _warnings(caplog):
            found[item.__dict__["request_id"]].append(item.getMessage())
        return found

    async def scenario() -> None:
        async with (
            opened(Held, threads=2, run_seconds=0.05, watchdog=watchdog) as stuck,
            opened(Batched, threads=1, watchdog=watchdog) as other,
        ):
            calls = [call(stuck, "hold 1"), call(stuck, "hold 2"), call(stuck, "after")]
            await until(lambda: {"id-hold 1", "id-hold 2"} <= told().keys())
            assert (await call(other, "fine")).text == "fine"
            calls[0].cancel()
            Held.gate.set()
            assert await texts(calls[1:]) == ["hold 2", "after"]

    asyncio.run(scenario())
    watchdog.close()
    # On a busy machine perhaps of others, too.
    for name in ("id-hold 1", "id-hold 2"):
        (message,) = told()[name]
        assert "model test" in message
        assert "in run\n    assert self.gate.wait(30)" in message


def _warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [item for item in caplog.records if item.__dict__.get("log_code") == "<KFX20080W>"]


def test_quick_calls_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Naps(ModuleBase):
        def run(self, text: str) -> Answer:
            time.sleep(0.005)  # so that each look finds a call
            return Answer(text=text)

    async def scenario(watchdog: Watchdog) -> None:
        async with opened(Naps, threads=2, run_seconds=0.05, watchdog=watchdog) as execution:
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                await asyncio.gather(*(call(execution, "x") for _ in range(20)))

    def is_quiet() -> bool:
        caplog.clear()
        watchdog = Watchdog()
        asyncio.run(scenario(watchdog))
        watchdog.close()
        return not _warnings(caplog)

    # A call that gets no processor is not quick: that may happen, but not each time.
    assert any(is_quiet() for _ in range(ATTEMPTS))
