"""A module with a method of every call shape, which counts how many of its calls run together."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.modules import ModuleBase, TaskBase, module, task

__all__ = ["Crowd", "CrowdBatches", "SeenInCrowd"]


@dataobject("tests.crowd")
class SeenInCrowd(DataObjectBase):
    text: str
    most: int


@task(
    unary_parameters={"text": str},
    unary_output_type=SeenInCrowd,
    streaming_parameters={"texts": Iterable[str]},
    streaming_output_type=Iterable[SeenInCrowd],
)
class CrowdTask(TaskBase):
    pass


@task(
    unary_parameters={"text": str},
    unary_output_type=SeenInCrowd,
    streaming_parameters={"texts": Iterable[str]},
    streaming_output_type=Iterable[SeenInCrowd],
)
class LaterTask(TaskBase):
    pass


def is_held(text: str) -> bool:
    return text.startswith("/") and not Path(text).exists()


@module("00110203-0405-0607-0809-0a0b02dd0e14", "Crowd", "1.0.0", tasks=[CrowdTask, LaterTask])
class Crowd(ModuleBase):
    """A text that is the path of a file is held until that is there, any other for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.most = 0
        self.lock = threading.Lock()

    @classmethod
    def load(cls, model_path: str) -> "Crowd":
        return cls()

    @contextlib.contextmanager
    def counted(self, text: str) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        if text.startswith("/"):
            Path(f"{text}.begun").touch()
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1

    def work(self, text: str) -> SeenInCrowd:
        with self.counted(text):
            time.sleep(0.005)
            while is_held(text):
                time.sleep(0.005)
        return SeenInCrowd(text, self.most)

    async def work_on_loop(self, text: str) -> SeenInCrowd:
        with self.counted(text):
            await asyncio.sleep(0.005)
            while is_held(text):  # noqa: ASYNC110 -- another process makes the file
                await asyncio.sleep(0.005)
        return SeenInCrowd(text, self.most)

    @CrowdTask.taskmethod()
    def run(self, text: str) -> SeenInCrowd:
        return self.work(text)

    @CrowdTask.taskmethod(output_streaming=True)
    def split(self, text: str) -> Iterable[SeenInCrowd]:
        for part in text.split():
            yield self.work(part)

    @CrowdTask.taskmethod(input_streaming=True)
    def join(self, texts: DataStream[str]) -> SeenInCrowd:
        return [self.work(text) for text in texts][-1]

    @CrowdTask.taskmethod(input_streaming=True, output_streaming=True)
    def echo(self, texts: DataStream[str]) -> Iterable[SeenInCrowd]:
        for text in texts:
            yield self.work(text)

    @LaterTask.taskmethod()
    async def later(self, text: str) -> SeenInCrowd:
        return await self.work_on_loop(text)

    @LaterTask.taskmethod(output_streaming=True)
    async def later_split(self, text: str) -> AsyncIterator[SeenInCrowd]:
        for part in text.split():
            yield await self.work_on_loop(part)

    @LaterTask.taskmethod(input_streaming=True, output_streaming=True)
    async def later_echo(self, texts: DataStream[str]) -> Iterable[SeenInCrowd]:
        """Reads on the event loop, and makes its results in a thread."""
        found = [text async for text in texts]
        return (self.work(text) for text in found)


@module("00110203-0405-0607-0809-0a0b02dd0e15", "Choirs", "1.0.0", tasks=[CrowdTask, LaterTask])
class CrowdBatches(Crowd):
    """The same, with batches."""

    def run_batch(self, text: list[str]) -> list[SeenInCrowd]:
        return [self.work("+".join(text)), *(SeenInCrowd(item, self.most) for item in text[1:])]
