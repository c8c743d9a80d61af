"""What waits runs together, each call gets its own answer, and one bad call fails alone."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitfox.errors import Internal, InvalidArgument
from kitfox.models import Execution, InThreads
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase
from tests.models.models_under_test import Answer, EchoTask, ShoutTask, call, opened, texts, until


class Gated(ModuleBase):
    """Notes what it is given, and waits for a gate when told to."""

    gate: ClassVar[threading.Event]
    seen: ClassVar[list[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.fresh()

    @classmethod
    def fresh(cls) -> None:
        cls.gate, cls.seen = threading.Event(), []

    def run(self, text: str, mark: str = "", n: int = 0) -> Answer:
        self.seen.append(text)
        if text == "hold":
            assert self.gate.wait(30)
        if text.startswith("bad"):
            raise InvalidArgument(f"{text} is bad")
        return Answer(text=text, extra=f"{mark}{n}")


class Upper(Gated):
    """A batch notes its texts as one tuple; a bad text fails the whole batch."""

    def run_batch(self, text: list[str], **others: Any) -> Sequence[Any]:
        self.seen.append(tuple(text))
        if any(item.startswith("bad") for item in text):
            raise InvalidArgument("something in this batch is bad")
        extra = f"{others.get('mark', '')}{others.get('n', 0)}"
        return [Answer(text=item, extra=extra) for item in text]


@pytest.fixture(autouse=True)
def fresh() -> None:
    for cls in (Gated, Upper):
        cls.fresh()


async def held(execution: Execution) -> "asyncio.Future[Any]":
    """A call that keeps the only thread busy."""
    first = call(execution, "hold")
    await until(lambda: execution.figures().running == 1, "the first call's begin")
    return first


def batches(cls: type[Gated]) -> list[tuple[str, ...]]:
    return [item for item in cls.seen if isinstance(item, tuple)]


def test_what_waits_while_the_model_is_busy_is_the_next_batch() -> None:
    async def scenario() -> None:
        async with opened(Upper, threads=1) as execution:
            first = await held(execution)
            others = [call(execution, f"text {item}") for item in range(5)]
            assert execution.figures().waiting == 5
            Upper.gate.set()
            assert await texts([first, *others]) == ["hold", *(f"text {i}" for i in range(5))]

    asyncio.run(scenario())
    assert batches(Upper) == [tuple(f"text {item}" for item in range(5))]


def test_a_call_that_comes_alone_is_run_by_itself() -> None:
    async def scenario() -> None:
        async with opened(Upper, threads=1) as execution:
            for item in ("one", "two"):
                assert (await call(execution, item)).text == item

    asyncio.run(scenario())
    assert Upper.seen == ["one", "two"]


def test_batches_keep_to_the_limits_of_number_and_weight() -> None:
    async def scenario(**limits: Any) -> None:
        Upper.fresh()
        async with opened(Upper, threads=1, **limits) as execution:
            first = await held(execution)
            others = [call(execution, "x" * 10) for _ in range(10)]
            Upper.gate.set()
            await asyncio.gather(first, *others)

    asyncio.run(scenario(max_batch_size=4))
    assert [len(item) for item in batches(Upper)] == [4, 4, 2]
    asyncio.run(scenario(max_batch_weight=30))
    assert [len(item) for item in batches(Upper)] == [3, 3, 3]
    asyncio.run(scenario(max_batch_size=1))
    assert batches(Upper) == []


def test_only_calls_alike_in_size_share_a_batch() -> None:
    async def scenario() -> None:
        async with opened(Upper, threads=1) as execution:
            first = await held(execution)
            sizes = [10, 100, 11, 110, 1000, 12]
            others = [call(execution, "x" * size) for size in sizes]
            Upper.gate.set()
            await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert [sorted(map(len, item)) for item in batches(Upper)] == [[10, 11, 12], [100, 110]]


@pytest.mark.parametrize("name", ["weigh", "rows", "characters", "bytes"])
def test_the_size_may_be_measured_otherwise(name: str) -> None:
    class Weighed(Upper):
        def weigh(self, text: str) -> int:
            return len(text)

    async def scenario() -> None:
        async with opened(Weighed, threads=1, batch_weight=name, max_batch_weight=40) as execution:
            first = await held(execution)
            others = [call(execution, "x" * 20) for _ in range(4)]
            Weighed.gate.set()
            await asyncio.gather(first, *others)

    asyncio.run(scenario())
    expected = [4] if name == "rows" else [2, 2]
    assert [len(item) for item in batches(Weighed)] == expected


def test_an_unknown_measure_is_refused_when_the_model_is_loaded() -> None:
    async def scenario() -> None:
        async with opened(Upper, batch_weight="tokens"):
            pass

    with pytest.raises(InvalidArgument, match=r"batch_weight.*'tokens'"):
        asyncio.run(scenario())


def test_a_call_that_cannot_be_measured_fails_alone() -> None:
    class Picky(Upper):
        def weigh(self, text: str) -> int:
            return int(text) if text != "hold" else 1

    async def scenario() -> list[Any]:
        async with opened(Picky, threads=1, batch_weight="weigh") as execution:
            first = await held(execution)
            others = [call(execution, item) for item in ("1", "two", "3")]
            Picky.gate.set()
            return await asyncio.gather(first, *others, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert [isinstance(item, ValueError) for item in outcomes] == [False, False, True, False]


def test_calls_with_other_parameters_never_share_a_batch() -> None:
    marks = ["a", "b", "a", "b"]

    async def scenario() -> list[Answer]:
        async with opened(Upper, threads=1) as execution:
            first = await held(execution)
            others = [call(execution, f"t{i}", mark=mark) for i, mark in enumerate(marks)]
            numbers = [call(execution, f"n{value!r}", n=value) for value in (1, True, 1)]
            Upper.gate.set()
            await first
            return list(await asyncio.gather(*others, *numbers))

    answers = asyncio.run(scenario())
    assert [item.extra for item in answers] == ["a0", "b0", "a0", "b0", "1", "True", "1"]
    assert batches(Upper) == [("t0", "t2"), ("t1", "t3"), ("n1", "n1")]


def test_one_bad_call_fails_alone() -> None:
    async def scenario() -> list[Any]:
        async with opened(Upper, threads=1) as execution:
            first = await held(execution)
            others = [call(execution, item) for item in ("a", "b", "bad", "c", "d")]
            Upper.gate.set()
            await first
            return await asyncio.gather(*others, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert [getattr(item, "text", str(item)) for item in outcomes] == [
        *("a", "b", "bad is bad", "c", "d")
    ]


def test_an_exception_in_the_place_of_a_result_is_that_calls_error() -> None:
    class Marks(Upper):
        def run_batch(self, text: list[str], **others: Any) -> Sequence[Any]:
            return [ValueError(item) if item == "b" else Answer(text=item) for item in text]

    outcomes = asyncio.run(outcomes_of(Marks, ["a", "b", "c"]))
    assert [type(item) for item in outcomes] == [Answer, ValueError, Answer]


async def outcomes_of(cls: type[Gated], items: list[str]) -> list[Any]:
    """What calls that wait together come to."""
    async with opened(cls, threads=1) as execution:
        first = await held(execution)
        others = [call(execution, item) for item in items]
        cls.gate.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.parametrize("wrong", [[], ["x"], ["x"] * 4, None, "abc", iter("abc"), {1, 2, 3}])
def test_a_wrong_number_of_results_is_an_error_for_all(
    wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Upper):
        def run_batch(self, text: list[str], **others: Any) -> Any:
            return wrong

    outcomes = asyncio.run(outcomes_of(Wrong, ["a", "b", "c"]))
    assert all(isinstance(item, Internal) for item in outcomes)
    assert len(set(map(id, outcomes))) == 3
    assert "run_batch of 3 calls returned" in caplog.text


def test_a_run_batch_that_never_works_is_no_longer_asked(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Upper):
        def run_batch(self, text: list[str], **others: Any) -> Any:
            Broken.seen.append(tuple(text))
            raise RuntimeError("not written yet")

    outcomes = asyncio.run(outcomes_of(Broken, [f"{item:02}" for item in range(40)]))
    assert [item.text for item in outcomes] == [f"{item:02}" for item in range(40)]
    assert "it gets 1 at most: not written yet" in caplog.text
    tried = len(batches(Broken))
    asyncio.run(outcomes_of(Upper, ["a"]))
    assert tried < 40


def test_parameters_may_have_other_names_in_run_batch() -> None:
    class Plural(Gated):
        def run_batch(self, texts: list[str], mark: str = "") -> Sequence[Answer]:
            Plural.seen.append(tuple(texts))
            return [Answer(text=item) for item in texts]

    async def scenario() -> list[str]:
        async with opened(Plural, threads=1) as execution:
            first = await held(execution)
            others = [call(execution, item) for item in ("a", "b")]
            # `run_batch` has no `n`, so calls with one go alone.
            others += [call(execution, item, n=5) for item in ("c", "d")]
            Plural.gate.set()
            return await texts([first, *others])

    assert asyncio.run(scenario()) == ["hold", "a", "b", "c", "d"]
    assert Plural.seen == ["hold", ("a", "b"), "c", "d"]


def test_any_method_may_have_batches() -> None:
    class Both(Upper):
        @EchoTask.taskmethod()
        def run(self, text: str, mark: str = "", n: int = 0) -> Answer:
            return super().run(text, mark, n)

        @ShoutTask.taskmethod()
        def shout(self, text: str, mark: str = "") -> Answer:
            return super().run(text)

        def shout_batch(self, text: list[str], mark: str = "") -> Sequence[Answer]:
            Both.seen.append(("shout", *text))
            return [Answer(text=item.upper(), extra=mark) for item in text]

    async def scenario() -> list[str]:
        async with opened(Both, threads=1, tasks=(EchoTask, ShoutTask)) as execution:
            first = await held(execution)
            calls = [call(execution, item) for item in ("a", "b")]
            shouts = [call(execution, item, "shout") for item in ("c", "d", "bad")]
            shouts.append(call(execution, "e", "shout", mark="!"))
            assert execution.figures().waiting == 6
            Both.gate.set()
            return await texts([first, *calls, *shouts])

    assert asyncio.run(scenario()) == ["hold", "a", "b", "C", "D", "BAD", "e"]
    assert sorted(batches(Both)) == [("a", "b"), ("shout", "c", "d", "bad")]


def test_methods_with_batches_of_their_own_share_the_threads_that_are_said() -> None:
    class Voices(Upper):
        @EchoTask.taskmethod()
        def say(self, text: str) -> Answer:
            return super().run(text)

        def say_batch(self, text: list[str]) -> Sequence[Answer]:
            return [self.say(item) for item in text]

        @ShoutTask.taskmethod()
        def shout(self, text: str) -> Answer:
            return super().run(text)

        def shout_batch(self, text: list[str]) -> Sequence[Answer]:
            return [self.shout(item) for item in text]

    async def scenario() -> None:
        async with opened(Voices, threads=1, tasks=(EchoTask, ShoutTask)) as execution:
            first = call(execution, "hold", "say")
            await until(lambda: Voices.seen == ["hold"], "the first call's begin")
            other = call(execution, "a", "shout")
            await asyncio.sleep(0.05)
            assert Voices.seen == ["hold"]
            Voices.gate.set()
            assert await texts([first, other]) == ["hold", "a"]

    asyncio.run(scenario())


def test_a_method_that_is_a_task_of_its_own_makes_no_batches() -> None:
    class Named(Upper):
        @EchoTask.taskmethod()
        def say(self, text: str) -> Answer:
            return super().run(text)

        @ShoutTask.taskmethod()
        def say_batch(self, text: str) -> Answer:
            raise AssertionError("nobody asked for it")

    async def scenario() -> list[str]:
        async with opened(Named, threads=1, tasks=(EchoTask, ShoutTask)) as execution:
            first = call(execution, "hold", "say")
            await until(lambda: execution.figures().running == 1, "the first call's begin")
            others = [call(execution, item, "say") for item in ("a", "b")]
            Named.gate.set()
            return await texts([first, *others])

    assert asyncio.run(scenario()) == ["hold", "a", "b"]


def test_a_call_waits_for_others_only_when_told_to() -> None:
    async def scenario() -> None:
        delay = 30  # it is over as soon as the batch is full
        async with opened(
            Upper, threads=1, max_batch_size=2, max_batch_delay_seconds=delay
        ) as execution:
            first = call(execution, "a")
            await until(lambda: execution.figures().waiting == 1)
            assert not Upper.seen
            assert await texts([first, call(execution, "b")]) == ["a", "b"]

    asyncio.run(scenario())
    assert Upper.seen == [("a", "b")]


def test_the_wait_for_others_ends() -> None:
    async def scenario() -> None:
        async with opened(Upper, threads=1, max_batch_delay_seconds=0.01) as execution:
            assert await texts([call(execution, "a"), call(execution, "b")]) == ["a", "b"]
            assert await texts([call(execution, "c")]) == ["c"]

    asyncio.run(scenario())
    # The first goes alone when the second does not come in time.
    assert Upper.seen in ([("a", "b"), "c"], ["a", "b", "c"])


items = st.lists(
    st.tuples(
        st.sampled_from(["a", "bb", "bad", "c" * 20, "d" * 30, "mark", "short", "gone"]),
        st.sampled_from(["", "x"]),
        st.integers(0, 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    items=items,
    threads=st.integers(1, 3),
    size=st.integers(0, 5),
    weight=st.sampled_from([0, 25]),
    way=st.sampled_from(["good", "short", "marks"]),
    plans=st.lists(st.builds(Plan, parallel=st.integers(1, 3), size=st.sampled_from([1, 2, 5]))),
)
def test_no_answer_is_mixed_up_or_lost_whatever_comes(
    items: list[tuple[str, str, int, bool]],
    threads: int,
    size: int,
    weight: int,
    way: str,
    plans: list[Plan],
) -> None:
    """Each call that is not given up gets its own answer or its own error, within the limits."""

    class Whatever(Upper):
        def run_batch(self, text: list[str], **others: Any) -> Sequence[Any]:
            assert not size or len(text) <= size
            assert not weight or len(text) == 1 or sum(map(len, text)) <= weight + 5 * len(text)
            results = super().run_batch(text, **others)
            if way == "short" and any("short" in item for item in text):
                return results[1:]
            if way == "marks":
                return [KeyError(a.text) if "mark" in a.text else a for a in results]
            return results

    async def scenario() -> list[Any]:
        async with opened(
            Whatever, threads=threads, max_batch_size=size, max_batch_weight=weight
        ) as execution:
            first = [call(execution, "hold") for _ in range(threads)]
            calls = [
                call(execution, f"{text}-{place}", mark=mark, n=n)
                for place, (text, mark, n, _) in enumerate(items)
            ]
            await asyncio.sleep(0)
            for future, (*_, cancel) in zip(calls, items, strict=True):
                if cancel:
                    future.cancel()
            Whatever.gate.set()
            for plan in plans:
                if isinstance(execution, InThreads) and (not size or plan.size <= size):
                    execution.follow(plan)
                await asyncio.sleep(0)
            await asyncio.gather(*first)
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)

    outcomes = asyncio.run(scenario())
    for place, (outcome, (text, mark, n, cancel)) in enumerate(zip(outcomes, items, strict=True)):
        own = f"{text}-{place}"
        if isinstance(outcome, asyncio.CancelledError):
            assert cancel
        elif text == "bad":
            assert str(outcome) == f"{own} is bad"
        elif isinstance(outcome, Internal):
            assert way == "short"
        elif isinstance(outcome, KeyError):
            assert text == "mark"
            assert outcome.args == (own,)
        else:
            assert outcome == Answer(text=own, extra=f"{mark}{n}")
