"""Plays many cases at a time, and keeps what went wrong with the number that makes it again."""

import asyncio
import collections
import faulthandler
import gc
import logging
import re
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitfox.server.asgi import header
from tests.fuzz.cases import Case, Maker
from tests.fuzz.checks import problem
from tests.fuzz.exchange import ClientGone, Exchange
from tests.fuzz.targets import Target

__all__ = ["Campaign", "Figures", "Finding"]

_AT_A_TIME = 24
_HANG_SECONDS = 30.0
_LOOK_EVERY = 20_000
_SHOWN_EACH = 3

_present: ContextVar[int] = ContextVar("present", default=-1)
"""The number of the case that a task plays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that must not happen."""

    number: int
    """Of the case; -1 when it is not known which."""
    text: str


@dataclass(kw_only=True, slots=True)
class Figures:
    """What was done."""

    cases: int = 0
    seconds: float = 0.0
    outcomes: "collections.Counter[str]" = field(default_factory=collections.Counter)
    slowest: tuple[float, int] = (0.0, -1)
    """Seconds, and the case's number."""
    memory: list[int] = field(default_factory=list)
    """Bytes that the process held, looked at now and then."""


class Campaign:
    """Plays cases against applications.

    Args:
        targets: The applications.
        maker: Makes the cases.
    """

    def __init__(self, targets: list[Target], maker: Maker) -> None:
        self.figures = Figures()
        self.findings: list[Finding] = []
        self._targets = targets
        self._maker = maker
        self._kinds: collections.Counter[str] = collections.Counter()
        self._playing: dict[int, float] = {}
        self._loop = asyncio.get_running_loop()

    async def run(self, first: int, count: int, *, say: Any = None) -> None:
        """Plays the cases of the numbers from `first` on."""
        started = time.perf_counter()
        tasks = len(asyncio.all_tasks())
        with self.watching():
            done = 0
            while done < count:
                many = min(_LOOK_EVERY, count - done)
                await self._play_all(first + done, many)
                done += many
                await self._look(tasks)
                self.figures.cases += many
                self.figures.seconds = time.perf_counter() - started
                if say is not None:
                    say(self.figures)

    async def _play_all(self, first: int, count: int) -> None:
        numbers = iter(range(first, first + count))

        async def play() -> None:
            for number in numbers:
                await self.play(number)

        workers = [asyncio.create_task(play()) for _ in range(_AT_A_TIME)]
        pending = set(workers)
        while pending:
            faulthandler.dump_traceback_later(4 * _HANG_SECONDS, exit=True)
            ended, pending = await asyncio.wait(pending, timeout=_HANG_SECONDS / 4)
            now = time.perf_counter()
            for number, since in list(self._playing.items()):
                if now - since > _HANG_SECONDS:
                    self.note(number, f"hangs for {_HANG_SECONDS:g} s")
                    for worker in pending:
                        worker.cancel()
                    raise RuntimeError(f"case {number} hangs")
            for worker in ended:
                worker.result()
        faulthandler.cancel_dump_traceback_later()

    async def play(self, number: int) -> Exchange:
        """Plays one case, in a task of its own as a server would."""
        case = self._maker.make(number)
        self._playing[number] = started = time.perf_counter()
        exchange = Exchange(case, self._loop)
        await asyncio.create_task(self._call(case, exchange, number))
        exchange.close()
        del self._playing[number]
        seconds = time.perf_counter() - started
        self.figures.slowest = max(self.figures.slowest, (seconds, number))
        if exchange.too_late is not None:
            self.note(number, f"sent after the end: {exchange.too_late}")
        if text := problem(case, exchange.sent):
            self.note(number, text)
        self.figures.outcomes[_outcome(case, exchange)] += 1
        return exchange

    async def _call(self, case: Case, exchange: Exchange, number: int) -> None:
        _present.set(number)
        app = self._targets[case.target].app
        try:
            await app(exchange.scope, exchange.receive, exchange.send)
        except ClientGone:
            return
        except BaseException as err:  # noqa: BLE001 -- whatever it is, it must not be
            self.note(number, f"{type(err).__name__} escaped: {err}")

    def note(self, number: int, text: str) -> None:
        """Keeps a finding, unless there are some of its kind already."""
        kind = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{32}|\d+", "*", text)[:200]
        self._kinds[kind] += 1
        if self._kinds[kind] <= _SHOWN_EACH:
            self.findings.append(Finding(number=number, text=text[:2000]))

    async def _look(self, tasks: int) -> None:
        """Nothing may be left of what is over."""
        deadline = time.monotonic() + _HANG_SECONDS
        while True:
            flying = [await asyncio.to_thread(target.in_flight) for target in self._targets]
            left = len(asyncio.all_tasks()) - tasks
            # Inference jobs that were accepted go on in a few tasks of their own.
            if not any(flying) and left <= 16:
                break
            if time.monotonic() > deadline:
                self.note(-1, f"left in flight: calls {flying}, tasks {left}")
                break
            await asyncio.sleep(0.05)
        gc.collect()
        self.figures.memory.append(_memory())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Takes note of whatever is said to nobody: the loop's, threads', the log's failures."""
        handler = _LogHandler(self)
        root = logging.getLogger()
        root.addHandler(handler)
        self._loop.set_exception_handler(lambda _, context: self._note_loop(context))
        hook, sys.unraisablehook = sys.unraisablehook, lambda args: self._note_any(args)
        threads, threading.excepthook = threading.excepthook, lambda args: self._note_any(args)
        try:
            yield
        finally:
            root.removeHandler(handler)
            self._loop.set_exception_handler(None)
            sys.unraisablehook, threading.excepthook = hook, threads

    def _note_loop(self, context: dict[str, Any]) -> None:
        self.note(_present.get(), f"the loop's: {context.get('message')}: {context!r}")

    def _note_any(self, args: Any) -> None:
        self.note(_present.get(), f"nobody's: {args.exc_type.__name__}: {args.exc_value}")


def _memory() -> int:
    """The bytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# A model that does not load: what a client has brought need not be one.
_EXPECTED = {"<KFX20020E>"}


class _LogHandler(logging.Handler):
    """Whatever is logged as an error is a finding."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__(logging.ERROR)
        self._campaign = campaign

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "log_code", None) in _EXPECTED:
            return
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self._campaign.note(_present.get(), f"logged: {record.getMessage()}\n{trace[-1500:]}")


def _outcome(case: Case, exchange: Exchange) -> str:
    """In a word, for the figures."""
    if not exchange.sent:
        return "nothing"
    start, last = exchange.sent[0], exchange.sent[-1]
    kind = header(start["headers"], b"content-type")
    if kind.startswith(b"application/grpc-web"):
        return "gRPC-Web"
    if kind == b"application/grpc":
        code = header([*start["headers"], *last.get("headers", [])], b"grpc-status")
        return f"gRPC {code.decode() or 'cut off'}"
    return f"REST {start['status']}"
