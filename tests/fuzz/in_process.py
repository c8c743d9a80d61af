"""Plays cases against the application in this process, where nothing that it does is hidden."""

import asyncio
import gc
import logging
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kitfox.server.asgi import Message
from tests.fuzz.campaign import HANG_SECONDS, Campaign
from tests.fuzz.cases import Case, Maker
from tests.fuzz.exchange import ClientGone, Exchange
from tests.fuzz.targets import Target

__all__ = ["EXPECTED", "InProcess"]

EXPECTED = {"<KFX20020E>"}
"""What may be logged as an error. A model that does not load: what a client has brought need not be
one."""

_LOOK_EVERY = 20_000

_present: ContextVar[int] = ContextVar("present", default=-1)
"""The number of the case that a task plays."""


class InProcess(Campaign):
    """Plays cases against applications.

    Args:
        targets: The applications.
        maker: Makes the cases.
    """

    def __init__(self, targets: list[Target], maker: Maker) -> None:
        super().__init__(maker, look_every=_LOOK_EVERY)
        self._targets = targets
        self._loop = asyncio.get_running_loop()
        self._tasks = len(asyncio.all_tasks())

    async def carry_out(self, case: Case, number: int) -> list[Message]:
        """Calls the application, in a task of its own as a server would."""
        exchange = Exchange(case, self._loop)
        await asyncio.create_task(self._call(case, exchange, number))
        exchange.close()
        if exchange.too_late is not None:
            self.note(number, f"sent after the end: {exchange.too_late}")
        return exchange.sent

    async def _call(self, case: Case, exchange: Exchange, number: int) -> None:
        _present.set(number)
        app = self._targets[case.target].app
        try:
            await app(exchange.scope, exchange.receive, exchange.send)
        except ClientGone:
            return
        except BaseException as err:  # noqa: BLE001 -- whatever it is, it must not be
            self.note(number, f"{type(err).__name__} escaped: {err}")

    async def look(self) -> int:
        """Nothing may be left of what is over."""
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            flying = [await asyncio.to_thread(target.in_flight) for target in self._targets]
            left = len(asyncio.all_tasks()) - self._tasks
            # Inference jobs that were accepted go on in a few tasks of their own.
            if not any(flying) and left <= 16:
                break
            if time.monotonic() > deadline:
                self.note(-1, f"left in flight: calls {flying}, tasks {left}")
                break
            await asyncio.sleep(0.05)
        gc.collect()
        return _memory()

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


class _LogHandler(logging.Handler):
    """Whatever is logged as an error is a finding."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__(logging.ERROR)
        self._campaign = campaign

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "log_code", None) in EXPECTED:
            return
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self._campaign.note(_present.get(), f"logged: {record.getMessage()}\n{trace[-1500:]}")
