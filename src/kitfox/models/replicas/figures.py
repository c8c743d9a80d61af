"""What replicas tell of their work, now and then, and what it comes to for a whole model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from kitfox.metrics import ExecutionFigures
from kitfox.models.replicas.messages import FIGURES, Message

__all__ = ["ReplicaFigures", "model_figures"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaFigures:
    """The work of one replica since its start."""

    together: int = 0
    """How many calls it can be in the middle of: its threads, each with the largest batch."""
    queue_seconds: float = 0.0
    """The seconds that calls have waited in it, together."""
    batches: Sequence[int] = ()
    """Its batches by size; empty when it makes none."""
    batched_calls: int = 0
    """The calls in these."""

    def message(self) -> Message:
        """As it travels; 0 where other messages have the number of a call."""
        return (
            *(FIGURES, 0, self.together, self.queue_seconds),
            *(tuple(self.batches), self.batched_calls),
        )

    def plus(self, other: "ReplicaFigures") -> "ReplicaFigures":
        """The work of both."""
        longer, shorter = sorted((self.batches, other.batches), key=len, reverse=True)
        return ReplicaFigures(
            queue_seconds=self.queue_seconds + other.queue_seconds,
            batches=[a + b for a, b in zip(longer, shorter, strict=True)] if shorter else longer,
            batched_calls=self.batched_calls + other.batched_calls,
        )

    @classmethod
    def of(cls, message: Message) -> "ReplicaFigures":
        """Reads a message."""
        _, _, together, queue_seconds, batches, batched_calls = message
        return cls(
            together=together,
            queue_seconds=queue_seconds,
            batches=batches,
            batched_calls=batched_calls,
        )


def model_figures(
    told: Iterable[ReplicaFigures],
    *,
    calls: int,
    outstanding: int,
    limit: int,
    queue_seconds: float,
) -> ExecutionFigures:
    """The figures of a model that runs in replicas.

    Args:
        told: What its replicas have told, those that are gone included.
        calls: The calls that have been answered.
        outstanding: Those that have not.
        limit: How many can run at the same time.
        queue_seconds: How long calls have waited for a replica, together.
    """
    work = reduce(ReplicaFigures.plus, told, ReplicaFigures())
    running = min(outstanding, limit)
    return ExecutionFigures(
        calls=calls,
        limit=limit,
        running=running,
        waiting=outstanding - running,
        queue_seconds=queue_seconds + work.queue_seconds,
        batches=work.batches,
        batched_calls=work.batched_calls,
    )
