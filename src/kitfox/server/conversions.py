"""Reading, writing and packing large messages, beside the event loop.

A message of some kilobytes is read in less time than it takes to hand it over. One of megabytes
takes so long that meanwhile nobody else would get an answer, so a thread does it. There are few of
these threads: what is made of a message can take many times its size.
"""

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

__all__ = ["QUICK", "QUICK_TO_UNPACK", "Conversions"]

QUICK = 64 * 1024
"""Messages up to this size are converted on the event loop: that takes about a millisecond."""
QUICK_TO_UNPACK = 4 * 1024
"""The same of messages that are compressed, perhaps a thousandfold."""

_THREADS = 2

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Conversions:
    """The threads for large messages; none is started before it is needed.

    Args:
        threads: How many messages are converted at the same time.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="conversion")
        self._lock = threading.Lock()
        self._running = 0
        self._collects = False

    async def run(self, function: Callable[[*Ts], R], *arguments: *Ts) -> R:
        """What a function returns; it is not begun if its caller is gone before its turn."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._convert, function, *arguments)

    def _convert(self, function: Callable[[*Ts], R], *arguments: *Ts) -> R:
        """Calls the function while no garbage is looked for.

        A message can be millions of objects, none of them garbage. To look at them again and again
        while they are made takes ten times as long as to make them, and holds up all threads.
        """
        with self._lock:
            if not self._running:
                self._collects = gc.isenabled()
                gc.disable()
            self._running += 1
        try:
            return function(*arguments)
        finally:
            with self._lock:
                self._running -= 1
                if not self._running and self._collects:
                    gc.enable()
