"""How a training in a worker tells how far it is, from inside `train`."""

from kitfox.modules.training_context import TrainingContext, enter_training, training_context
from kitfox.training.jobs import Job, Progress

__all__ = ["JobContext", "TrainingContext", "enter_training", "training_context"]


class JobContext(TrainingContext):
    """The context of a training that is a job.

    Args:
        job: The record of the job.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self._progress: Progress | None = None

    @property
    def id(self) -> str:
        """The training id."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """Which attempt of the job this is."""
        return self.job.attempt

    @property
    def progress(self) -> Progress | None:
        """What was reported last."""
        return self._progress

    def report(self, step: int, total: int | None = None, **metrics: float) -> None:
        """Keeps the progress until the next sign of life takes it to the store."""
        super().report(step, total, **metrics)
        fraction = min(1.0, max(0.0, step / total)) if total else None
        with self._lock:
            before = self._progress.metrics if self._progress else {}
            self._progress = Progress(
                fraction=fraction,
                step=step,
                total=total,
                metrics={**before, **{name: float(value) for name, value in metrics.items()}},
            )
