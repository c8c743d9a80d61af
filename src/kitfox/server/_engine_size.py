"""Has Envoy refuse new requests as long as it holds too much for its clients.

Envoy can do that by itself, but looks at all of its heap, and that is Python's and the models' heap
too: there is one `malloc` in the process, and it is Envoy's.
"""

import time
from collections.abc import Callable

from kitfox.server._admin import Admin, AdminError
from kitfox.server.envoy import FULL, STAT_PREFIX

__all__ = ["EngineSize"]

_FASTEST = 2 << 30
"""Bytes a second. A fast client that reads nothing makes Envoy hold half as much."""
_OFTEN, _SELDOM = 0.05, 2.0
"""Seconds between two looks."""
_TELL_SECONDS = 60.0


class EngineSize:
    """Looks at what one Envoy process holds, the more often the nearer it is to the most.

    Args:
        admin: Its administration interface.
        most: The most bytes that it may hold.
        log: Told a level and a sentence.
    """

    def __init__(self, admin: Admin, most: int, log: Callable[[str, str], None]) -> None:
        self._admin = admin
        self._most = most
        self._log = log
        self._refuses: bool | None = False
        """Whether Envoy was told to; None if it may have been."""
        self._due = 0.0
        self._told = -_TELL_SECONDS

    def look(self) -> float:
        """Compares, if it is time to, and begins or ends to refuse.

        Returns:
            After how many seconds to look again.
        """
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._compare()
        return self._due - now

    def _compare(self) -> float:
        try:
            held = self._admin.held(STAT_PREFIX)
            is_full = held > self._most
            if is_full is not self._refuses:
                # Should the answer not come in time, it may be done all the same.
                self._refuses = None
                self._admin.set(FULL, 100 if is_full else 0)
                self._refuses = is_full
                self._tell(held)
        except AdminError as error:
            self._log("debug", str(error))
            return _OFTEN
        return min(max(_OFTEN, (self._most - held) / _FASTEST), _SELDOM)

    def _tell(self, held: int) -> None:
        now = time.monotonic()
        if self._refuses and now - self._told > _TELL_SECONDS:
            self._told = now
            self._log(
                "warning",
                f"Answers that clients do not take are {held} bytes: new requests are refused "
                f"while it is more than {self._most} (setting server.max_engine_size)",
            )
