"""What `train` is told about its training, and what it may tell: progress, log, checkpoints.

    @classmethod
    def train(cls, data: DataStream[Row], context: TrainingContext) -> "Greeter":
        model = context.load_checkpoint() or cls()
        for step in range(model.step + 1, 101):
            ...
            context.report(step, 100, loss=loss)
            context.checkpoint(model, step)
            if context.should_stop:
                break
        return model

`train` gets a context if it has a parameter of that type, which no caller sees. The class here is
for a `train` that is called directly, by a test or in a notebook; a job's worker has one of its
own that tells the job store.
"""

import contextlib
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitfox.modules.module_class import ModuleBase

__all__ = ["TrainingContext", "enter_training", "training_context"]

log = logging.getLogger("kitfox.TRAINING")


class TrainingContext:
    """A training, as its module sees it. All of it may be used from any thread.

    One that is made without a job keeps its checkpoints in a temporary folder, for as long as the
    object lives, and its progress to itself.
    """

    def __init__(self) -> None:
        self._temporary: Path | None = None
        self._step = 0
        self._last: Path | None = None
        self._lock = threading.RLock()

    @property
    def id(self) -> str:
        """The training id; empty outside a job."""
        return ""

    @property
    def attempt(self) -> int:
        """1, or more if the training was begun again after its worker had died."""
        return 1

    @property
    def should_stop(self) -> bool:
        """Whether somebody asked the training to end early and to keep what it has.

        A `train` that looks at it returns the model as it is then, which is saved and published
        as ever. Without, the last checkpoint is published.
        """
        return False

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for files of the training's own, such as an optimizer's state.

        What lies there is found by the next attempt, and is removed when the training has ended.
        """
        with self._lock:
            if self._temporary is None:
                self._temporary = Path(tempfile.mkdtemp(prefix="kitfox-training-"))
                weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
            return self._temporary

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint: a whole model's folder. None if there is none.

        At the begin it is one that an earlier attempt has left, to be gone on from.
        """
        return self._last

    def report(self, step: int, total: int | None = None, **metrics: float) -> None:
        """Tells how far the training is; cheap, so it may be called at every step.

        Args:
            step: The step that is done.
            total: How many there will be, where that is known.
            metrics: What was measured, such as `loss=0.3`; each name keeps its newest value.
        """
        self._step = step

    def log(self, message: str) -> None:
        """Writes a line to the training's log."""
        log.info("%s", message)

    def checkpoint(self, model: "ModuleBase", step: int | None = None) -> Path:
        """Saves the model as it is now: if the training is broken off, it can go on from here.

        A checkpoint is a model like any other: whole, synced to the disk, and loadable. Of several
        the newest ones are kept.

        Args:
            model: What `train` would return, had it to return now.
            step: The step that is done; the one that was reported last, unless given.

        Returns:
            The folder.
        """
        number = self._step if step is None else step
        place = self.checkpoint_dir / f"{self.attempt}-{number}"
        model.save(str(place))
        self._last = place
        return place

    def load_checkpoint(self) -> "ModuleBase | None":
        """The model of `last_checkpoint`, loaded; None if there is none."""
        if self.last_checkpoint is None:
            return None
        from kitfox.modules.loader import load_model

        return load_model(str(self.last_checkpoint))


_current: list[TrainingContext] = []
"""The context of this process's training: a process has one, for all its threads."""


@contextlib.contextmanager
def enter_training(context: TrainingContext) -> Iterator[None]:
    """Makes a context the one that `training_context` gives, as the worker does around `train`."""
    _current.append(context)
    try:
        yield
    finally:
        _current.remove(context)


def training_context() -> TrainingContext:
    """The context of the training that this process runs, or one that keeps things to itself.

    For code that `train` calls; `train` itself may have it as a parameter.
    """
    return _current[-1] if _current else TrainingContext()
