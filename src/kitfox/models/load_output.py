"""What is printed and logged while a model is loaded: kept for who asks why it did not load.

Several models are loaded at the same time, each in a thread of its own. Whose output a line is is
told by the context that such a thread inherits; what others print meanwhile passes through.
"""

import contextlib
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

__all__ = ["LoadOutput", "OutputTail", "keep_log", "log_of"]

_TAIL_LINES = 100
_TRACE_LINES = 40
_LONGEST_LINE = 8192
_ATTRIBUTE = "log_tail"


class OutputTail:
    """The last lines of one load."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._begun = ""

    def add(self, text: str) -> None:
        """Keeps some text that may begin and end in the middle of a line."""
        *lines, self._begun = (self._begun + text)[-_TAIL_LINES * _LONGEST_LINE :].split("\n")
        self._lines.extend(line[:_LONGEST_LINE] for line in lines)

    def add_line(self, text: str) -> None:
        """Keeps whole lines."""
        self._lines.extend(line[:_LONGEST_LINE] for line in text.splitlines())

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines, oldest first."""
        return (*self._lines, self._begun) if self._begun else tuple(self._lines)


_current: ContextVar[OutputTail | None] = ContextVar("load_output", default=None)
"""Where the output of the present load is kept."""


class LoadOutput:
    """Listens to what is printed and logged, as long as anything is loaded."""

    def __init__(self) -> None:
        self._loads = 0
        self._lock = threading.Lock()
        self._handler = _TailHandler()
        self._streams: dict[str, _Overheard] = {}

    @contextlib.contextmanager
    def collected(self) -> Iterator[OutputTail]:
        """Keeps what is said in this context, and in those that are begun in it, until the end."""
        tail = OutputTail()
        self._begin()
        token = _current.set(tail)
        try:
            yield tail
        finally:
            _current.reset(token)
            self._end()

    def _begin(self) -> None:
        with self._lock:
            self._loads += 1
            if self._loads > 1:
                return
            logging.getLogger().addHandler(self._handler)
            for name in ("stdout", "stderr"):
                if (stream := getattr(sys, name)) is not None:
                    self._streams[name] = _Overheard(stream)
                    setattr(sys, name, self._streams[name])

    def _end(self) -> None:
        with self._lock:
            self._loads -= 1
            if self._loads:
                return
            logging.getLogger().removeHandler(self._handler)
            for name, stream in self._streams.items():
                # Somebody may have put a stream of their own in the place of ours, for good.
                if getattr(sys, name) is stream:
                    setattr(sys, name, stream.real)
            self._streams.clear()


class _TailHandler(logging.Handler):
    """Keeps the messages of log records."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        if (tail := _current.get()) is not None:
            try:
                tail.add_line(self.format(record))
            except Exception:  # noqa: BLE001 -- as every handler: a log line must not end a load
                self.handleError(record)


class _Overheard:
    """`sys.stdout` or `sys.stderr`, with somebody who listens.

    Args:
        real: Where everything goes.
    """

    def __init__(self, real: TextIO) -> None:
        self.real = real

    def write(self, text: str) -> int:
        """Writes, and keeps what belongs to a load."""
        if (tail := _current.get()) is not None:
            tail.add(str(text))
        return self.real.write(text)

    def writelines(self, lines: Any) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def keep_log(error: BaseException, tail: OutputTail) -> None:
    """Has an error know what was said before it, and where it was raised; what it knows stays."""
    if not _kept(error):
        trace = "".join(traceback.format_exception(error)).splitlines()[-_TRACE_LINES:]
        with contextlib.suppress(AttributeError, TypeError):  # a class that takes no attributes
            setattr(error, _ATTRIBUTE, (*tail.lines, *trace))


def log_of(error: BaseException) -> tuple[str, ...]:
    """How an error came about, in the last lines of what was said and of its trace."""
    trace = "".join(traceback.format_exception(error)).splitlines()[-_TRACE_LINES:]
    return _kept(error) or tuple(trace)


def _kept(error: BaseException) -> tuple[str, ...]:
    """What an error, or what it comes from, knows of the output; that of a replica, for example."""
    seen: BaseException | None = error
    while seen is not None:
        if kept := getattr(seen, _ATTRIBUTE, ()):
            return tuple(kept)
        seen = seen.__cause__
    return ()
