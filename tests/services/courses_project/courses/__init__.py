"""A library whose trainings can be held, watched and ended from outside."""

import os
import sys
import time
from pathlib import Path

from kitfox import (
    DataObjectBase,
    DataStream,
    ModuleBase,
    ModuleLoader,
    ModuleSaver,
    TaskBase,
    dataobject,
    module,
    task,
)
from kitfox.modules import TrainingContext

# What trains may be started by another Python than what serves.
sys.executable = os.environ.get("COURSES_PYTHON", sys.executable)


@dataobject("courses")
class Line(DataObjectBase):
    """What is learned, and what is said of it."""

    text: str


@task(unary_parameters={"line": Line}, unary_output_type=Line)
class ReciteTask(TaskBase):
    """Recites."""


@module("71000000-0000-4000-8000-000000000001", "Pupil", "1.0.0", task=ReciteTask)
class Pupil(ModuleBase):
    """Learns lines by heart."""

    def __init__(self, lines: list[str], weight: int = 0, slow: str = "") -> None:
        super().__init__()
        self.lines = lines
        self.weight = weight
        self.slow = slow

    def run(self, line: Line) -> Line:
        """Recites all of it."""
        return Line(text="|".join(self.lines))

    @classmethod
    def train(
        cls,
        lines: DataStream[Line],
        hold: str = "",
        steps: int = 2,
        weight: int = 0,
        end: str = "",
        slow: str = "",
        context: TrainingContext | None = None,
    ) -> "Pupil":
        """Learns the lines, as often as there are steps.

        Args:
            lines: What to learn.
            hold: A folder to wait in after the first step, until there is `go` in it.
            steps: How often.
            weight: The size of a file of the model.
            end: `fail`, `memory` or `die`, after the steps.
            slow: A folder to wait in when the model is loaded, until there is `go` in it.
            context: The training.
        """
        assert context is not None
        learned = [line.text for line in lines]
        if context.last_checkpoint is not None:
            os.write(1, f"goes on from {context.last_checkpoint.name}\n".encode())
        model = cls(learned, weight, slow)
        for step in range(1, steps + 1):
            context.report(step, steps, loss=1 / step)
            os.write(1, f"step {step}\n".encode())
            if step == 1 and hold:
                context.checkpoint(model, step)
                _wait(Path(hold), context)
            if context.should_stop:
                os.write(1, b"stopped early\n")
                break
        if end == "fail":
            raise ValueError(f"could not learn {learned}")
        if end == "memory":
            raise MemoryError
        if end == "die":
            os._exit(9)
        return model

    def save(self, model_path: str) -> None:
        """Keeps the lines."""
        with ModuleSaver(self, model_path=model_path) as saver:
            saver.update_config({"lines": self.lines, "slow": self.slow})
        with Path(model_path, "weights").open("wb") as weights:
            if self.weight:  # not a hole: it takes its room on the disk
                os.posix_fallocate(weights.fileno(), 0, self.weight)

    @classmethod
    def load(cls, model_path: str) -> "Pupil":
        """Remembers the lines."""
        config = ModuleLoader(model_path).config
        if config.slow:
            _wait(Path(config.slow))
        return cls(list(config.lines))


def _wait(folder: Path, context: TrainingContext | None = None) -> None:
    with (folder / "begun").open("a") as begun:
        begun.write("x")
    while not (folder / "go").exists() and not (context and context.should_stop):
        time.sleep(0.01)
