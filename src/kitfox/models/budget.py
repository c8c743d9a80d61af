"""The memory budget: how many bytes of models are loaded at the same time.

A model counts from before it is loaded until its last call is over and what ran it is gone: with
the bytes of its files, for each process that it runs in, and once it is loaded with what it was
measured to take if that is more. The one that was used longest ago makes room, if nobody is using
it and the next request can have it back.
"""

import asyncio
import contextlib
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping

from kitfox.errors import TRY_AGAIN_SECONDS, ResourceExhausted
from kitfox.models.loaded import LoadedModel

__all__ = ["MemoryBudget"]

_PAUSE_SECONDS = 0.01
_CLOSE_SECONDS = 5.0
"""How long a load waits for a model that is being closed before another one has to go as well."""


class MemoryBudget:
    """Keeps what is loaded within a number of bytes.

    Args:
        limit: The bytes; 0: as many as there are.
        loaded: The models that are loaded, by id.
        evict: Unloads one of them.
        may_evict: Whether models may be unloaded to make room, because requests load them again.
        patience: Seconds that a load waits for models that are in use.
    """

    def __init__(
        self,
        limit: int,
        *,
        loaded: Mapping[str, LoadedModel],
        evict: Callable[[str], object],
        may_evict: bool,
        patience: float = 5.0,
    ) -> None:
        self.limit = limit
        self._loaded = loaded
        self._evict = evict
        self._may_evict = may_evict
        self._patience = patience
        self._reserved = 0
        self._refused: dict[str, int] = {}
        # Weakly: what has no calls any more is to go, with all that it holds.
        self._ending: tuple[weakref.ref[LoadedModel], ...] = ()

    @property
    def used(self) -> int:
        """The bytes of the models that are loaded, are being loaded, or are not gone yet."""
        models = itertools.chain(self._loaded.values(), self.ending)
        return self._reserved + sum(model.footprint for model in models)

    def note_end(self, model: LoadedModel) -> None:
        """Counts a model that is offered no longer until it is closed."""
        self._ending = tuple(map(weakref.ref, {*self.ending, model}))

    @property
    def ending(self) -> frozenset[LoadedModel]:
        """The models that are offered no longer, and have calls to finish or are being closed."""
        known = [reference() for reference in self._ending]
        return frozenset(model for model in known if model is not None and not model.closed)

    @property
    def _leaving(self) -> int:
        """The bytes of those that will be gone in a moment."""
        return sum(model.footprint for model in self.ending if not model.in_flight)

    def fits(self, model_id: str) -> bool:
        """Whether there would be room now for a model that was refused because there was none."""
        return self.used - self._leaving + self._refused.get(model_id, 0) <= self.limit

    def settle(self, model_id: str) -> None:
        """Makes room for what a model turned out to take when it had been loaded.

        Args:
            model_id: The model; it stays.
        """
        if self.limit and self._may_evict:
            while self.used - self._leaving > self.limit and self._evict_one(model_id):
                pass

    @contextlib.asynccontextmanager
    async def reserved(
        self, model_id: str, size: int, *, may_evict: bool = True
    ) -> AsyncIterator[None]:
        """Room for a model while it is being loaded.

        Args:
            model_id: The model; if it is loaded, it is not unloaded to make room for itself.
            size: Bytes of its files, for each process that it is to run in.
            may_evict: Whether others may have to go, and whether to wait for them.

        Raises:
            ResourceExhausted: There is no room, and none can be made.
        """
        if not self.limit:
            yield
            return
        await self._make_room(model_id, size, may_evict=may_evict and self._may_evict)
        self._refused.pop(model_id, None)
        self._reserved += size
        try:
            yield
        finally:
            self._reserved -= size

    async def _make_room(self, model_id: str, size: int, *, may_evict: bool) -> None:
        now = time.monotonic()
        deadline, closed = now + self._patience, now + _CLOSE_SECONDS
        while (missing := self.used + size - self.limit) > 0:
            if missing <= self._leaving and time.monotonic() < closed:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if may_evict and size <= self.limit:
                if self._evict_one(model_id):
                    continue
                if time.monotonic() < deadline:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
            if not may_evict:
                self._refused[model_id] = size
            raise self._exhausted(size)

    def _evict_one(self, model_id: str) -> bool:
        idle = [
            (model.last_used, name)
            for name, model in self._loaded.items()
            if not model.in_flight and model.follows_store and name != model_id
        ]
        if not idle:
            return False
        self._evict(min(idle)[1])
        return True

    def _exhausted(self, size: int) -> ResourceExhausted:
        return ResourceExhausted(
            f"it takes {size} bytes, and of {self.limit} (setting models.memory_budget) "
            f"{self.used} are taken by models that cannot be unloaded now",
            # Models in use are free again some time; more than all of it never is.
            TRY_AGAIN_SECONDS if self._may_evict and size <= self.limit else None,
        )
