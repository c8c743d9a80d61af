"""How many calls a replica runs at the same time, whatever their shape, and how many wait."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import Cancelled, ResourceExhausted, Unavailable
from kitfox.logs import current_request
from kitfox.models.replicas import InProcesses
from kitfox.models.streams import RequestFeed, split
from kitfox.modules import RequestContext
from tests.models.crowd import Crowd, CrowdBatches, SeenInCrowd
from tests.models.replica_models import model_folder, opened, until

pytestmark = pytest.mark.slow


class Caller:
    """Calls the methods of a model in replicas, as the handlers do.

    Args:
        execution: The model.
    """

    def __init__(self, execution: InProcesses) -> None:
        self.execution = execution
        self.loop = asyncio.get_running_loop()

    def unary(self, text: str) -> "asyncio.Future[Any]":
        return self.execution.unary("run")({"text": text}, RequestContext())

    def split(self, text: str, context: RequestContext | None = None) -> "asyncio.Future[Any]":
        return self.in_thread("split", context, text=text)

    def join(self, *texts: str) -> "asyncio.Future[Any]":
        return self.in_thread("join", None, **requests(*texts))

    def echo(
        self, *texts: str, hold: asyncio.Event | None = None, context: RequestContext | None = None
    ) -> "asyncio.Future[Any]":
        return self.in_thread("echo", context, **requests(*texts, hold=hold))

    def later(self, text: str) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(self.execution.function("later")(text=text))

    def later_split(self, text: str) -> "asyncio.Task[Any]":
        async def read() -> list[SeenInCrowd]:
            return [seen async for seen in self.execution.function("later_split")(text=text)]

        return asyncio.ensure_future(read())

    def later_echo(self, *texts: str) -> "asyncio.Task[Any]":
        async def read() -> list[SeenInCrowd]:
            found = await self.execution.function("later_echo")(**requests(*texts))
            return [seen async for seen in found]

        return asyncio.ensure_future(read())

    def in_thread(
        self, method: str, context: RequestContext | None, **arguments: Any
    ) -> "asyncio.Future[Any]":
        """Calls a method in a thread of its own, which knows the request."""
        function = self.execution.function(method)
        future = self.loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def run() -> None:
            current_request.set(context or RequestContext())
            result, error = None, None
            try:
                made = function(**arguments)
                result = list(made) if isinstance(made, Iterator) else made
            except Exception as err:  # noqa: BLE001 -- the test looks at it
                error = err
            with contextlib.suppress(RuntimeError):  # the test is over
                self.loop.call_soon_threadsafe(finish, result, error)

        threading.Thread(target=run, daemon=True).start()
        return future


def requests(*texts: str, hold: asyncio.Event | None = None) -> dict[str, Any]:
    """The argument of a method that reads a stream of requests, which ends when it may."""

    async def come() -> AsyncIterator[bytes]:
        for text in texts:
            yield text.encode()
        if hold is not None:
            await hold.wait()

    feed = RequestFeed(come(), lambda data: {"texts": data.decode()})
    return {**split(feed, None, ["texts"])}


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "crowd", Crowd)


def seen_in(answers: list[Any]) -> list[SeenInCrowd]:
    """What single results and streams of them say."""
    return [item for answer in answers for item in (answer if type(answer) is list else [answer])]


def begun(path: Path) -> bool:
    """Whether a call of this path has been begun."""
    return path.with_name(f"{path.name}.begun").exists()


@pytest.mark.parametrize("module", [Crowd, CrowdBatches])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_limit_holds_for_calls_of_all_shapes_together(
    tmp_path: Path, module: type[Crowd], threads: int
) -> None:
    async def run() -> None:
        path = model_folder(tmp_path / "crowd", module)
        async with opened(path, threads=threads) as execution:
            caller = Caller(execution)
            shapes: list[Callable[[str], asyncio.Future[Any]]] = [
                *(caller.unary, caller.split, caller.join, caller.echo),
                *(caller.later, caller.later_split, caller.later_echo),
            ]
            calls = [shape(f"text{number}") for number in range(6) for shape in shapes]
            answers = await asyncio.wait_for(asyncio.gather(*calls), 60)
            assert max(seen.most for seen in seen_in(answers)) == threads

    asyncio.run(run())


def test_a_stream_that_waits_for_its_caller_keeps_nobody_waiting(crowd: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=1, queue_limit=1) as execution:
            caller, hold = Caller(execution), asyncio.Event()
            streams = [caller.echo("first", hold=hold) for _ in range(5)]
            await until(lambda: execution.queued == 5)
            for shape in (caller.unary, caller.split, caller.join, caller.later):
                await asyncio.wait_for(shape("in between"), 60)
            hold.set()
            assert max(seen.most for seen in seen_in(await asyncio.gather(*streams))) == 1

    asyncio.run(run())


def test_streams_that_wait_for_their_callers_fill_no_replica(crowd: Path) -> None:
    """Nor do streams whose results nobody reads."""

    async def run() -> None:
        async with opened(crowd, threads=1, replicas=2, queue_limit=2) as execution:
            caller, hold = Caller(execution), asyncio.Event()
            streams = [caller.echo("first", hold=hold) for _ in range(9)]
            await until(lambda: execution.queued == 9)
            long = " ".join(["x" * 100_000] * 20)
            unread = [
                await asyncio.to_thread(execution.function("split"), text=long) for _ in range(6)
            ]
            for results in unread:
                await asyncio.to_thread(next, results)
            await asyncio.wait_for(asyncio.gather(*(caller.unary("text") for _ in range(4))), 60)
            for results in unread:
                await asyncio.to_thread(results.close)
            hold.set()
            await asyncio.gather(*streams)

    asyncio.run(run())


def test_the_queue_is_bounded_for_calls_on_the_event_loop(crowd: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=1, queue_limit=2) as execution:
            caller, go = Caller(execution), tmp_path / "go"
            calls = [caller.later(f"{go}")]
            await until(lambda: begun(go))
            waits = [tmp_path / name for name in ("one", "two")]
            calls += [caller.later(f"{path}") for path in waits]
            await until(lambda: execution.queued == 3)
            with pytest.raises(ResourceExhausted, match=r"models\.execution\.queue_limit"):
                await caller.later("one too many")
            assert not any(begun(path) for path in waits)
            for path in (go, *waits):
                path.touch()
            assert max(seen.most for seen in await asyncio.gather(*calls)) == 1

    asyncio.run(run())


def test_what_is_given_up_while_it_waits_is_not_run(crowd: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=1) as execution:
            caller, go = Caller(execution), tmp_path / "go"
            first = caller.unary(f"{go}")
            await until(lambda: begun(go))
            gone = [tmp_path / name for name in ("later", "echo", "split")]
            context = RequestContext()
            waits = [
                caller.later(f"{gone[0]}"),
                caller.echo(f"{gone[1]}", context=context),
                caller.split(f"{gone[2]}", context=context),
            ]
            await until(lambda: execution.queued == 4)
            await asyncio.sleep(0.05)  # they are on their way
            waits[0].cancel()
            context.cancel(Cancelled("nobody waits"))
            answers = await asyncio.gather(*waits, return_exceptions=True)
            assert [type(answer) for answer in answers] == [
                *(asyncio.CancelledError, Cancelled, Cancelled)
            ]
            await until(lambda: execution.queued == 1)
            go.touch()
            await first
            assert (await caller.unary("on")).text == "on"
            assert not any(begun(path) for path in gone)

    asyncio.run(run())


def test_what_waits_in_a_replica_that_dies_is_run_by_another(crowd: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=1, replicas=2) as execution:
            caller, go = Caller(execution), tmp_path / "go"
            held = [tmp_path / name for name in ("one", "two")]
            running = [caller.later(f"{path}") for path in held]
            for path in held:
                await until(partial(begun, path))
            waiting = [*(caller.later(f"{go}") for _ in range(3)), caller.split(f"{go}")]
            await until(lambda: execution.queued == 6)
            await until(lambda: all(item.in_flight > 1 for item in execution.replicas))
            os.kill(execution.replicas[0].pid, signal.SIGKILL)
            for path in (go, *held):
                path.touch()
            answers = await asyncio.gather(*running, return_exceptions=True)
            assert sorted(isinstance(answer, Unavailable) for answer in answers) == [False, True]
            found = await asyncio.wait_for(asyncio.gather(*waiting), 60)
            assert [seen.text for seen in seen_in(found)] == [f"{go}"] * 4

    asyncio.run(run())


def test_what_waits_in_a_busy_replica_goes_to_an_idle_one(crowd: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=1, replicas=2) as execution:
            caller, go, stop = Caller(execution), tmp_path / "go", tmp_path / "stop"
            stuck = caller.later(f"{stop}")
            await until(lambda: begun(stop))
            busy = caller.later(f"{go}")
            await until(lambda: begun(go))
            # Both are busy: of these some wait at the first, which is not free for long.
            behind = [caller.later("text"), caller.split("text")]
            await until(lambda: execution.queued == 4)
            go.touch()
            await asyncio.wait_for(asyncio.gather(busy, *behind), 60)
            assert not stuck.done()
            stop.touch()
            await stuck

    asyncio.run(run())


def test_without_a_limit_the_event_loop_has_room_for_all(crowd: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(crowd, threads=0) as execution:
            caller = Caller(execution)
            paths = [tmp_path / str(number) for number in range(20)]
            calls = [caller.later(f"{path}") for path in paths]
            for path in paths:
                await until(partial(begun, path))
            for path in paths:
                path.touch()
            assert max(seen.most for seen in await asyncio.gather(*calls)) == 20

    asyncio.run(run())
