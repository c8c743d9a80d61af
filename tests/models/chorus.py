"""A module that makes batches, for replicas to run."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules import ModuleBase, RequestContext, TaskBase, module, task


@dataobject("tests.chorus")
class Sung(DataObjectBase):
    text: str
    together: int


@task(unary_parameters={"text": str}, unary_output_type=Sung)
class SingTask(TaskBase):
    pass


@module("00110203-0405-0607-0809-0a0b02dd0e13", "Chorus", "1.0.0", SingTask)
class Chorus(ModuleBase):
    """Waits for the file that a text of `hold` names; dies together with a text of `die`."""

    @classmethod
    def load(cls, model_path: str) -> "Chorus":
        return cls()

    @SingTask.taskmethod(context_arg="context")
    def run(self, text: str, context: RequestContext | None = None) -> Sung:
        verb, _, file = text.partition(" ")
        if verb == "hold":
            Path(f"{file}.begun").touch()
            while not Path(file).exists():
                time.sleep(0.005)
        if verb == "bad":
            raise ValueError("it will not sing that")
        return Sung(text=text, together=1)

    def run_batch(self, text: list[str]) -> Sequence[Any]:
        for item in text:
            verb, _, file = item.partition(" ")
            # Once: what is run again finds the file.
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
