"""The context of a training that is a job: what `train` tells on its way to the job store."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox.modules.training_context import TrainingContext, enter_training, training_context
from kitfox.training.checkpoints import Checkpoints
from kitfox.training.jobs import Job, Progress

if TYPE_CHECKING:
    from kitfox.modules import ModuleBase

__all__ = ["JobContext", "Stopped", "TrainingContext", "enter_training", "training_context"]

_MOST_METRICS = 200


class Stopped(BaseException):
    """Raised in the thread of `train` to end it early, with a checkpoint that is to be kept."""


class JobContext(TrainingContext):
    """The context of a training that is a job.

    Args:
        job: The record of the job.
        checkpoints: Where its checkpoints are written.
        tell: Called with each new checkpoint's path; it is in the store if that is True.
    """

    def __init__(
        self,
        job: Job,
        *,
        checkpoints: Checkpoints | None = None,
        tell: Callable[[Path], bool] = lambda path: True,
    ) -> None:
        super().__init__()
        self.job = job
        self._checkpoints = checkpoints or Checkpoints(job)
        self._tell = tell
        self._progress: Progress | None = None
        self._reports = False
        self._stop = threading.Event()
        self._asks = False
        self._resume: Path | None = None
        self._looked = False

    @property
    def id(self) -> str:
        """The training id."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """Which attempt of the job this is."""
        return self.job.attempt

    @property
    def should_stop(self) -> bool:
        """Whether somebody asked the training to end early and to keep what it has."""
        self._asks = True
        return self._stop.is_set()

    @property
    def progress(self) -> Progress | None:
        """What was reported last, or what a progress bar shows."""
        return self._progress

    @property
    def checkpoint_dir(self) -> Path:
        """The folder for files of the training's own, beside its checkpoints."""
        return self._checkpoints.files

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint: of this attempt, or what an earlier one has left."""
        with self._lock:
            if self._last is None and not self._looked:
                self._last = self._checkpoints.to_resume()
                self._looked = True
            return self._last

    def report(self, step: int, total: int | None = None, **metrics: float) -> None:
        """Keeps the progress until the next sign of life takes it to the store."""
        super().report(step, total, **metrics)
        self._reports = True
        # Plain numbers, whatever NumPy or a tensor library gives.
        self._note(int(step), None if total is None else int(total), metrics, "")

    def note_bar(
        self, done: float | None, total: float | None, metrics: Mapping[str, float], label: str
    ) -> None:
        """Takes what a progress bar shows as the progress, unless `train` reports by itself.

        Args:
            done: The bar's position; None if there are figures alone.
            total: Its end, where that is known.
            metrics: The figures beside it.
            label: Its text.
        """
        if self._reports or done is None:
            self._note(None, None, metrics, "")
        else:
            self._step = int(done)
            self._note(int(done), None if total is None else int(total), metrics, label)

    def checkpoint(self, model: "ModuleBase", step: int | None = None) -> Path:
        """Saves the model as it is now, seals it, and tells the store.

        A training that is to stop, and does not look at `should_stop`, ends here.
        """
        place = self._checkpoints.save(model, self._step if step is None else step)
        with self._lock:
            self._last, self._looked = place, True
        if self._tell(place):
            self._checkpoints.drop_old(place)
        if self._stop.is_set() and not self._asks and _is_main_thread():
            raise Stopped
        return place

    def stop(self) -> None:
        """Has `should_stop` be True from now on."""
        self._stop.set()

    def _note(
        self, step: int | None, total: int | None, metrics: Mapping[str, float], message: str
    ) -> None:
        with self._lock:
            before = self._progress or Progress()
            found = {name: float(value) for name, value in metrics.items()}
            if step is None:
                step, total, fraction = before.step, before.total, before.fraction
                message = before.message
            else:
                fraction = min(1.0, max(0.0, step / total)) if total else None
            self._progress = Progress(
                fraction=fraction,
                step=step,
                total=total,
                metrics=_newest({**before.metrics, **found}),
                message=message,
            )


def _newest(metrics: dict[str, float]) -> dict[str, float]:
    """No more than a record can hold, should a training name each step's figure anew."""
    return dict(list(metrics.items())[-_MOST_METRICS:])


def _is_main_thread() -> bool:
    """Only there an exception ends `train`; in a thread of its own it would be lost."""
    return threading.current_thread() is threading.main_thread()
