"""The tasks and the modules that do them."""

import asyncio
import logging
import time
from pathlib import Path

from kitfox import DataStream, ModuleBase, ModuleSaver, RequestContext, TaskBase, module, task

from .notes import Count, Note, Report


@task(unary_parameters={"note": Note}, unary_output_type=Report)
class RunTask(TaskBase):
    """Does an errand."""


@task(unary_parameters={"words": list[str]}, unary_output_type=Count)
class CountTask(TaskBase):
    """Counts."""


class Held:
    """An errand that waits in a folder: it notes that it began, and ends when told."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        with (self.folder / "begun").open("a") as begun:
            begun.write("x")

    @property
    def may_go(self) -> bool:
        return (self.folder / "go").exists()

    def note(self, name: str) -> None:
        (self.folder / name).touch()


@module("70000000-0000-4000-8000-000000000001", "PlainErrands", "1.0.0", task=RunTask)
class PlainErrands(ModuleBase):
    """Works in a thread."""

    @RunTask.taskmethod(context_arg="context")
    def do(
        self,
        note: Note,
        extra: str | bytes = "none",
        times: int = 1,
        context: RequestContext | None = None,
    ) -> Report:
        """Does what the note says; not called `run`."""
        verb, _, rest = note.text.partition(" ")
        if verb == "refuse":
            raise ValueError(rest)
        if verb == "crash":
            raise RuntimeError("the secret cause")
        if verb == "nothing":
            return None  # type: ignore[return-value] # to see what is said of it
        if verb == "misfit":
            return Report(text=5)  # type: ignore[arg-type] # to see what is said of it
        if verb == "hold":
            held = Held(rest)
            while not held.may_go:
                time.sleep(0.01)
                if context is not None and context.cancelled:
                    held.note("told")
            held.note("ended")
        if verb == "tell":
            logging.getLogger("kitfox.errands").info("The job is told of")
            assert context is not None
            return Report(text=f"{context.model_id} {context.request_id}")
        return Report(text=f"{note.text} {note.tags} {extra!r} {times}")

    @classmethod
    def train(cls, notes: DataStream[Note]) -> "PlainErrands":
        """Learns nothing."""
        return cls()

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path=model_path):
            pass

    @classmethod
    def load(cls, model_path: str) -> "PlainErrands":
        return cls()


@module("70000000-0000-4000-8000-000000000002", "PatientErrands", "1.0.0", task=RunTask)
class PatientErrands(ModuleBase):
    """Works on the event loop."""

    @RunTask.taskmethod()
    async def run(self, note: Note) -> Report:
        """Waits where it is told to."""
        held = Held(note.text)
        try:
            while not held.may_go:  # noqa: ASYNC110 -- the word comes from another process
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            held.note("stopped")
            raise
        return Report(text="done")

    @classmethod
    def load(cls, model_path: str) -> "PatientErrands":
        return cls()


@module("70000000-0000-4000-8000-000000000003", "Counter", "1.0.0", task=CountTask)
class Counter(ModuleBase):
    """Does the other task."""

    def run(self, words: list[str]) -> Count:
        """Counts."""
        return Count(number=len(words))

    @classmethod
    def load(cls, model_path: str) -> "Counter":
        return cls()
