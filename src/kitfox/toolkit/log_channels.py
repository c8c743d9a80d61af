"""Loggers as caikit's authors use them: a log code first, more levels, and timers.

    log = log_channels.use_channel("HELLO")
    log.info("<HLO00000001I>", "Loaded %s", name)
    log.debug2("every row: %s", row)

They are ordinary loggers underneath, so `kitfox.logs` writes what they say.
"""

import functools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from kitfox import logs
from kitfox.config import Log

__all__ = [
    "Channel",
    "ContextLog",
    "ContextTimer",
    "configure",
    "logged_function",
    "timed_function",
    "use_channel",
]

P = ParamSpec("P")
R = TypeVar("R")

_LEVELS = {
    "off": logging.CRITICAL + 10,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "trace": 15,
    "debug": logging.DEBUG,
    "debug1": 9,
    "debug2": 8,
    "debug3": 7,
    "debug4": 6,
}
_LOG_CODE = re.compile(r"<\w+>")


class Channel(logging.LoggerAdapter[logging.Logger]):
    """A logger that takes a log code such as `<HLO00000001I>` before the text.

    Its methods take the text and its arguments as those of every logger do; a first argument that
    is a log code is kept apart from the text, as the record's `log_code`.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a text at a level given as a number."""
        if not self.isEnabledFor(level):
            return
        extra = dict(kwargs.pop("extra", None) or {})
        if isinstance(msg, Mapping):
            extra.update((key, value) for key, value in msg.items() if key == "log_code")
            msg = msg.get("message", "")
        elif args and isinstance(msg, str) and _LOG_CODE.fullmatch(msg):
            extra["log_code"], (msg, *rest) = msg, args
            args = tuple(rest)
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, msg, *args, extra=extra, **kwargs)

    def fatal(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs what ends the process."""
        self.log(_LEVELS["fatal"], msg, *args, **_from_caller(kwargs))

    def trace(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs where the program passes."""
        self.log(_LEVELS["trace"], msg, *args, **_from_caller(kwargs))

    def debug1(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a detail."""
        self.log(_LEVELS["debug1"], msg, *args, **_from_caller(kwargs))

    def debug2(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a finer detail."""
        self.log(_LEVELS["debug2"], msg, *args, **_from_caller(kwargs))

    def debug3(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a detail of every step."""
        self.log(_LEVELS["debug3"], msg, *args, **_from_caller(kwargs))

    def debug4(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs everything."""
        self.log(_LEVELS["debug4"], msg, *args, **_from_caller(kwargs))


def _from_caller(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The record names the line that called the method, not the method."""
    return {**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1}


def use_channel(channel: str) -> Channel:
    """The logger of one part of a program."""
    return Channel(logging.getLogger(channel), {})


def configure(
    default_level: str = "info",
    filters: str | Mapping[str, str] = "",
    formatter: str = "json",
    thread_id: bool = False,
    **_: Any,
) -> None:
    """Sends this process's log records to standard output.

    Args:
        default_level: The least important level that is written: `off`, `fatal`, `error`,
            `warning`, `info`, `trace`, `debug`, `debug1` to `debug4`.
        filters: Levels of single channels: `CHANNEL:debug,OTHER:off`, or a mapping.
        formatter: `json` or `pretty`.
        thread_id: Accepted; the thread's id is always in JSON lines.

    Raises:
        ValueError: A level or formatter is not known.
    """
    if formatter not in ("json", "pretty"):
        raise ValueError(f"unknown formatter {formatter!r}; expected json or pretty")
    number = _level(default_level)
    logs.setup(Log(level="debug", formatter="pretty" if formatter == "pretty" else "json"))
    logging.getLogger().setLevel(number)
    for name, level in _LEVELS.items():
        if level not in (logging.WARNING, logging.CRITICAL):  # those have their names
            logging.addLevelName(level, name.upper())
    for channel, name in _filters(filters).items():
        logging.getLogger(channel).setLevel(_level(name))


def _level(name: str) -> int:
    try:
        return _LEVELS[name.lower()]
    except KeyError:
        raise ValueError(f"unknown log level {name!r}; known: {', '.join(_LEVELS)}") from None


def _filters(filters: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(filters, Mapping):
        return dict(filters)
    pairs = (item.partition(":") for item in filters.split(",") if item.strip())
    return {channel.strip(): level.strip() for channel, _, level in pairs}


@contextmanager
def ContextLog(log: Callable[..., None], *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: N802
    """Logs a text where a `with` block starts, and where it ends.

    Args:
        log: A method of a channel, such as `log.debug`.
        *args: The text and its arguments, after a log code if there is one.
        **kwargs: For the method.
    """
    log(*_prefixed("Start: ", args), **kwargs)
    try:
        yield
    finally:
        log(*_prefixed("End: ", args), **kwargs)


@contextmanager
def ContextTimer(log: Callable[..., None], *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: N802
    """Logs how long a `with` block took, after a text.

    Args:
        log: A method of a channel, such as `log.debug`.
        *args: The text and its arguments, after a log code if there is one.
        **kwargs: For the method.
    """
    begin = time.perf_counter()
    try:
        yield
    finally:
        code, text, rest = _split(args)
        log(*code, f"{text}%.6f s", *rest, time.perf_counter() - begin, **kwargs)


def logged_function(
    log: Callable[..., None], *args: Any, **kwargs: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Logs when a function starts and ends; a decorator."""
    return _around(ContextLog, log, args, kwargs)


def timed_function(
    log: Callable[..., None], *args: Any, **kwargs: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Logs how long each call of a function takes; a decorator."""
    return _around(ContextTimer, log, args, kwargs)


def _around(
    context: Callable[..., Any], log: Callable[..., None], args: tuple[Any, ...], kwargs: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        text = args or (f"{function.__qualname__} ",)

        @functools.wraps(function)
        def call(*call_args: P.args, **call_kwargs: P.kwargs) -> R:
            with context(log, *text, **kwargs):
                return function(*call_args, **call_kwargs)

        return call

    return decorate


def _split(args: tuple[Any, ...]) -> tuple[tuple[str, ...], str, tuple[Any, ...]]:
    """The log code if there is one, the text, and the text's arguments."""
    code = args[:1] if len(args) > 1 and _LOG_CODE.fullmatch(str(args[0])) else ()
    text, *rest = args[len(code) :] or ("",)
    return code, str(text), tuple(rest)


def _prefixed(prefix: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    code, text, rest = _split(args)
    return (*code, prefix + text, *rest)
