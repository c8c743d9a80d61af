"""Bringing models from remote stores: each once however many ask, a few at the same time.

A download runs in a thread of its own. Who waits for it does so for a while; the download goes on,
and what it brings is in the cache for the next one who asks.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from kitfox.models.failures import too_slow
from kitfox.models.load_threads import LoadThreads, Slots

__all__ = ["Downloads", "Find"]

Find: TypeAlias = Callable[[str], Path | None]
"""Gives the path of a model, brought here if need be; None if there is none. Waits for it."""


class Downloads:
    """To be used from the event loop.

    Args:
        count: How many at the same time.
        seconds: How long one is waited for; 0: as long as it takes.
    """

    def __init__(self, count: int, *, seconds: float) -> None:
        self._slots = Slots(count)
        self._seconds = seconds
        self._threads = LoadThreads()
        self._running: dict[str, asyncio.Future[Path | None]] = {}

    async def fetch(self, model_id: str, find: Find, *, urgent: bool) -> tuple[Path | None, float]:
        """Where a model lies when it is here, and the seconds that this took.

        Args:
            model_id: The model.
            find: Called in a thread, unless it still runs for one who asked before.
            urgent: Whether somebody waits for it.

        Raises:
            Unavailable: It took too long.
            KitfoxError: Whatever `find` raised.
        """
        async with self._slots.one(urgent=urgent):
            started = time.monotonic()
            running = self._running.get(model_id) or self._begin(model_id, find)
            await asyncio.wait({running}, timeout=self._seconds or None)
            if not running.done():
                raise too_slow(self._seconds)
            return running.result(), time.monotonic() - started

    def _begin(self, model_id: str, find: Find) -> "asyncio.Future[Path | None]":
        loop = asyncio.get_running_loop()
        running = self._running[model_id] = loop.run_in_executor(self._threads, find, model_id)
        running.add_done_callback(partial(self._note_end, model_id))
        return running

    def _note_end(self, model_id: str, running: "asyncio.Future[Path | None]") -> None:
        del self._running[model_id]
        if not running.cancelled():
            running.exception()  # nobody may be waiting any more
