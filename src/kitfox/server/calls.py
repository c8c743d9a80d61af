"""The calls in flight: how many there may be, and when each is over for its client.

Whoever answers a request opens a call for it. From then on the call ends by itself when its
deadline passes or its client goes away, wherever it waits: its context is cancelled with the
reason, and its task with it.

    with calls.open(context) as call:
        ...  # read the request
        call.receive = receive
        result = await handler(fields, context)
"""

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from kitfox.config import Server
from kitfox.errors import TRY_AGAIN_SECONDS, Cancelled, DeadlineExceeded, ResourceExhausted
from kitfox.logs import current_request
from kitfox.server.asgi import BodyRoom, BodyTooSlow, Message, Receive
from kitfox.server.conversions import Conversions
from kitfox.server.large_answers import LargeAnswers
from kitfox.services.methods import Context

__all__ = ["Call", "Calls"]

# A quick call is over before anybody asks whether its client is still there.
_PATIENCE_SECONDS = 0.1
# For each of many calls that wait there is less hurry: asking takes some hundredths of this.
_SECONDS_FOR_EACH = 0.0005


class Calls:
    """All calls that are worked on.

    Args:
        settings: Where the limit is.
    """

    def __init__(self, settings: Server) -> None:
        self.body_room = BodyRoom(settings.max_buffered_size)
        self.conversions = Conversions()
        self.large_answers = LargeAnswers(settings)
        self._limit = settings.max_concurrent_requests
        self._open: set[Call] = set()
        self._task: Callable[[], asyncio.Task[Any] | None] = asyncio.current_task
        self._watching = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, context: Context, *, again: bool = False) -> "Call":
        """Begins a call in the present task; to be used in a `with` statement.

        Args:
            context: The call's.
            again: Whether it has been one of these before: then it is not refused.

        Raises:
            ResourceExhausted: There are as many calls as there may be.
        """
        if self._timer is None:
            self._watch()
        if self.are_full and not again:
            raise ResourceExhausted(
                f"{self._limit} requests are being worked on and no more are taken "
                "(setting server.max_concurrent_requests); try again later",
                TRY_AGAIN_SECONDS,
            )
        return Call(self, context)

    @property
    def are_full(self) -> bool:
        """Whether there are as many calls as there may be."""
        return len(self._open) >= self._limit

    def add(self, call: "Call", loop: asyncio.AbstractEventLoop) -> None:
        """Takes note of a call that is begun in another thread than the event loop's."""
        # In this order: either the end of the watch sees the call, or this sees the end.
        self._open.add(call)
        if not self._watching:
            self._watching = True  # once is enough, however late the event loop hears of it
            loop.call_soon_threadsafe(self._watch)

    def _watch(self) -> None:
        """Sees to it that somebody asks whether clients are still there. On the event loop."""
        self._watching = True
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._task = _current_task_of(loop)
            pause = max(_PATIENCE_SECONDS, len(self._open) * _SECONDS_FOR_EACH)
            self._timer = loop.call_later(pause, self._look)

    def _look(self) -> None:
        """Asks for each call that was there the last time too whether its client is gone."""
        self._timer = None
        try:
            for call in list(self._open):
                call.look()
        finally:
            self._watching = False
            if self._open:
                self._watch()


class Call:
    """One call; made by `Calls.open`."""

    # What most calls never set is the class's, which costs a call nothing.
    receive: Receive | None = None
    """Asked whether the client is still there. To be set when the request has been read."""
    body_seconds = 0.0
    """The time for the request's body to come in, until `receive` is set; 0 is any time."""
    _timer: asyncio.TimerHandle | None = None
    _probe: "asyncio.Future[Message] | None" = None
    _task: Any = None
    """What to cancel: the task that answers it."""
    _seen = False
    _late = 0.0

    def __init__(self, calls: Calls, context: Context) -> None:
        self.context = context
        self._calls = calls

    def __enter__(self) -> Self:
        context, calls = self.context, self._calls
        self._task = calls._task()
        current_request.set(context)
        # As the other quick ones do: without a call of its own.
        context.callbacks = (*context.callbacks, self._stop)
        if context.deadline is not None:
            self._set_timer(context.time_remaining() or 0.0)
        calls._open.add(self)
        return self

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._calls._open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._probe is not None:
            self._probe.cancel()
        self.receive = None
        # Else call and context would keep each other until a garbage collection.
        self.context.callbacks = ()
        reason = self.context.reason
        if reason is not None and task is not None:
            # The cancellation was for this call alone: what the task does next goes on.
            task.uncancel()
            if isinstance(error, asyncio.CancelledError):
                raise reason from error

    def leave(self) -> None:
        """Makes room for another call: this one is being answered. In any thread."""
        self._calls._open.discard(self)

    def look(self) -> None:
        """Asks whether the client is gone, unless the call is younger than the last time."""
        if not self._seen:
            self._seen = True
            # Not counted from the beginning: most bodies are there before the clock is read.
            self._late = time.monotonic() + self.body_seconds
            return
        if self.receive is None:
            if self.body_seconds and time.monotonic() > self._late:
                self.context.cancel(BodyTooSlow(self.body_seconds))
        elif self._probe is None:
            self._probe = asyncio.ensure_future(_next(self.receive))
            self._probe.add_done_callback(self._told)

    def _told(self, probe: "asyncio.Future[Message]") -> None:
        self._probe = None
        if probe.cancelled() or self._task is None:
            return
        # Envoy's side answers at once, with an empty message as long as the client is there.
        if probe.exception() is not None or probe.result()["type"] == "http.disconnect":
            self.context.cancel(Cancelled("the client went away"))

    def _expire(self) -> None:
        self.context.cancel(
            DeadlineExceeded("the caller's deadline passed before the answer was there")
        )

    def _stop(self) -> None:
        # A task that cancels its own call goes on by itself, with the reason.
        task = self._task  # a quick call may be ended meanwhile, in another thread
        if task is not None and task is not asyncio.current_task():
            task.cancel()


def _current_task_of(
    loop: asyncio.AbstractEventLoop,
) -> "Callable[[], asyncio.Task[Any] | None]":
    """What gives the task that runs in a loop, quickly."""
    if sys.version_info >= (3, 12):
        return asyncio.current_task
    # Python's own is not compiled before 3.12; this is the dictionary that it looks into.
    return partial(asyncio.tasks._current_tasks.get, loop)  # type: ignore[attr-defined, unused-ignore]


async def _next(receive: Receive) -> Message:
    return await receive()
