"""What a replica prints and logs, on its way into the server's log.

A replica's standard output and error are one pipe. What Python code prints or logs is written there
as a line of JSON after a mark, with the request that it was for; lines without the mark come from
elsewhere, such as a library in C. A pipe keeps what was written when the replica dies.
"""

import asyncio
import contextlib
import io
import logging
import os
import sys
import threading
from collections import deque
from typing import Any

import msgspec

from kitfox.logs import current_request

__all__ = ["LogPipe", "PrintedLines", "Tail", "capture"]

_MARK = b"\x1e"
_LONGEST_LINE = 8192
_TAIL_LINES = 100
_READ_SIZE = 64 * 1024
_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Line(msgspec.Struct, omit_defaults=True):
    """A line that Python code wrote in a replica."""

    name: str
    """The logger, or `stdout` or `stderr`."""
    level: int
    message: str
    request_id: str = ""
    exception: str = ""
    log_code: str = ""


_decode = msgspec.json.Decoder(_Line).decode


# -- in the replica


class _LineHandler(logging.Handler):
    """Writes log records into the pipe."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one."""
        request = current_request.get()
        try:
            _write(
                _Line(
                    name=record.name,
                    level=record.levelno,
                    message=record.getMessage(),
                    request_id=request.request_id if request else "",
                    exception=_formatter.formatException(record.exc_info)
                    if record.exc_info
                    else "",
                    log_code=getattr(record, "log_code", ""),
                )
            )
        except Exception:  # noqa: BLE001 -- as every handler: a log line must not end a call
            self.handleError(record)


_formatter = logging.Formatter()


class PrintedLines(io.TextIOWrapper):
    """`sys.stdout` or `sys.stderr` of a replica: whole lines, each with its request.

    Args:
        name: `stdout` or `stderr`.
        descriptor: What is below, for those who write bytes.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        raw = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), "utf-8", errors="backslashreplace", write_through=True
        )
        self._stream_name = name
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Keeps what is no whole line yet, for each thread."""
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        while len(rest) > _LONGEST_LINE:
            lines.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._begun.text = rest
        request = current_request.get()
        request_id = request.request_id if request else ""
        for line in lines:
            _write(
                _Line(
                    name=self._stream_name, level=logging.INFO, message=line, request_id=request_id
                )
            )
        return len(text)


def _write(line: _Line) -> None:
    if len(line.message) > _LONGEST_LINE:
        line.message = line.message[:_LONGEST_LINE] + " [...]"
    data = _MARK + _encode(line) + b"\n"
    with contextlib.suppress(BrokenPipeError):  # the server is gone, and so is who would read
        while data:
            data = data[os.write(2, data) :]


def capture(level: int) -> None:
    """Has everything that this process prints and logs written into its standard error."""
    os.dup2(2, 1)
    sys.stdout = PrintedLines("stdout", 1)
    sys.stderr = PrintedLines("stderr", 2)
    logging.basicConfig(level=level, handlers=[_LineHandler()], force=True)


# -- in the server


class Tail:
    """The last lines of a replica's output."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)

    def add(self, text: str) -> None:
        """Keeps some text, line by line."""
        self._lines.extend(text.splitlines())

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines, oldest first."""
        return tuple(self._lines)


class LogPipe:
    """Reads a replica's output and logs it.

    Args:
        descriptor: The end of the pipe that is read; owned from now on.
        loop: The event loop.
        model: The model's id.
        replica: Which of its replicas.
        tail: Keeps the last lines.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        loop: asyncio.AbstractEventLoop,
        model: str,
        replica: int,
        tail: Tail,
    ) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._about = {"model_id": model, "replica": replica}
        self._raw = logging.getLogger("kitfox.REPLICA")
        self._tail = tail
        self._rest = b""
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    def read_now(self) -> None:
        """Reads what is there already."""
        while self._descriptor >= 0 and self._read_some():
            pass

    def close(self) -> None:
        """Reads what is left, then stops."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(self._descriptor)
        self.read_now()
        if self._rest:
            self._take(self._rest)
        os.close(self._descriptor)
        self._descriptor = -1

    def _read(self) -> None:
        if not self._read_some():
            self._loop.remove_reader(self._descriptor)

    def _read_some(self) -> bool:
        """Reads once; false at the end, and when a closing reader finds nothing."""
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > 2 * _LONGEST_LINE and not self._rest.startswith(_MARK):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._take(line)
        return bool(data)

    def _take(self, line: bytes) -> None:
        if line.startswith(_MARK):
            with contextlib.suppress(msgspec.DecodeError):
                self._log(_decode(line[1:]))
                return
        # A library in C may have begun a line before Python code wrote its own.
        before, mark, after = line.partition(_MARK)
        if before.strip():
            text = before.decode(errors="backslashreplace")
            self._log(_Line(name="stderr", level=logging.INFO, message=text))
        if mark:
            self._take(mark + after)

    def _log(self, line: _Line) -> None:
        self._tail.add(f"{line.message}\n{line.exception}" if line.exception else line.message)
        printed = line.name in ("stdout", "stderr")
        logger = self._raw if printed else logging.getLogger(line.name)
        if not logger.isEnabledFor(line.level):
            return
        more: dict[str, Any] = {**self._about, "request_id": line.request_id}
        more["log_code"] = line.log_code or "<KFX20110I>"
        message = f"{line.message}\n{line.exception}" if line.exception else line.message
        record = logger.makeRecord(
            logger.name, line.level, "(replica)", 0, message, (), None, None, more
        )
        logger.handle(record)
