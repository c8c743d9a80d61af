"""What is said of how many calls of a model run and wait holds for calls of every shape."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitfox.config import ModelExecution, Models
from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.errors import ResourceExhausted
from kitfox.models import (
    ExecutionSettings,
    ModelLoader,
    ModelManager,
    ModelOpener,
    ModelStore,
    StreamPlaces,
)
from kitfox.modules import ModuleBase, TaskBase, default_registry, module, task
from kitfox.services import MethodTable, Names, build_table
from kitfox.services.inference import InferenceHandler, StreamingInferenceHandler
from kitfox.services.methods import Context
from tests.waiting import wait_for

KIND = "2f0c7e55-8f3c-4d52-9d5b-0d4b7f1c9e78"


@dataobject(package="limits")
class Mark(DataObjectBase):
    text: str


@task(
    unary_parameters={"mark": Mark},
    streaming_parameters={"marks": Iterable[Mark]},
    unary_output_type=Mark,
    streaming_output_type=Iterable[Mark],
)
class MarkTask(TaskBase):
    """All shapes."""


@task(unary_parameters={"mark": Mark}, unary_output_type=Mark)
class OtherTask(TaskBase):
    """Another unary one."""


@task(
    unary_parameters={"mark": Mark},
    streaming_parameters={"marks": Iterable[Mark]},
    unary_output_type=Mark,
    streaming_output_type=Iterable[Mark],
)
class LoopTask(TaskBase):
    """On the event loop."""


class Shapes(ModuleBase):
    """Notes how many of its methods run at the same time, and waits for a gate when told to."""

    gate: threading.Event
    now: int
    most: int
    begun: int
    lock = threading.Lock()

    @classmethod
    def load(cls, model_path: str) -> "Shapes":
        return cls()

    @classmethod
    @contextmanager
    def counted(cls) -> Iterator[None]:
        with cls.lock:
            cls.begun += 1
            cls.now += 1
            cls.most = max(cls.most, cls.now)
        try:
            yield
        finally:
            with cls.lock:
                cls.now -= 1

    def work(self, mark: Mark) -> Mark:
        with self.counted():
            time.sleep(0.001)
            if mark.text == "hold":
                assert self.gate.wait(30)
        return mark

    @MarkTask.taskmethod()
    def run(self, mark: Mark) -> Mark:
        return self.work(mark)

    def run_batch(self, mark: list[Mark]) -> list[Mark]:
        with self.counted():
            time.sleep(0.001)
        return list(mark)

    @MarkTask.taskmethod(output_streaming=True)
    def many(self, mark: Mark) -> Iterable[Mark]:
        for _ in range(3):
            yield self.work(mark)

    @MarkTask.taskmethod(input_streaming=True)
    def gather(self, marks: DataStream[Mark]) -> Mark:
        return Mark(text=",".join(self.work(mark).text for mark in marks))

    @MarkTask.taskmethod(input_streaming=True, output_streaming=True)
    def answer(self, marks: DataStream[Mark]) -> Iterable[Mark]:
        for mark in marks:
            yield self.work(mark)

    @OtherTask.taskmethod()
    def other(self, mark: Mark) -> Mark:
        return self.work(mark)

    @LoopTask.taskmethod()
    async def on_loop(self, mark: Mark) -> Mark:
        with self.counted():
            while mark.text == "block" and not self.gate.is_set():
                time.sleep(0.01)  # noqa: ASYNC251 -- what is to be found out
            while mark.text == "hold" and not self.gate.is_set():  # noqa: ASYNC110 -- threads wait for it, too
                await asyncio.sleep(0.002)
        return mark

    @LoopTask.taskmethod(output_streaming=True)
    async def many_on_loop(self, mark: Mark) -> AsyncIterator[Mark]:
        yield await self.on_loop(mark)

    @LoopTask.taskmethod(input_streaming=True, output_streaming=True)
    async def answer_on_loop(self, marks: DataStream[Mark]) -> Iterable[Mark]:
        """Reads on the event loop, and makes its results in a thread."""
        found = [mark async for mark in marks]
        return (self.work(mark) for mark in found)


class Caller:
    """Calls the methods of one model as an endpoint does."""

    def __init__(self, table: MethodTable, models: ModelManager) -> None:
        self.models = models
        self._rows = {method.name: method for method in table}

    async def unary(self, name: str, text: str) -> Any:
        handler = InferenceHandler(self._rows[name], self.models)
        context = Context(model_id="shapes", request_id=f"id-{text}")
        return (await handler({"mark": Mark(text=text)}, context)).text

    async def stream(self, name: str, *items: str, end: asyncio.Event | None = None) -> list[str]:
        """Sends some requests, and ends the stream when it is time."""
        row = self._rows[name]
        handler = StreamingInferenceHandler(row, self.models)
        field = "marks" if row.input_streaming else "mark"

        async def requests() -> AsyncIterator[bytes]:
            for item in items:
                yield item.encode()
            if end is not None:
                await end.wait()

        answers = handler(
            requests(),
            Context(model_id="shapes", request_id=f"id-{items[0]}"),
            decode=lambda data: {field: Mark(text=data.decode())},
            encode=lambda result: result.text.encode(),
        )
        return [item.decode() async for batch in answers for item in batch]

    def figures(self) -> Any:
        return self.models.loaded["shapes"].execution.figures()


@pytest.fixture
def table() -> Iterator[MethodTable]:
    with default_registry().preserved():
        Shapes.gate, Shapes.now, Shapes.most, Shapes.begun = threading.Event(), 0, 0, 0
        module(KIND, "Shapes", "1.0.0", tasks=[MarkTask, OtherTask, LoopTask])(Shapes)
        yield build_table("tests", names=Names.of("tests"), training=False)
        Shapes.gate.set()


@asynccontextmanager
async def caller(
    folder: Path, table: MethodTable, places: int = 256, **execution: Any
) -> AsyncIterator[Caller]:
    """A model that is run as the settings say."""
    (folder / "shapes").mkdir()
    (folder / "shapes" / "config.yml").write_text(yaml.safe_dump({"module_id": KIND}))
    settings = ExecutionSettings(Models(execution=ModelExecution(**execution)))
    models = ModelManager(
        store=ModelStore(folder),
        loader=ModelLoader(ModelOpener(threads=8, settings=settings)),
        stream_places=StreamPlaces(places),
    )
    try:
        await models.get("shapes")
        yield Caller(table, models)
    finally:
        Shapes.gate.set()
        models.close()


async def until(condition: Any, what: str) -> None:
    await asyncio.to_thread(wait_for, condition, what=what)


UNARY = ("MarkTaskPredict", "OtherTaskPredict", "LoopTaskPredict")
MANY = ("ServerStreamingMarkTaskPredict", "ServerStreamingLoopTaskPredict")
GATHER = "ClientStreamingMarkTaskPredict"
ANSWER = "BidiStreamingMarkTaskPredict"
ANSWER_ON_LOOP = "BidiStreamingLoopTaskPredict"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_calls_at_a_time_holds_for_all_shapes_together(
    tmp_path: Path, table: MethodTable, threads: int
) -> None:
    async def scenario() -> None:
        async with caller(tmp_path, table, threads=threads) as calls:
            end = asyncio.Event()
            # A stream that waits for its caller keeps nobody else from work.
            idle = asyncio.create_task(calls.stream(GATHER, "a", end=end))
            for _ in range(4):
                answers = await asyncio.gather(
                    *(calls.unary(name, "x") for name in UNARY for _ in range(5)),
                    *(calls.stream(name, "y") for name in MANY for _ in range(3)),
                    *(calls.stream(GATHER, "a", "b") for _ in range(3)),
                    *(calls.stream(ANSWER, "a", "b") for _ in range(3)),
                    *(calls.stream(ANSWER_ON_LOOP, "a", "b") for _ in range(3)),
                )
            assert answers[: 5 * len(UNARY)] == ["x"] * 5 * len(UNARY)
            assert answers[-9:] == [["a,b"]] * 3 + [["a", "b"]] * 6
            end.set()
            assert await idle == ["a"]
            assert calls.figures().queue_seconds > 0
            # A thread tells of a result before it is done with its call.
            await until(lambda: calls.figures().running == 0, "the end")
            assert calls.figures().waiting == 0

    asyncio.run(scenario())
    assert 0 < Shapes.most <= threads


@pytest.mark.parametrize("name", [*UNARY, *MANY])
def test_the_queue_is_bounded_for_each_shape(tmp_path: Path, table: MethodTable, name: str) -> None:
    async def scenario() -> None:
        async with caller(tmp_path, table, threads=1, queue_limit=2) as calls:
            call = calls.stream if name in MANY else calls.unary
            first = asyncio.create_task(call(name, "hold"))
            await until(lambda: Shapes.begun == 1, "the first call")
            waiting = [asyncio.create_task(call(name, "x")) for _ in range(2)]
            await until(lambda: calls.figures().waiting == 2, "the queue")
            with pytest.raises(ResourceExhausted, match=r"2 calls of model 'shapes' wait.*queue_"):
                await call(name, "too many")
            # Who has gone away makes room.
            waiting[0].cancel()
            await asyncio.wait([waiting[0]])
            another: asyncio.Task[Any] | None = None
            while another is None or (another.done() and another.exception()):
                # That is looked for now and then.
                another = asyncio.create_task(call(name, "x"))
                await asyncio.sleep(0.002)
            Shapes.gate.set()
            await asyncio.gather(first, waiting[1], another)

    asyncio.run(scenario())


def test_what_a_call_on_the_event_loop_waited_is_counted(
    tmp_path: Path, table: MethodTable
) -> None:
    async def scenario() -> None:
        async with caller(tmp_path, table, mode="inline", threads=2) as calls:
            held = [asyncio.create_task(calls.unary("LoopTaskPredict", "hold")) for _ in range(2)]
            await until(lambda: Shapes.begun == 2, "the first calls")
            waiting = [asyncio.create_task(calls.unary("LoopTaskPredict", "x")) for _ in range(3)]
            await until(lambda: calls.figures().waiting == 3, "the queue")
            assert calls.figures().running == 2
            Shapes.gate.set()
            await asyncio.gather(*held, *waiting)
            assert calls.figures().calls == 5
            assert calls.figures().queue_seconds > 0

    asyncio.run(scenario())
    assert Shapes.most == 2


def test_no_model_has_all_the_places_of_streams(tmp_path: Path, table: MethodTable) -> None:
    async def scenario() -> None:
        async with caller(tmp_path, table, places=8) as calls:
            end = asyncio.Event()
            streams = [asyncio.create_task(calls.stream(GATHER, "a", end=end)) for _ in range(6)]
            await until(lambda: Shapes.begun == 6, "the streams")
            with pytest.raises(ResourceExhausted, match=r"server.max_concurrent_streams"):
                await calls.stream(GATHER, "a")
            calls.models.stream_places.take("another", "another")
            end.set()
            await asyncio.gather(*streams)
            assert await calls.stream(GATHER, "a", "b") == ["a,b"]

    asyncio.run(scenario())


def test_small_numbers_of_places_can_all_be_had() -> None:
    for limit in (1, 2, 3):
        places = StreamPlaces(limit)
        for _ in range(limit):
            places.take("one", "one")
        with pytest.raises(ResourceExhausted):
            places.take("other", "other")
        places.give_back("one")
        places.take("other", "other")


def _told(caplog: pytest.LogCaptureFixture, code: str) -> list[logging.LogRecord]:
    return [item for item in caplog.records if item.__dict__.get("log_code") == code]


def test_who_holds_up_the_event_loop_is_named(
    tmp_path: Path, table: MethodTable, caplog: pytest.LogCaptureFixture
) -> None:
    def release() -> None:
        try:
            wait_for(lambda: _told(caplog, "<KFX20081E>"), what="the watchdog's line")
        finally:
            Shapes.gate.set()

    async def scenario() -> None:
        async with caller(tmp_path, table, run_seconds=0.1) as calls:
            with ThreadPoolExecutor(1) as pool:
                releases = pool.submit(release)
                await calls.unary("LoopTaskPredict", "block")
                releases.result()

    asyncio.run(scenario())
    told = _told(caplog, "<KFX20081E>")[0]
    assert "model shapes is at" in told.getMessage()
    assert "in on_loop\n    " in told.getMessage()
    assert told.__dict__["request_id"] == "id-block"


@pytest.mark.parametrize("name", ["LoopTaskPredict", GATHER])
def test_calls_that_take_too_long_are_told_of_in_all_shapes(
    tmp_path: Path, table: MethodTable, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async def scenario() -> None:
        async with caller(tmp_path, table, run_seconds=0.5) as calls:
            end = asyncio.Event()
            # Who waits for the caller is not told of.
            idle = asyncio.create_task(calls.stream(GATHER, "idle", end=end))
            call = calls.stream if name == GATHER else calls.unary
            held = asyncio.create_task(call(name, "hold"))
            await until(lambda: _told(caplog, "<KFX20080W>"), "the watchdog's line")
            Shapes.gate.set()
            end.set()
            await asyncio.gather(idle, held)

    asyncio.run(scenario())
    (told,) = _told(caplog, "<KFX20080W>")
    assert told.__dict__["request_id"] == "id-hold"
    assert ("in on_loop" if name != GATHER else "in work") in told.getMessage()
