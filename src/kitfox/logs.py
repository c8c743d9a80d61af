"""Log records as JSON lines, in the shape that caikit's log readers expect.

    {"channel": ..., "exception": ..., "level": ..., "log_code": ..., "message": ...,
     "num_indent": 0, "thread_id": ..., "timestamp": ...}

A room logs through `logs.channel("MODELS")`, with a code of its own for each kind of event:

    log = logs.channel("MODELS")
    log.info("Loaded model %s", name, extra={"log_code": "<KFX10010I>"})
"""

import datetime
import logging
import sys
from contextvars import ContextVar
from typing import Protocol, TextIO

import msgspec

from kitfox.config import Log

__all__ = ["JsonFormatter", "channel", "current_request", "setup"]

_encode = msgspec.json.Encoder().encode


class Request(Protocol):
    """A call that log lines can be about."""

    @property
    def request_id(self) -> str:
        """Identifies it."""


current_request: ContextVar[Request | None] = ContextVar("current_request", default=None)
"""The call that the present task or thread works for; its id is in every line logged meanwhile."""


def channel(name: str) -> logging.Logger:
    """The logger of one room, below the logger `kitfox`."""
    return logging.getLogger(f"kitfox.{name}")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, keys sorted."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one record."""
        exception = self.formatException(record.exc_info) if record.exc_info else None
        stamp = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "channel": record.name.removeprefix("kitfox."),
            "exception": exception,
            "level": record.levelname.lower(),
            "log_code": getattr(record, "log_code", None),
            "message": record.getMessage(),
            "num_indent": 0,
            "thread_id": record.thread,
            "timestamp": stamp.isoformat(timespec="microseconds").replace("+00:00", ""),
        }
        request = current_request.get()
        request_id = getattr(record, "request_id", None) or (request and request.request_id)
        if request_id:
            line["request_id"] = request_id
        for name in ("model_id", "replica"):  # of what a replica process has written
            if name in record.__dict__:
                line[name] = record.__dict__[name]
        return _encode(line).decode()


class PrettyFormatter(logging.Formatter):
    """For reading at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")


_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


def setup(config: Log, *, stream: TextIO | None = None) -> None:
    """Sends this process's log records to a stream (standard output unless given).

    Called once at the edge of a process; importing Kitfox never sets up logging.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter() if config.formatter == "json" else PrettyFormatter())
    logging.basicConfig(level=_LEVELS[config.level], handlers=[handler], force=True)
