"""An author's package as workers import it: modules whose trainings end in every possible way."""

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional, Self

from kitfox.data import DataStream
from kitfox.modules import ModuleBase, ModuleLoader, ModuleSaver, module
from kitfox.training import TrainingContext, training_context

from .rows import Row
from .stepping import Chatty, Plain, Stepper

__all__ = [
    "Chatty",
    "Counter",
    "Crash",
    "Empty",
    "Endless",
    "Family",
    "Hesitant",
    "Plain",
    "Raiser",
    "Row",
    "Stepper",
    "Stubborn",
    "Talker",
    "Tireless",
    "Unsaved",
    "Waiter",
]


class Kept(ModuleBase):
    """A module whose model is one JSON value."""

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.value = value

    @classmethod
    def load(cls, model_path: str) -> Self:
        loader = ModuleLoader(model_path)
        return cls(loader.config.value)

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path=model_path) as saver:
            saver.update_config({"value": self.value})


@module("aaaaaaaa-0000-0000-0000-000000000001", "Empty", "1.0.0")
class Empty(Kept):
    """Trains nothing."""

    @classmethod
    def train(cls) -> "Empty":
        return cls("nothing")


@module("aaaaaaaa-0000-0000-0000-000000000002", "Counter", "1.2.3")
class Counter(Kept):
    """Counts what it is given."""

    @classmethod
    def train(
        cls,
        rows: DataStream[Row],
        words: Optional[list[str]] = None,  # noqa: UP045 -- as authors write it
        factor: int = 1,
        base: Optional[Empty] = None,  # noqa: UP045 -- as above
    ) -> "Counter":
        found = list(rows)
        return cls(
            {
                "rows": len(found),
                "sum": sum(row.number for row in found) * factor,
                "words": words,
                "base": None if base is None else base.value,
                "cwd": str(Path.cwd()),
            }
        )


@module("aaaaaaaa-0000-0000-0000-000000000003", "Raiser", "1.0.0")
class Raiser(Kept):
    """Raises."""

    @classmethod
    def train(cls, kind: str = "ValueError") -> "Raiser":
        print("about to raise")  # noqa: T201 -- as authors do
        if kind == "exit":
            sys.exit(4)
        if kind == "KeyError":
            raise KeyError("absent")
        if kind == "silent":
            raise RuntimeError
        raise ValueError("the words do not rhyme")


@module("aaaaaaaa-0000-0000-0000-000000000004", "Crash", "1.0.0")
class Crash(Kept):
    """Ends its process."""

    @classmethod
    def train(cls, how: str) -> "Crash":
        os.write(2, b"last words\n")
        if how == "exit":
            os._exit(7)
        os.kill(os.getpid(), signal.Signals[how])
        time.sleep(60)
        return cls()


@module("aaaaaaaa-0000-0000-0000-000000000005", "Waiter", "1.0.0")
class Waiter(Kept):
    """Waits until a file is there."""

    @classmethod
    def train(cls, gate: str) -> "Waiter":
        while not Path(gate).exists():
            time.sleep(0.01)
        return cls("waited")


@module("aaaaaaaa-0000-0000-0000-000000000006", "Family", "1.0.0")
class Family(Kept):
    """Has a child and a grandchild of another session, and waits for ever."""

    @classmethod
    def train(cls, note: str) -> "Family":
        child = subprocess.Popen(["/usr/bin/sleep", "300"])
        daemon = subprocess.Popen(
            ["/bin/sh", "-c", "sleep 300 & echo $!; wait"],
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        assert daemon.stdout is not None
        grandchild = int(daemon.stdout.readline())
        try:
            # Whoever reads it may ask for the end at once.
            write_whole(note, json.dumps([os.getpid(), child.pid, daemon.pid, grandchild]))
            time.sleep(300)
        finally:
            write_whole(note + ".finally", "seen")
        return cls()


@module("aaaaaaaa-0000-0000-0000-000000000007", "Stubborn", "1.0.0")
class Stubborn(Kept):
    """Does not end when asked to."""

    @classmethod
    def train(cls, note: str) -> "Stubborn":
        write_whole(note, str(os.getpid()))
        while True:
            try:
                time.sleep(300)
            except BaseException:
                logging.exception("never")


@module("aaaaaaaa-0000-0000-0000-000000000008", "Talker", "1.0.0")
class Talker(Kept):
    """Reports and prints."""

    @classmethod
    def train(cls, gate: str, context: TrainingContext) -> "Talker":
        assert training_context() is context
        context.report(1, 4, loss=0.5)
        context.log("told to the context")
        print("on standard output")  # noqa: T201 -- as authors do
        os.write(2, b"from C\n")
        logging.getLogger("anything").info("logged")
        subprocess.run(["/bin/echo", "from a child"], check=True)
        while not Path(gate).exists():
            time.sleep(0.01)
        context.report(4, 4, loss=0.25, accuracy=1)
        return cls("talked")


@module("aaaaaaaa-0000-0000-0000-000000000009", "Unsaved", "1.0.0")
class Unsaved(Kept):
    """Cannot be saved."""

    @classmethod
    def train(cls, manner: str) -> Any:
        return cls(manner) if manner != "no module" else {"a": "dict"}

    def save(self, model_path: str) -> None:
        if self.value == "raises":
            Path(model_path).mkdir()
            Path(model_path, "half").touch()
            raise OSError(28, "No space left on device")


@module("aaaaaaaa-0000-0000-0000-000000000010", "Endless", "1.0.0")
class Endless(Kept):
    """Leaves a thread behind that never ends."""

    @classmethod
    def train(cls) -> "Endless":
        threading.Thread(target=lambda: time.sleep(300)).start()
        return cls("endless")


@module("aaaaaaaa-0000-0000-0000-000000000015", "Hesitant", "1.0.0")
class Hesitant(Kept):
    """Never ends saving."""

    @classmethod
    def train(cls, note: str) -> "Hesitant":
        return cls(note)

    def save(self, model_path: str) -> None:
        super().save(model_path)
        write_whole(self.value, model_path)
        time.sleep(300)


@module("aaaaaaaa-0000-0000-0000-000000000029", "Tireless", "1.0.0")
class Tireless(Kept):
    """Saves one small file after the other, for ever."""

    @classmethod
    def train(cls, note: str) -> "Tireless":
        return cls(note)

    def save(self, model_path: str) -> None:
        write_whole(self.value, model_path)
        for number in itertools.count():
            with contextlib.suppress(OSError):
                Path(model_path).mkdir(exist_ok=True, parents=True)
                Path(model_path, str(number)).touch()


def write_whole(path: str, text: str) -> None:
    """Writes a file that is seen whole or not at all."""
    Path(path + "~").write_text(text)
    Path(path + "~").rename(path)
