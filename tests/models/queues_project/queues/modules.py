"""The task and the modules that do it."""

import errno
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from kitfox import DataObjectBase, DataStream, ModuleBase, TaskBase, dataobject, module, task
from kitfox.errors import ResourceExhausted


@dataobject("queues.words")
class Word(DataObjectBase):
    """What comes out."""

    text: str
    where: str
    batch: int


@task(
    unary_parameters={"text": str},
    streaming_parameters={"texts": Iterable[str]},
    unary_output_type=Word,
    streaming_output_type=Iterable[Word],
)
class SayTask(TaskBase):
    """Says what it is told."""


def work(text: str) -> None:
    """Waits until the first of the files that are named is there; makes the others."""
    verb, _, files = text.partition(" ")
    if verb == "hold":
        gate, *begun = files.split()
        for file in begun:
            Path(file).touch()
        while not Path(gate).exists():
            time.sleep(0.005)
    if verb == "die":
        os._exit(int(files))
    if verb == "eat":
        held = []
        for _ in range(int(files)):  # megabytes
            held.append(b"x" * 2**20)
            time.sleep(0.0005)
    if verb == "tire":
        raise ResourceExhausted("it is tired", retry_after=float(files))
    if verb == "exit":
        sys.exit(int(files))
    if verb == "interrupt":
        raise KeyboardInterrupt
    if verb == "refuse":
        raise ValueError("it will not say that")


class Loadable(ModuleBase):
    """Loads nothing, but waits or fails as it is told, or ends the process that loads it."""

    @classmethod
    def load(cls, model_path: str) -> "Loadable":
        if Path(model_path, "lethal").exists():
            os._exit(7)
        tired = Path(model_path, "tired")
        if tired.exists():
            noted = tired.parent.with_name(f".{tired.parent.name}.attempts")
            attempts = int(noted.read_text()) + 1 if noted.exists() else 1
            noted.write_text(str(attempts))
            if attempts <= int(tired.read_text()):
                raise OSError(errno.EIO, "the disk is tired")
        while Path(model_path, "closed").exists():
            time.sleep(0.005)
        return cls()


@module("70000000-0000-4000-8000-000000000011", "Plain", "1.0.0", task=SayTask)
class Plain(Loadable):
    """Call by call."""

    def run(self, text: str) -> Word:
        work(text)
        return Word(text=text, where=threading.current_thread().name, batch=1)


@module("70000000-0000-4000-8000-000000000012", "Batched", "1.0.0", task=SayTask)
class Batched(Loadable):
    """What waits together is said together."""

    @SayTask.taskmethod()
    def run(self, text: str) -> Word:
        work(text)
        return Word(text=text, where=threading.current_thread().name, batch=1)

    def run_batch(self, text: list[str]) -> Sequence[Word]:
        for item in text:
            work(item)
        return [
            Word(text=item, where=threading.current_thread().name, batch=len(text)) for item in text
        ]

    @SayTask.taskmethod(input_streaming=True, output_streaming=True)
    def along(self, texts: DataStream[str]) -> Iterable[Word]:
        return map(self.run, texts)

    def along_batch(self, texts: list[str]) -> Sequence[Word]:
        return self.run_batch(texts)


@module("70000000-0000-4000-8000-000000000013", "Selfish", "1.0.0", task=SayTask)
class Selfish(Loadable):
    """Waits on the event loop, as it should not, and so keeps it from everything else."""

    async def run(self, text: str) -> Word:
        work(text)
        return Word(text=text, where=threading.current_thread().name, batch=1)
