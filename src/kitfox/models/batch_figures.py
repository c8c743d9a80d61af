"""What is counted of the batches of one method, wherever they are run."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from kitfox.metrics import BATCH_SIZES
from kitfox.models.batch_queue import BatchCall
from kitfox.models.pace import Progress

__all__ = ["BatchFigures"]

_ADAPTING = 0.02


class BatchFigures:
    """Figures of batches that have been run."""

    def __init__(self) -> None:
        self.calls = 0
        """The calls that have been run."""
        self.progress = Progress(0, 0, 0.0, 0.0)
        """The batches that have been run."""
        self.queue_seconds = 0.0
        """The seconds that calls have waited, together."""
        self.sizes = [0] * (len(BATCH_SIZES) + 1)
        """Batches by size, between the bounds of `BATCH_SIZES`."""
        self._mean_weight = 0.0

    def work_of(self, calls: Iterable[BatchCall]) -> float:
        """How much work some calls are; a call of usual size is 1.

        Neither calls alone nor their sizes alone: what a call costs lies between.
        """
        mean = self._mean_weight or 1.0
        return sum(0.5 + 0.5 * call.weight / mean for call in calls)

    def count(self, calls: Sequence[BatchCall], started: float, ended: float) -> None:
        """Counts a batch.

        Args:
            calls: What was run; at least one.
            started: When it began, of `time.monotonic`.
            ended: When it had ended.
        """
        self.calls += len(calls)
        self.queue_seconds += sum(started - call.since for call in calls)
        self.sizes[bisect_left(BATCH_SIZES, len(calls))] += 1
        weight = sum(call.weight for call in calls) / len(calls)
        self._mean_weight = self._mean_weight or weight or 1.0
        work = self.progress.work + self.work_of(calls)
        self.progress = Progress(self.progress.runs + 1, self.calls, work, ended)
        self._mean_weight += _ADAPTING * (weight - self._mean_weight)
