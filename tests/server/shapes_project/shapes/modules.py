import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator

from kitfox import DataStream, ModuleBase, RequestContext, TaskBase, module, task

from .journal import journal
from .words import Word

log = logging.getLogger("shapes")


@task(
    unary_parameters={"text": str},
    streaming_parameters={"texts": Iterable[str]},
    unary_output_type=Word,
    streaming_output_type=Iterable[Word],
)
class TalkTask(TaskBase):
    """Says words."""


@task(unary_parameters={"text": str}, unary_output_type=Word)
class JournalTask(TaskBase):
    """What the module has noted."""


@task(unary_parameters={"text": str}, unary_output_type=Word)
class ContextTask(TaskBase):
    """What the context says."""


def describe(context: RequestContext | None, key: str) -> str:
    assert context is not None
    if key == "model_id":
        return context.model_id
    if key == "request_id":
        return context.request_id
    if key == "deadline":
        left = context.time_remaining()
        return "none" if left is None else f"{left:.1f}"
    return context.metadata.get(key, "nothing")


@module(
    "aaaaaaaa-0000-4000-8000-000000000001",
    "Plain",
    "1.0.0",
    tasks=[TalkTask, JournalTask, ContextTask],
)
class PlainShapes(ModuleBase):
    @classmethod
    def load(cls, model_path: str) -> "PlainShapes":
        return cls()

    @TalkTask.taskmethod(context_arg="context")
    def one(
        self, text: str, pause: float = 0.0, size: int = 0, context: RequestContext | None = None
    ) -> Word:
        journal.note("one started")
        log.warning("one says %s", text)
        end = time.monotonic() + pause
        while time.monotonic() < end:
            if context is not None and context.cancelled:
                journal.note("one saw the cancellation")
                break
            time.sleep(0.01)
        journal.note("one ended")
        return Word(text + "x" * size, 0)

    @TalkTask.taskmethod(output_streaming=True)
    def many(
        self, text: str, count: int = 3, pause: float = 0.0, size: int = 0, fail_at: int = -1
    ) -> DataStream[Word]:
        return DataStream(self._words, text, count, pause, size, fail_at)

    def _words(
        self, text: str, count: int, pause: float, size: int, fail_at: int
    ) -> Iterator[Word]:
        journal.note("many started")
        try:
            for number in range(count):
                if number == fail_at:
                    raise ValueError(f"no word {number}")
                if pause:
                    time.sleep(pause)
                yield Word(text + "x" * size, number)
            journal.note("many ended")
        finally:
            journal.note("many closed")

    @TalkTask.taskmethod(input_streaming=True)
    def gather(self, texts: DataStream[str], separator: str = " ") -> Word:
        journal.note("gather started")
        found = list(texts)
        journal.note("gather ended")
        return Word(separator.join(found), len(found))

    @TalkTask.taskmethod(input_streaming=True, output_streaming=True)
    def answer(self, texts: DataStream[str], pause: float = 0.0) -> Iterable[Word]:
        journal.note("answer started")
        try:
            for number, text in enumerate(texts):
                if pause:
                    time.sleep(pause)
                yield Word(text.upper(), number)
        finally:
            journal.note("answer closed")

    @JournalTask.taskmethod()
    def journal(self, text: str) -> Word:
        return Word(journal.read(), 0)

    @ContextTask.taskmethod(context_arg="context")
    def context(self, text: str, context: RequestContext | None = None) -> Word:
        return Word(describe(context, text), 0)


@module(
    "aaaaaaaa-0000-4000-8000-000000000002", "Asynchronous", "1.0.0", tasks=[TalkTask, ContextTask]
)
class AsynchronousShapes(ModuleBase):
    @classmethod
    def load(cls, model_path: str) -> "AsynchronousShapes":
        return cls()

    @TalkTask.taskmethod()
    async def one(self, text: str, pause: float = 0.0, size: int = 0) -> Word:
        journal.note("async one started")
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            journal.note("async one was cancelled")
            raise
        return Word(text + "x" * size, 0)

    @TalkTask.taskmethod(output_streaming=True)
    async def many(
        self, text: str, count: int = 3, pause: float = 0.0, size: int = 0, fail_at: int = -1
    ) -> AsyncIterator[Word]:
        journal.note("async many started")
        try:
            for number in range(count):
                if number == fail_at:
                    raise ValueError(f"no word {number}")
                if pause:
                    await asyncio.sleep(pause)
                yield Word(text + "x" * size, number)
        finally:
            journal.note("async many closed")

    @TalkTask.taskmethod(input_streaming=True)
    async def gather(self, texts: DataStream[str], separator: str = " ") -> Word:
        found = [text async for text in texts]
        return Word(separator.join(found), len(found))

    @TalkTask.taskmethod(input_streaming=True, output_streaming=True)
    async def answer(self, texts: DataStream[str], pause: float = 0.0) -> AsyncIterator[Word]:
        journal.note("async answer started")
        try:
            number = 0
            async for text in texts:
                await asyncio.sleep(pause)
                yield Word(text.upper(), number)
                number += 1
        finally:
            journal.note("async answer closed")

    @ContextTask.taskmethod(context_arg="context")
    async def context(self, text: str, context: RequestContext | None = None) -> Word:
        return Word(describe(context, text), 0)
