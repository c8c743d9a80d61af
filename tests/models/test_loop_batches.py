"""Calls of an `async def` method that wait together run together, on the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar

import pytest

from kitfox.errors import Internal, ResourceExhausted
from kitfox.models import Execution
from kitfox.modules import ModuleBase, RequestContext, TaskBase, task
from tests.models.models_under_test import Answer, EchoTask, ShoutTask, opened, until


class Slow(ModuleBase):
    """Waits for its gate when told to hold; a batch notes its texts as one tuple."""

    gate: ClassVar[asyncio.Event]
    seen: ClassVar[list[Any]]
    ended: ClassVar[list[str]]

    async def run(self, text: str, mark: str = "") -> Answer:
        self.seen.append(text)
        if text == "hold":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.ended.append(text)
                raise
        if text == "bad":
            raise ValueError("bad")
        if text == "lost":
            raise asyncio.CancelledError
        return Answer(text=text, extra=mark)

    async def run_batch(  # type: ignore[override] # as `run`, which may be either
        self, text: list[str], mark: str = ""
    ) -> Sequence[Any]:
        self.seen.append(tuple(text))
        await asyncio.sleep(0)
        if "bad" in text:
            raise ValueError("something in this batch is bad")
        if "lost" in text:
            raise asyncio.CancelledError
        return [Answer(text=item, extra=mark) for item in text if item != "short"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mode": "inline", "max_batch_size": 8}, "max_batch_size has no effect in mode inline"),
        (
            {"mode": "inline", "max_batch_delay_seconds": 1, "max_batch_weight": 9},
            "max_batch_delay_seconds and max_batch_weight have no effect",
        ),
        ({"mode": "inline"}, ""),
        ({"mode": "inline", "max_batch_size": 1}, ""),
        ({"mode": "thread", "max_batch_size": 8}, ""),
    ],
)
def test_settings_of_batches_that_change_nothing_are_told_of(
    settings: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def whole() -> None:
        async with opened(Slow, **settings):
            pass

    asyncio.run(whole())
    found = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert len(found) == bool(told)
    assert told in "".join(found)


Start = Callable[..., "asyncio.Task[Any]"]


def run(scenario: Callable[[Execution, Start], Awaitable[None]], **settings: Any) -> None:
    """Runs a scenario with a model whose first call is held."""

    async def whole() -> None:
        Slow.gate, Slow.seen, Slow.ended = asyncio.Event(), [], []
        async with opened(Slow, threads=1, **settings) as execution:
            function = execution.function("run")

            def start(text: str, **arguments: Any) -> "asyncio.Task[Any]":
                return asyncio.ensure_future(function(text=text, **arguments))

            first = start("hold")
            await until(lambda: Slow.seen, "the first call")
            await scenario(execution, start)
            Slow.gate.set()
            await asyncio.wait([first])

    asyncio.run(whole())


async def opened_gate(*calls: "asyncio.Task[Any]") -> list[Any]:
    """What calls come to once the first is over."""
    await asyncio.sleep(0)
    Slow.gate.set()
    return await asyncio.gather(*calls, return_exceptions=True)


def test_what_waits_while_the_model_is_busy_is_the_next_batch() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        calls = [*(start(f"text {item}") for item in range(3)), start("other 1", mark="!")]
        await asyncio.sleep(0)
        figures = execution.figures()
        assert (figures.running, figures.waiting) == (1, 4)
        answers = await opened_gate(*calls)
        assert [item.text for item in answers] == ["text 0", "text 1", "text 2", "other 1"]
        assert answers[-1].extra == "!"
        figures = execution.figures()
        assert figures.calls == figures.batched_calls == 5
        assert sum(figures.batches) == 3
        assert figures.queue_seconds > 0

    run(scenario)
    assert Slow.seen == ["hold", ("text 0", "text 1", "text 2"), "other 1"]


def test_one_bad_call_fails_alone() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        answers = await opened_gate(*map(start, ("a", "bad", "b")))
        assert [type(item) for item in answers] == [Answer, ValueError, Answer]

    run(scenario)


def test_one_whose_code_loses_a_task_of_its_own_fails_alone() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        calls = [*map(start, ("a", "lost", "b"))]
        async with asyncio.timeout(60):
            answers = await opened_gate(*calls)
        assert [type(item) for item in answers] == [Answer, RuntimeError, Answer]

    run(scenario)


def test_a_wrong_number_of_results_is_an_error_for_all() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        answers = await opened_gate(*map(start, ("a", "short", "b")))
        assert [type(item) for item in answers] == [Internal] * 3

    run(scenario)


def test_a_call_that_is_given_up_while_it_waits_is_not_run() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        waiting, other = start("gone"), start("other")
        await asyncio.sleep(0)
        waiting.cancel()
        assert (await opened_gate(other))[0].text == "other"

    run(scenario)
    assert Slow.seen == ["hold", "other"]


def test_a_batch_that_nobody_waits_for_is_cancelled() -> None:
    async def whole() -> None:
        Slow.gate, Slow.seen, Slow.ended = asyncio.Event(), [], []
        async with opened(Slow, threads=1) as execution:
            call = asyncio.ensure_future(execution.function("run")(text="hold"))
            await until(lambda: Slow.seen, "the first call")
            call.cancel()
            await asyncio.wait([call])
            await until(lambda: Slow.ended, "its end")
            assert (await execution.function("run")(text="next")).text == "next"

    asyncio.run(whole())


def test_the_queue_is_bounded() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        calls = [start("a"), start("b")]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted, match="2 calls of model 'test' wait"):
            await start("c")
        assert [item.text for item in await opened_gate(*calls)] == ["a", "b"]

    run(scenario, queue_limit=2)


def test_batches_keep_to_their_limits() -> None:
    async def scenario(execution: Execution, start: Start) -> None:
        await opened_gate(*map(start, "abcde"))

    run(scenario, max_batch_size=2)
    assert Slow.seen == ["hold", ("a", "b"), ("c", "d"), "e"]
    run(scenario, max_batch_size=1)
    assert not [item for item in Slow.seen if isinstance(item, tuple)]


def test_a_call_waits_for_others_only_when_told_to() -> None:
    async def whole() -> None:
        Slow.gate, Slow.seen, Slow.ended = asyncio.Event(), [], []
        async with opened(
            Slow, threads=1, max_batch_size=2, max_batch_delay_seconds=30
        ) as execution:
            first = asyncio.ensure_future(execution.function("run")(text="a"))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not Slow.seen
            assert (await execution.function("run")(text="b")).text == "b"
            assert (await first).text == "a"

    asyncio.run(whole())
    assert Slow.seen == [("a", "b")]


@task(unary_parameters={"text": str}, streaming_output_type=Iterable[Answer])
class SplitTask(TaskBase):
    """Answers with each word."""


def test_calls_that_make_streams_share_nothing() -> None:
    class Splits(ModuleBase):
        @SplitTask.taskmethod(output_streaming=True)
        async def run(self, text: str) -> AsyncIterator[Answer]:
            async def words() -> AsyncIterator[Answer]:
                for word in text.split():
                    yield Answer(text=word)

            return words()

        async def run_batch(self, text: list[str]) -> Sequence[Any]:  # type: ignore[override] # as `run`
            raise AssertionError("nobody asks for batches of streams")

    async def whole() -> None:
        async with opened(Splits, tasks=(SplitTask,)) as execution:
            function = execution.function("run")
            streams = await asyncio.gather(*(function(text=text) for text in ("a b", "c d")))
            assert [[item.text async for item in stream] for stream in streams] == [
                *(["a", "b"], ["c", "d"])
            ]
            assert not execution.figures().batches

    asyncio.run(whole())


def test_batches_on_the_loop_take_turns_with_what_runs_in_threads() -> None:
    now = most = 0

    class Mixed(Slow):
        def shout(self, text: str) -> Answer:
            nonlocal now, most
            now += 1
            most = max(most, now)
            time.sleep(0.002)
            now -= 1
            return Answer(text=text.upper())

        async def run_batch(  # type: ignore[override] # as `run`, which may be either
            self, text: list[str], mark: str = ""
        ) -> Sequence[Any]:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.002)
            now -= 1
            return [Answer(text=item) for item in text]

    EchoTask.taskmethod()(Mixed.run)
    ShoutTask.taskmethod()(Mixed.shout)

    async def whole() -> None:
        Slow.gate, Slow.seen, Slow.ended = asyncio.Event(), [], []
        async with opened(Mixed, threads=1, tasks=(EchoTask, ShoutTask)) as execution:
            run, shout = execution.function("run"), execution.unary("shout")
            answers = await asyncio.gather(
                *(run(text=f"t{item}") for item in range(20)),
                *(shout({"text": "s"}, RequestContext()) for _ in range(10)),
            )
            assert [item.text for item in answers] == [
                *(f"t{item}" for item in range(20)),
                *("S" for _ in range(10)),
            ]

    asyncio.run(whole())
    assert most == 1
