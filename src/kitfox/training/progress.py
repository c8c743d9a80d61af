"""How a training tells how far it is, from inside `train`.

    from kitfox.training import training_context

    context = training_context()
    for step, batch in enumerate(batches, 1):
        ...
        context.report(step, total, loss=loss)

Outside a training job (a test, a notebook) the same calls do nothing.
"""

import contextlib
import threading
from collections.abc import Iterator

from kitfox.training.jobs import Job, Progress

__all__ = ["TrainingContext", "enter_training", "training_context"]


class TrainingContext:
    """The running training, as its module sees it.

    Args:
        job: The record of the job; None outside a job.
    """

    def __init__(self, job: Job | None = None) -> None:
        self.job = job
        self._progress: Progress | None = None
        self._lock = threading.Lock()

    @property
    def progress(self) -> Progress | None:
        """What was reported last."""
        return self._progress

    def report(self, step: int, total: int | None = None, **metrics: float) -> None:
        """Tells how far the training is; cheap, so it may be called at every step.

        Args:
            step: The step that is done.
            total: How many there will be, where that is known.
            metrics: What was measured, such as `loss=0.3`; each name keeps its newest value.
        """
        fraction = min(1.0, max(0.0, step / total)) if total else None
        with self._lock:
            before = self._progress.metrics if self._progress else {}
            self._progress = Progress(
                fraction=fraction,
                step=step,
                total=total,
                metrics={**before, **{name: float(value) for name, value in metrics.items()}},
            )


_current: list[TrainingContext] = []
"""The context of this process's training: a process has one, for all its threads."""


@contextlib.contextmanager
def enter_training(context: TrainingContext) -> Iterator[None]:
    """Makes a context the one that `training_context` gives, as the worker does around `train`."""
    _current.append(context)
    try:
        yield
    finally:
        _current.pop()


def training_context() -> TrainingContext:
    """The context of the training that this process runs, or one that keeps things to itself."""
    return _current[-1] if _current else TrainingContext()
