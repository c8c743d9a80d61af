"""Items of several streams share batches, and each stream gets its own results in order."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from kitfox.config import ModelExecution, Models
from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.errors import Internal, InvalidArgument, ResourceExhausted
from kitfox.models import ExecutionSettings, ModelLoader, ModelManager, ModelOpener, ModelStore
from kitfox.modules import ModuleBase, TaskBase, default_registry, module, task
from kitfox.services import Names, build_table
from kitfox.services.inference import StreamingInferenceHandler
from kitfox.services.methods import Context
from tests.waiting import wait_for

KIND = "2f0c7e55-8f3c-4d52-9d5b-0d4b7f1c9e79"


@dataobject(package="joining")
class Word(DataObjectBase):
    text: str
    together: int = 1


@task(
    streaming_parameters={"texts": Iterable[str]},
    streaming_output_type=Iterable[Word],
)
class JoinTask(TaskBase):
    """One result of each request."""


class Gated(ModuleBase):
    """Notes its batches, and waits for a gate when told to."""

    gate: ClassVar[threading.Event]
    seen: ClassVar[list[tuple[str, ...]]]

    @classmethod
    def load(cls, model_path: str) -> "Gated":
        return cls()

    def answers(self, texts: list[str], mark: str) -> list[Any]:
        self.seen.append(tuple(texts))
        if "few" in texts:
            return [Word(text="few")]
        if any(text.startswith("bad") for text in texts):
            raise InvalidArgument("something in this batch is bad")
        return [
            InvalidArgument("wrong") if text == "wrong" else Word(text + mark, len(texts))
            for text in texts
        ]


class Joins(Gated):
    """In threads."""

    @JoinTask.taskmethod(input_streaming=True, output_streaming=True)
    def echo(self, texts: DataStream[str], mark: str = "") -> Iterable[Word]:
        for text in texts:
            yield Word(text=f"alone {text}")

    def echo_batch(self, texts: list[str], mark: str = "") -> list[Any]:
        if "hold" in texts:
            assert self.gate.wait(60)
        return self.answers(texts, mark)


class JoinsOnLoop(Gated):
    """On the event loop."""

    @JoinTask.taskmethod(input_streaming=True, output_streaming=True)
    async def echo(self, texts: DataStream[str], mark: str = "") -> AsyncIterator[Word]:
        async for text in texts:
            yield Word(text=f"alone {text}")

    async def echo_batch(self, texts: list[str], mark: str = "") -> list[Any]:
        while "hold" in texts and not self.gate.is_set():  # noqa: ASYNC110 -- of both kinds
            await asyncio.sleep(0.002)
        return self.answers(texts, mark)


class Caller:
    """Calls the method as an endpoint does.

    Args:
        models: Where it is.
    """

    def __init__(self, models: ModelManager) -> None:
        (row,) = [
            row
            for row in build_table("tests", names=Names.of("tests"), training=False)
            if row.task is JoinTask
        ]
        self._handler = StreamingInferenceHandler(row, models)
        self._models = models
        self.sent = 0

    async def echo(
        self, *texts: str, mark: str = "", end: asyncio.Event | None = None
    ) -> list[Word]:
        """What a stream of texts is answered."""
        found: list[Word] = []
        await self.into(found, *texts, mark=mark, end=end)
        return found

    async def into(
        self, found: list[Word], *texts: str, mark: str = "", end: asyncio.Event | None = None
    ) -> None:
        """The same, told as it comes."""

        async def requests() -> AsyncIterator[bytes]:
            for text in texts:
                self.sent += 1
                yield text.encode()
            if end is not None:
                await end.wait()

        def decode(data: bytes) -> dict[str, Any]:
            if data == b"unreadable":
                raise InvalidArgument("it cannot be read")
            return {"texts": data.decode(), "mark": mark}

        def encode(word: Any) -> bytes:
            found.append(word)
            return b"x"

        context = Context(model_id="joins", request_id=f"id-{texts[0] if texts else ''}")
        answers = self._handler(requests(), context, decode=decode, encode=encode)
        assert sum([len(batch) async for batch in answers]) == len(found)

    def figures(self) -> Any:
        return self._models.loaded["joins"].execution.figures()

    async def hold(self) -> "asyncio.Task[list[Word]]":
        """A stream whose item is held."""
        first = asyncio.create_task(self.echo("hold"))
        await until(lambda: self.figures().running == 1, "the first item")
        return first

    async def waiting(self, count: int) -> None:
        await until(lambda: self.figures().waiting == count, f"{count} items that wait")


async def until(condition: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(wait_for, condition, seconds=60, what=what)


@contextmanager
def registered(cls: type[Gated]) -> Iterator[None]:
    with default_registry().preserved():
        Gated.gate, Gated.seen = threading.Event(), []
        module(KIND, "Joins", "1.0.0", tasks=[JoinTask])(cls)
        yield


@asynccontextmanager
async def caller(folder: Path, **execution: Any) -> AsyncIterator[Caller]:
    (folder / "joins").mkdir()
    (folder / "joins" / "config.yml").write_text(yaml.safe_dump({"module_id": KIND}))
    settings = ExecutionSettings(Models(execution=ModelExecution(**execution)))
    models = ModelManager(
        store=ModelStore(folder), loader=ModelLoader(ModelOpener(threads=8, settings=settings))
    )
    try:
        await models.get("joins")
        yield Caller(models)
    finally:
        Gated.gate.set()
        models.close()


@pytest.fixture(params=[Joins, JoinsOnLoop])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Runs a scenario with a model that runs one batch at a time."""

    def run_it(scenario: Callable[[Caller], Coroutine[Any, Any, None]], **execution: Any) -> None:
        async def whole() -> None:
            async with caller(tmp_path, **({"threads": 1} | execution)) as calls:
                await asyncio.wait_for(scenario(calls), 120)

        asyncio.run(whole())

    with registered(request.param):
        yield run_it


def test_what_waits_of_all_streams_is_the_next_batch(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        others = [asyncio.create_task(calls.echo(f"a{item}", f"b{item}")) for item in range(4)]
        await calls.waiting(8)
        Gated.gate.set()
        assert await first == [Word("hold")]
        for item, answer in enumerate(await asyncio.gather(*others)):
            assert answer == [Word(f"a{item}", 8), Word(f"b{item}", 8)]

    run(scenario)


def test_a_bad_item_ends_its_own_stream_after_what_came_before(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        before: list[list[Word]] = [[], [], []]
        bad = [
            asyncio.create_task(calls.into(before[0], "one", "bad", "two")),
            asyncio.create_task(calls.into(before[1], "one", "wrong", "two")),
            asyncio.create_task(calls.into(before[2], "one", "unreadable", "two")),
        ]
        good = asyncio.create_task(calls.echo("one", "two", "three"))
        await calls.waiting(10)
        Gated.gate.set()
        await first
        errors = await asyncio.gather(*bad, return_exceptions=True)
        assert [str(error) for error in errors] == [
            *("something in this batch is bad", "wrong", "it cannot be read")
        ]
        assert [[word.text for word in words] for words in before] == [["one"]] * 3
        assert [word.text for word in await good] == ["one", "two", "three"]

    run(scenario)


def test_a_wrong_number_of_results_is_an_error_for_all_of_the_batch(
    run: Callable[..., None],
) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        others = [asyncio.create_task(calls.echo(text)) for text in ("few", "one")]
        await calls.waiting(2)
        Gated.gate.set()
        await first
        found = await asyncio.gather(*others, return_exceptions=True)
        assert [type(item) for item in found] == [Internal, Internal]

    run(scenario)


def test_streams_with_other_parameters_never_share_a_batch(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        marks = ["!", "?", "!", ""]
        others = [asyncio.create_task(calls.echo("a", "b", mark=mark)) for mark in marks]
        await calls.waiting(8)
        Gated.gate.set()
        await first
        for mark, words in zip(marks, await asyncio.gather(*others), strict=True):
            together = 4 if mark == "!" else 2
            assert words == [Word(f"a{mark}", together), Word(f"b{mark}", together)]

    run(scenario)


def test_long_streams_keep_their_order(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        texts = [f"{number:04}" for number in range(1000)]
        found = await asyncio.gather(*(calls.echo(*texts) for _ in range(4)))
        for words in found:
            assert [word.text for word in words] == texts

    run(scenario, threads=3)


def test_a_stream_is_answered_while_it_is_open(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        end, found = asyncio.Event(), list[Word]()
        stream = asyncio.create_task(calls.into(found, "one", "two", end=end))
        await until(lambda: len(found) == 2, "the answers")
        end.set()
        await stream

    run(scenario)


def test_the_items_of_a_caller_that_has_gone_away_are_not_run(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        gone = asyncio.create_task(calls.echo("gone", "gone"))
        stays = asyncio.create_task(calls.echo("stays"))
        await calls.waiting(3)
        gone.cancel()
        await asyncio.wait([gone])
        Gated.gate.set()
        await first
        assert [word.text for word in await stays] == ["stays"]

    run(scenario)
    assert not any("gone" in texts for texts in Gated.seen)


def test_a_stream_that_finds_the_queue_full_is_refused_and_later_items_wait(
    run: Callable[..., None],
) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        long = asyncio.create_task(calls.echo(*(f"{number}" for number in range(20))))
        await calls.waiting(2)
        with pytest.raises(ResourceExhausted, match=r"2 calls of model 'joins' wait.*queue_limit"):
            await calls.echo("too many")
        Gated.gate.set()
        await first
        assert [word.text for word in await long] == [f"{number}" for number in range(20)]

    run(scenario, queue_limit=2)


def test_no_more_is_taken_from_a_caller_than_a_batch_or_two(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        first = await calls.hold()
        others = [asyncio.create_task(calls.echo(*["x" * 1000] * 2000)) for _ in range(9)]
        await until(lambda: calls.figures().waiting > 200, "the queue")
        await asyncio.sleep(0.1)
        # Beside these, a quarter of a megabyte of each stream waits as it came.
        assert calls.figures().waiting < 600
        assert calls.sent < 9 * 600
        for stream in others:
            stream.cancel()
        await asyncio.wait(others)
        Gated.gate.set()
        await first

    run(scenario)


def test_an_empty_stream_is_refused(run: Callable[..., None]) -> None:
    async def scenario(calls: Caller) -> None:
        with pytest.raises(InvalidArgument, match="expected at least one"):
            await calls.echo()

    run(scenario)


@pytest.mark.parametrize("settings", [{"max_batch_size": 1}, {"mode": "inline"}])
def test_where_there_are_no_batches_the_method_reads_its_stream(
    run: Callable[..., None], settings: dict[str, Any]
) -> None:
    async def scenario(calls: Caller) -> None:
        assert [word.text for word in await calls.echo("a", "b")] == ["alone a", "alone b"]

    run(scenario, **settings)


def test_a_batch_method_that_does_not_fit_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Unfit(Joins):
        def echo_batch(  # type: ignore[override] # to see what is said of it
            self, number: int
        ) -> list[Any]:
            raise AssertionError("nobody asked for it")

    async def scenario() -> None:
        async with caller(tmp_path) as calls:
            assert [word.text for word in await calls.echo("a")] == ["alone a"]

    with registered(Unfit):
        asyncio.run(scenario())
    assert "echo_batch whose parameters do not fit those of echo" in caplog.text
