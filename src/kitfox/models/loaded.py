"""A model that is ready to run, and what is known of it."""

import datetime
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitfox.models.execution import Execution, InThreads
from kitfox.models.identity import Files
from kitfox.modules import ModuleBase

__all__ = ["LoadedModel"]

_NOISE_BYTES = 16 << 20
"""What a process may grow by while a model is loaded without that being the model's doing."""


@dataclass(kw_only=True, slots=True, weakref_slot=True, eq=False)
class LoadedModel:
    """A model that is ready to run."""

    name: str
    """The id under which it is asked for."""
    path: Path
    """Where it was loaded from."""
    module: type[ModuleBase]
    """The class that it is made of."""
    execution: Execution
    """What runs it."""
    size: int
    """Bytes of its files."""
    files: Files | None = None
    """Which files they were: where others are found later, there is another version."""
    memory: int | None = None
    """Bytes by which the process grew while it was loaded, where that could be measured."""
    follows_store: bool = True
    """Whether the id is the store's, so that what is there under it takes this model's place."""
    load_seconds: float = 0.0
    """How long loading and warming up took."""
    loaded_at: datetime.datetime | None = None
    """When it was ready."""
    operations: dict[Any, Any] = field(default_factory=dict)
    """What callers have worked out about this model and want to find again (one entry a method)."""
    leases: set[object] = field(default_factory=set)
    """What it is in use for: the contexts of the calls that are being answered by it. Whoever runs
    a call puts its context here, and then looks whether the model is retired."""
    last_used: float = field(default_factory=time.monotonic)
    """When its last call was over, of `time.monotonic`."""
    retired: bool = False
    """Whether it is no longer offered: it is closed when the last call on it is over."""

    closed: bool = False
    """Whether what ran it is gone, with all that it held."""
    _closings: list[bool] = field(default_factory=lambda: [True])

    @property
    def in_flight(self) -> int:
        """How many calls are being answered by it."""
        return len(self.leases)

    @property
    def footprint(self) -> int:
        """Bytes of memory that it takes: as measured where that is more than its files tell."""
        replicas: Sequence[Any] | None = getattr(self.execution, "replicas", None)
        if replicas is not None:
            held = sum(int(replica.rss) for replica in replicas)
            return max(self.size * len(replicas), held)
        measured = self.memory or 0
        return measured if measured > self.size + _NOISE_BYTES else self.size

    def release(self, lease: object) -> None:
        """Ends a call's use of it. In any thread."""
        self.leases.discard(lease)
        self.last_used = time.monotonic()
        if self.retired and not self.leases:
            self.close()

    def take_over(self, old: "LoadedModel") -> None:
        """Goes on from what was measured of an older version: how it is best run."""
        ours, theirs = self.execution, old.execution
        if isinstance(ours, InThreads) and isinstance(theirs, InThreads):
            ours.inherit(theirs)

    def retire(self) -> None:
        """Offers it no longer; calls that run on it finish."""
        if self.retired:
            return
        # In this order: a call that begins in another thread is either seen here, or sees this.
        self.retired = True
        if not self.leases:
            self.close()

    def close(self) -> None:
        """Gives back what runs it, without making the event loop wait for that."""
        try:
            self._closings.pop()
        except IndexError:
            return  # another thread was quicker
        threading.Thread(target=self._close, name=f"close-{self.name}", daemon=True).start()

    def _close(self) -> None:
        try:
            self.execution.close()
        finally:
            self.closed = True
