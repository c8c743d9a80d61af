"""A module that trains step by step, keeps checkpoints, and goes on from them."""

import logging
import os
import signal
import time
from typing import Any, Self

from kitfox.data import DataStream
from kitfox.modules import ModuleBase, ModuleLoader, ModuleSaver, TrainingContext, module

from .rows import Row

__all__ = ["Chatty", "Plain", "Stepper"]


class Steps(ModuleBase):
    """A module whose model is, for each step, the attempt that did it, and a file of any size."""

    def __init__(self, done: list[int], size: int = 0) -> None:
        super().__init__()
        self.done = done
        self.size = size

    @classmethod
    def load(cls, model_path: str) -> Self:
        return cls(list(ModuleLoader(model_path).config.done))

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path=model_path) as saver:
            for number in range(2):
                _, path = saver.add_dir(f"part{number}")
                with open(f"{path}/weights", "wb") as stream:  # noqa: PTH123 -- as authors do
                    stream.write(bytes(self.size))
            saver.update_config({"done": self.done})


@module("aaaaaaaa-0000-0000-0000-000000000011", "Stepper", "1.0.0")
class Stepper(Steps):
    """Does steps of 10 ms."""

    @classmethod
    def train(
        cls,
        steps: int,
        context: TrainingContext,
        every: int = 1,
        looks: bool = False,
        die_at: int = 0,
        size: int = 0,
        hold_at: int = 0,
    ) -> "Stepper":
        """Trains.

        Args:
            steps: How many.
            context: Of the training.
            every: After how many a checkpoint is made; 0: none.
            looks: Whether it looks at `should_stop`.
            die_at: The step after which the first attempt is killed.
            size: Bytes of each of the model's files.
            hold_at: The step after which the first attempt goes no further.
        """
        begun: Any = context.load_checkpoint()
        done = [] if begun is None else begun.done
        while len(done) < steps and not (looks and context.should_stop):
            done.append(context.attempt)
            context.report(len(done), steps)
            if every and len(done) % every == 0:
                context.checkpoint(cls(done, size))
            if len(done) == die_at and context.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            while len(done) == hold_at and context.attempt == 1:
                time.sleep(0.01)
            time.sleep(0.01)
        return cls(done, size)


@module("aaaaaaaa-0000-0000-0000-000000000012", "Plain", "1.0.0")
class Plain(Steps):
    """Knows nothing of jobs: shows a bar, as training code does."""

    @classmethod
    def train(cls, rows: DataStream[Row], size: int = 0) -> "Plain":
        from tqdm import tqdm  # type: ignore[import-untyped] # has no types

        done = []
        for row in (bar := tqdm(rows, desc="rows")):
            done.append(row.number)
            bar.set_postfix(sum=sum(done))
        return cls(done, size)


@module("aaaaaaaa-0000-0000-0000-000000000013", "Chatty", "1.0.0")
class Chatty(Steps):
    """Prints and logs more than some disks hold."""

    @classmethod
    def train(cls, size: int) -> "Chatty":
        for _ in range(size // 1000):
            print("x" * 1000)  # noqa: T201 -- as authors do
            logging.getLogger("chatty").warning("y" * 1000)
        return cls([])
