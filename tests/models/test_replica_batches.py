"""What waits in a replica runs together, as in the server; each call gets its own answer."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import Internal, InvalidArgument, Unavailable
from kitfox.models.replicas import InProcesses
from kitfox.modules import ModuleBase, RequestContext
from tests.models.chorus import Chorus, LaterChorus
from tests.models.replica_models import Background, model_folder, opened, until

pytestmark = pytest.mark.slow


MODULES = [Chorus, LaterChorus]


@pytest.fixture(scope="module", params=MODULES)
def background(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Background]:
    path = model_folder(tmp_path_factory.mktemp("chorus"), request.param)
    made = Background(path, threads=1)
    yield made
    made.close()


class Choir:
    """Calls of one model, of which the first is held until all others wait."""

    def __init__(self, execution: InProcesses, gate: Path) -> None:
        self.execution = execution
        self.gate = gate

    def sing(self, text: str, context: RequestContext | None = None) -> "asyncio.Future[Any]":
        context = context or RequestContext(request_id=f"id-{text}")
        if self.execution.module is LaterChorus:
            run = self.execution.function("run")(text=text, context=context)
            task: asyncio.Task[Any] = asyncio.ensure_future(run)
            return task
        return self.execution.unary("run")({"text": text}, context)

    async def hold(self) -> "asyncio.Future[Any]":
        first = self.sing(f"hold {self.gate}")
        await until(Path(f"{self.gate}.begun").exists)
        return first

    async def arrived(self, count: int) -> None:
        """Waits until the replicas have got so many calls, of which none can end now."""
        execution = self.execution
        await until(lambda: execution.queued == count)
        contexts = [RequestContext() for _ in execution.replicas]
        last = [self.sing("the last one", context) for context in contexts]
        await until(lambda: execution.queued == count + len(last))
        for context in contexts:
            context.cancel(Unavailable("nobody waits"))
        # A replica that says that it has dropped this one has read all that came before.
        await until(lambda: execution.queued == count)
        assert all(
            isinstance(item, Unavailable)
            for item in await asyncio.gather(*last, return_exceptions=True)
        )

    async def outcomes(self, *texts: str) -> list[Any]:
        """What calls that wait together come to."""
        first = await self.hold()
        calls = [self.sing(text) for text in texts]
        await self.arrived(1 + len(calls))
        self.gate.touch()
        assert (await first).text.startswith("hold")
        return await asyncio.gather(*calls, return_exceptions=True)


def test_what_waits_is_the_next_batch(background: Background, tmp_path: Path) -> None:
    choir = Choir(background.execution, tmp_path / "gate")
    texts = [f"text {item}" for item in range(6)]
    answers = background.run(choir.outcomes(*texts))
    assert [item.text for item in answers] == texts
    assert max(item.together for item in answers) > 1

    async def told() -> None:
        await until(lambda: background.execution.figures().batched_calls >= 7)

    background.run(told())
    figures = background.execution.figures()
    assert sum(figures.batches) < figures.batched_calls
    assert figures.queue_seconds > 0


def test_one_bad_call_fails_alone(background: Background, tmp_path: Path) -> None:
    choir = Choir(background.execution, tmp_path / "gate")
    answers = background.run(choir.outcomes("a", "b", "bad", "c"))
    assert [getattr(item, "text", str(item)) for item in answers] == [
        *("a", "b", "it will not sing that", "c")
    ]


def test_a_wrong_number_of_results_is_an_error_for_all(
    background: Background, tmp_path: Path
) -> None:
    choir = Choir(background.execution, tmp_path / "gate")
    answers = background.run(choir.outcomes("a", "b", "short"))
    assert all(isinstance(item, Internal) for item in answers)


def test_a_call_that_is_given_up_while_it_waits_is_not_run(
    background: Background, tmp_path: Path
) -> None:
    async def scenario() -> list[str]:
        choir = Choir(background.execution, tmp_path / "gate")
        first = await choir.hold()
        context = RequestContext(request_id="gone")
        mark = tmp_path / "gone"
        gone = choir.sing(f"hold {mark}", context)
        other = choir.sing("other")
        await asyncio.sleep(0.05)
        context.cancel(Unavailable("nobody waits"))
        with pytest.raises(Unavailable):
            await gone
        # The replica has heard of it, too.
        await until(lambda: background.execution.queued == 2)
        choir.gate.touch()
        return [(await item).text for item in (first, other)]

    assert background.run(scenario())[1] == "other"
    assert not Path(f"{tmp_path / 'gone'}.begun").exists()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("retry", [False, True])
def test_a_batch_whose_replica_dies_fails_alone(
    module: type[ModuleBase], tmp_path: Path, *, retry: bool
) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", module)
        async with opened(path, replicas=2, retry=retry) as execution:
            # What they can do together is known once they have done something.
            await asyncio.gather(*(Choir(execution, tmp_path).sing("warm") for _ in range(8)))
            await until(lambda: execution.figures().batched_calls >= 8)
            choirs = [Choir(execution, tmp_path / f"gate {item}") for item in range(2)]
            held = [await choir.hold() for choir in choirs]
            deadly = f"die {tmp_path / 'dead'}"
            batch = [deadly, *("x" * len(deadly) for _ in range(15))]
            # Of another length than those of the batch that dies.
            others = [f"long text {item} of some length" * 9 for item in range(8)]
            calls = [choirs[0].sing(text) for text in batch + others]
            await choirs[0].arrived(len(held) + len(calls))
            for choir in choirs:
                choir.gate.touch()
            await asyncio.gather(*held)
            # The other replica has nothing to do any more: it is free for what is run alone.
            members = execution._pool.members
            await until(lambda: sum(bool(item.calls) for item in members.values()) == 1)
            (tmp_path / "dead.go").touch()
            answers: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
            if retry:
                assert [item.text for item in answers] == batch + others
                assert max(item.together for item in answers) > 1
            else:
                lost = [item for item in answers[:16] if isinstance(item, Unavailable)]
                assert answers[0] in lost
                assert 2 <= len(lost) <= 8
                assert [item.text for item in answers[16:]] == others

    asyncio.run(scenario())


@pytest.mark.parametrize("module", MODULES)
def test_without_batches_each_call_is_run_by_itself(
    module: type[ModuleBase], tmp_path: Path
) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", module)
        async with opened(path, max_batch_size=1) as execution:
            answers = await Choir(execution, tmp_path / "gate").outcomes("a", "b", "c")
            assert [item.together for item in answers] == [1, 1, 1]
            assert not execution.figures().batches

    asyncio.run(scenario())


@pytest.mark.parametrize("module", MODULES)
def test_the_author_may_measure(module: type[ModuleBase], tmp_path: Path) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", module)
        async with opened(path, batch_weight="measure", max_batch_weight=10) as execution:
            answers = await Choir(execution, tmp_path / "gate").outcomes("6", "4", "5", "7")
            assert [item.together for item in answers] == [2, 2, 1, 1]

    asyncio.run(scenario())


@pytest.mark.parametrize("module", MODULES)
def test_a_call_waits_for_others_only_when_told_to(
    module: type[ModuleBase], tmp_path: Path
) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", module)
        async with opened(
            path, threads=0, max_batch_size=2, max_batch_delay_seconds=60
        ) as execution:
            choir = Choir(execution, tmp_path)
            first = choir.sing("a")
            await asyncio.sleep(0.05)
            assert not first.done()
            answers = await asyncio.gather(first, choir.sing("b"))
            assert [item.together for item in answers] == [2, 2]

    asyncio.run(scenario())


def test_a_batch_on_the_loop_that_nobody_waits_for_is_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", LaterChorus)
        async with opened(path) as execution:
            choir, context = Choir(execution, tmp_path / "gate"), RequestContext()
            call = choir.sing(f"hold {choir.gate}", context)
            await until(Path(f"{choir.gate}.begun").exists)
            context.cancel(Unavailable("nobody waits"))
            with pytest.raises(Unavailable):
                await call
            await until(Path(f"{choir.gate}.ended").exists)
            # It has made room, though the gate has not been opened.
            assert (await choir.sing("next")).text == "next"
            await until(lambda: not execution.queued)

    asyncio.run(scenario())


def test_items_of_streams_on_the_loop_share_batches(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", LaterChorus)
        async with opened(path) as execution:
            echo, gate = execution.items("echo"), tmp_path / "gate"
            assert echo is not None
            first = echo({"texts": f"hold {gate}"}, RequestContext())
            await until(Path(f"{gate}.begun").exists)
            calls = [echo({"texts": text}, RequestContext()) for text in "abc"]
            await asyncio.sleep(0.05)
            gate.touch()
            answers = await asyncio.gather(first, *calls)
            assert [item.together for item in answers] == [1, 3, 3, 3]

    asyncio.run(scenario())


def test_an_unknown_measure_keeps_the_model_from_being_loaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = model_folder(tmp_path / "chorus", Chorus)
        async with opened(path, batch_weight="tokens"):
            pass

    with pytest.raises(InvalidArgument, match=r"batch_weight.*'tokens'"):
        asyncio.run(scenario())
