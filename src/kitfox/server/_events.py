"""What the supervisor waits for: signals, its child's end, pipes. Nothing else wakes it."""

import os
import selectors
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Events"]

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Events:
    """Signals and readable files, one after the other, in the main thread.

    Used as a context: signals are taken over at its beginning and given back at its end.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._handlers: dict[signal.Signals, Any] = {}
        self._pipe = (-1, -1)
        self._wakeup = -1
        self.stops = 0
        """How often a signal has asked to stop."""

    def __enter__(self) -> Self:
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self.watch(self._pipe[0], self._read_signals)
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (*_STOPS, signal.SIGCHLD):
            # A shell's `nohup` has SIGHUP ignored, and wants that kept.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._handlers[number] = signal.signal(number, _wake)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._selector.close()
        for end in self._pipe:
            os.close(end)

    def watch(self, file: int, callback: Callable[[], object]) -> None:
        """Calls a function each time that something can be read from a file."""
        self._selector.register(file, selectors.EVENT_READ, callback)

    def __contains__(self, file: int) -> bool:
        """Whether a file is watched."""
        return file in self._selector.get_map()

    def forget(self, file: int) -> None:
        """Ends what `watch` began, if it did."""
        if file in self:
            self._selector.unregister(file)

    def wait(self, done: Callable[[], bool], *, seconds: float | None = None) -> bool:
        """Handles what happens until a condition holds.

        Args:
            done: The condition; looked at before and after each event.
            seconds: The longest time to wait; None is for ever.

        Returns:
            Whether the condition holds.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not done():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            for key, _ in self._selector.select(remaining):
                key.data()
        return True

    def _read_signals(self) -> None:
        # SIGCHLD needs no more than to have woken `wait`, whose condition asks for the child.
        for number in os.read(self._pipe[0], 64):
            self.stops += number in _STOPS


def _wake(number: int, frame: FrameType | None) -> None:
    """Does nothing: Python writes the signal's number to the wake-up pipe before it calls this."""
