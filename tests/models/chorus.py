"""Modules that make batches, for replicas to run: of ordinary and of `async def` methods."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.modules import ModuleBase, RequestContext, TaskBase, module, task


@dataobject("tests.chorus")
class Sung(DataObjectBase):
    text: str
    together: int


@task(
    unary_parameters={"text": str},
    unary_output_type=Sung,
    streaming_parameters={"texts": Iterable[str]},
    streaming_output_type=Iterable[Sung],
)
class SingTask(TaskBase):
    pass


class Singers(ModuleBase):
    """Wait for the file that a text of `hold` names; die together with a text of `die`.

    That also waits, for the file of the same name that ends in `.go`; once it has killed, there is
    the one that it names.
    """

    @classmethod
    def load(cls, model_path: str) -> "Singers":
        return cls()

    def begin(self, text: str) -> Path | None:
        """Begins a song that is sung alone; gives the file that it waits for."""
        verb, _, file = text.partition(" ")
        if verb == "bad":
            raise ValueError("it will not sing that")
        if verb != "hold":
            return None
        Path(f"{file}.begun").touch()
        return Path(file)

    def end(self, file: Path | None) -> None:
        """Ends one before its time."""
        Path(f"{file}.ended").touch()

    def death(self, text: list[str]) -> Path | None:
        """The file that some texts wait for before they die together."""
        for item in text:
            verb, _, file = item.partition(" ")
            # Once: what is run again finds the file.
            if verb == "die" and not Path(file).exists():
                return Path(f"{file}.go")
        return None

    def sing(self, text: list[str]) -> Sequence[Any]:
        for item in text:
            verb, _, file = item.partition(" ")
            if verb == "die" and not Path(file).exists():
                Path(file).touch()
                os.kill(os.getpid(), signal.SIGSEGV)
                time.sleep(10)  # until it is delivered
            if verb == "bad":
                raise ValueError("something in this batch is bad")
        if "short" in text:
            return [Sung(text="short", together=1)]
        return [Sung(text=item, together=len(text)) for item in text]

    def measure(self, text: str) -> int:
        return int(text) if text.isdigit() else 1


@module("00110203-0405-0607-0809-0a0b02dd0e13", "Chorus", "1.0.0", SingTask)
class Chorus(Singers):
    """In threads."""

    @SingTask.taskmethod(context_arg="context")
    def run(self, text: str, context: RequestContext | None = None) -> Sung:
        file = self.begin(text)
        while file is not None and not file.exists():
            time.sleep(0.005)
        return Sung(text=text, together=1)

    def run_batch(self, text: list[str]) -> Sequence[Any]:
        file = self.death(text)
        while file is not None and not file.exists():
            time.sleep(0.005)
        return self.sing(text)


@module("00110203-0405-0607-0809-0a0b02dd0e1b", "Later chorus", "1.0.0", SingTask)
class LaterChorus(Singers):
    """On the event loop, its streams too. What is ended while it waits says so in a file."""

    @SingTask.taskmethod(context_arg="context")
    async def run(self, text: str, context: RequestContext | None = None) -> Sung:
        file = self.begin(text)
        try:
            while file is not None and not file.exists():  # noqa: ASYNC110 -- of another process
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.end(file)
            raise
        return Sung(text=text, together=1)

    async def run_batch(self, text: list[str]) -> Sequence[Any]:  # type: ignore[override] # as `run`
        await asyncio.sleep(0)
        file = self.death(text)
        while file is not None and not file.exists():  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.005)
        return self.sing(text)

    @SingTask.taskmethod(input_streaming=True, output_streaming=True)
    async def echo(self, texts: DataStream[str]) -> AsyncIterator[Sung]:
        async for text in texts:
            yield Sung(text=text, together=0)

    async def echo_batch(self, texts: list[str]) -> Sequence[Any]:
        while (file := self.begin(texts[0])) is not None and not file.exists():  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.005)
        return self.sing(texts)
