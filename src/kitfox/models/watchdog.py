"""Tells of calls that take too long: of which model, for which request, and where they are.

A thread of its own looks at what runs a few times in the span that is allowed; calls themselves
are not touched. It cannot end a call: what runs in a thread of the server ends by itself or not at
all, and only its model waits for it.

For what runs on the event loop everything waits. The loop's heartbeat tells whether something holds
it up; the stack of its thread tells what.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Protocol

from kitfox import logs
from kitfox.models.execution import Runner
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["Watchdog"]

log = logs.channel("MODELS")

_SHORTEST_PERIOD = 0.02
_LONGEST_PERIOD = 5.0
_LOOKS = 4
_BEAT_SECONDS = 0.25
# After so long of a standstill of the event loop, unless a model's calls may take less.
_LOOP_SECONDS = 5.0
_DEEPEST = 50


class RunningCall(Protocol):
    """What is known of a call that runs."""

    @property
    def context(self) -> RequestContext | None:
        """The request that it is for."""


Running = Callable[[], Sequence[tuple[Runner, RunningCall]]]
"""Gives what runs now, each call with its thread or task."""


class _Seen:
    """A call that was running at the last look."""

    def __init__(self, call: RunningCall, since: float) -> None:
        self.call = call
        self.since = since
        self.told = False


class _Watched:
    def __init__(
        self, name: str, seconds: float, running: Running, model: ModuleBase | None
    ) -> None:
        self.name = name
        self.model = model
        self.seconds = seconds
        self.running = running
        self.seen: dict[Runner, _Seen] = {}


class _Heart:
    """The heartbeat of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.last = time.monotonic()
        self.thread = threading.get_ident()
        self.told = False
        self.stopped = False
        self._beat()

    def _beat(self) -> None:
        self.last, self.told = time.monotonic(), False
        if not self.stopped:
            self.loop.call_later(_BEAT_SECONDS, self._beat)


class Watchdog:
    """Looks at what models run; its thread is started when there is a first model.

    Args:
        default_seconds: After so long a call of a model without a limit of its own is told of.
    """

    def __init__(self, *, default_seconds: float = 60) -> None:
        self._default = default_seconds
        self._watched: dict[object, _Watched] = {}
        self._hearts: list[_Heart] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._changed = threading.Event()

    def watch(
        self,
        key: object,
        *,
        name: str,
        seconds: float,
        running: Running,
        model: ModuleBase | None = None,
    ) -> None:
        """Looks at one model from now on.

        Args:
            key: By which `forget` finds it.
            name: The model's id.
            seconds: How long its calls may take; 0: as long as any call.
            running: What it runs.
            model: The model, if it is of this process.
        """
        self._watched[key] = _Watched(name, seconds or self._default, running, model)
        self._changed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
            self._thread.start()

    def listen(self) -> None:
        """Listens to the heartbeat of the running event loop from now on."""
        loop = asyncio.get_running_loop()
        if all(heart.loop is not loop for heart in self._hearts):
            self._hearts.append(_Heart(loop))

    def forget(self, key: object) -> None:
        """Looks at a model no longer."""
        self._watched.pop(key, None)

    def close(self) -> None:
        """Ends its thread."""
        for heart in self._hearts:
            heart.stopped = True
        self._stop.set()
        self._changed.set()

    def _look_on(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            shortest = self._look()
            self._changed.wait(min(max(shortest / _LOOKS, _SHORTEST_PERIOD), _LONGEST_PERIOD))

    def _look(self) -> float:
        """Looks once, keeping hold of no model; tells the shortest time that a call may take."""
        watched = list(self._watched.values())
        now = time.monotonic()
        for item in watched:
            self._look_at(item, now)
        shortest = min((item.seconds for item in watched), default=self._default)
        if self._hearts:
            shortest = min(shortest, _LOOP_SECONDS)
            self._listen_to_hearts(watched, min(shortest, _LOOP_SECONDS))
        return shortest

    def _look_at(self, item: _Watched, now: float) -> None:
        seen: dict[Runner, _Seen] = {}
        for runner, call in item.running():
            before = item.seen.get(runner)
            # The call itself is kept, not its identity, which another may get.
            known = before if before is not None and before.call is call else _Seen(call, now)
            seen[runner] = known
            if not known.told and now - known.since >= item.seconds:
                known.told = True
                _tell(item.name, runner, call, now - known.since)
        item.seen = seen

    def _listen_to_hearts(self, watched: Sequence[_Watched], patience: float) -> None:
        for heart in list(self._hearts):
            if heart.loop.is_closed():
                self._hearts.remove(heart)
                continue
            late = time.monotonic() - heart.last - _BEAT_SECONDS
            frame = sys._current_frames().get(heart.thread)
            # Between runs of the loop there is nothing that holds it up.
            if late < patience or heart.told or frame is None or not heart.loop.is_running():
                continue
            model = _model_in(frame)
            own = next((item for item in watched if model and item.model is model), None)
            if late < (min(own.seconds, _LOOP_SECONDS) if own else _LOOP_SECONDS):
                continue
            heart.told = True
            _tell_of_standstill("" if own is None else own.name, frame, late)


def _tell_of_standstill(name: str, frame: FrameType, seconds: float) -> None:
    log.error(
        "The event loop has stood still for %.3g s, and all calls with it; %s is at\n%s",
        seconds,
        f"model {name}" if name else "it",
        "".join(traceback.format_stack(frame)),
        extra={"log_code": "<KFX20081E>", "request_id": _request_in(frame)},
    )


def _locals_of(frame: FrameType | None) -> Iterator[dict[str, Any]]:
    """The variables of a frame and of those that called it."""
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back


def _model_in(frame: FrameType) -> ModuleBase | None:
    """The model whose code runs, as its methods' `self` tells."""
    for variables in _locals_of(frame):
        if isinstance(own := variables.get("self"), ModuleBase):
            return own
    return None


def _request_in(frame: FrameType) -> str | None:
    for variables in _locals_of(frame):
        if isinstance(context := variables.get("context"), RequestContext):
            return context.request_id
    return None


def _stack_of(runner: Runner) -> str:
    """Where a thread, or a task that waits, is."""
    if isinstance(runner, threading.Thread):
        frame = sys._current_frames().get(runner.ident or 0)
        return "unknown\n" if frame is None else "".join(traceback.format_stack(frame))
    lines: list[str] = []
    waits = getattr(runner, "get_coro", lambda: None)()
    while waits is not None and len(lines) < _DEEPEST:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)
        if frame is not None:
            lines += traceback.format_stack(frame, limit=1)
        waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
    return "".join(lines) or "unknown\n"


def _tell(name: str, runner: Runner, call: RunningCall, seconds: float) -> None:
    stack = _stack_of(runner)
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
