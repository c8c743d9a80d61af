"""Tells of calls that take too long: of which model, for which request, and where they are.

A thread of its own looks at what runs a few times in the span that is allowed; calls themselves
are not touched. It cannot end a call: what runs in a thread of the server ends by itself or not at
all, and only its model waits for it.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

from kitfox import logs
from kitfox.modules import RequestContext

__all__ = ["Watchdog"]

log = logs.channel("MODELS")

_SHORTEST_PERIOD = 0.02
_LONGEST_PERIOD = 5.0
_LOOKS = 4


class RunningCall(Protocol):
    """What is known of a call that runs."""

    @property
    def context(self) -> RequestContext | None:
        """The request that it is for."""


Running = Callable[[], Sequence[tuple[threading.Thread, RunningCall]]]
"""Gives what runs now, each call with its thread."""


class _Seen:
    """A call that was running at the last look."""

    def __init__(self, call: RunningCall, since: float) -> None:
        self.call = call
        self.since = since
        self.told = False


class _Watched:
    def __init__(self, name: str, seconds: float, running: Running) -> None:
        self.name = name
        self.seconds = seconds
        self.running = running
        self.seen: dict[threading.Thread, _Seen] = {}


class Watchdog:
    """Looks at what models run; its thread is started when there is a first model.

    Args:
        default_seconds: After so long a call of a model without a limit of its own is told of.
    """

    def __init__(self, *, default_seconds: float = 60) -> None:
        self._default = default_seconds
        self._watched: dict[object, _Watched] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._changed = threading.Event()

    def watch(self, key: object, *, name: str, seconds: float, running: Running) -> None:
        """Looks at one model from now on.

        Args:
            key: By which `forget` finds it.
            name: The model's id.
            seconds: How long its calls may take; 0: as long as any call.
            running: What it runs.
        """
        self._watched[key] = _Watched(name, seconds or self._default, running)
        self._changed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
            self._thread.start()

    def forget(self, key: object) -> None:
        """Looks at a model no longer."""
        self._watched.pop(key, None)

    def close(self) -> None:
        """Ends its thread."""
        self._stop.set()
        self._changed.set()

    def _look_on(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            watched = list(self._watched.values())
            now = time.monotonic()
            for item in watched:
                self._look_at(item, now)
            shortest = min((item.seconds for item in watched), default=self._default)
            self._changed.wait(min(max(shortest / _LOOKS, _SHORTEST_PERIOD), _LONGEST_PERIOD))

    def _look_at(self, item: _Watched, now: float) -> None:
        seen: dict[threading.Thread, _Seen] = {}
        for thread, call in item.running():
            before = item.seen.get(thread)
            # The call itself is kept, not its identity, which another may get.
            known = before if before is not None and before.call is call else _Seen(call, now)
            seen[thread] = known
            if not known.told and now - known.since >= item.seconds:
                known.told = True
                _tell(item.name, thread, call, now - known.since)
        item.seen = seen


def _tell(name: str, thread: threading.Thread, call: RunningCall, seconds: float) -> None:
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown\n"
    context = call.context
    log.warning(
        "A call of model %s has been running for more than %.3g s and goes on; it is at\n%s",
        name,
        seconds,
        stack,
        extra={
            "log_code": "<KFX20080W>",
            "request_id": None if context is None else context.request_id,
        },
    )
