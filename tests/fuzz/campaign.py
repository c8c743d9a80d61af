"""Plays many cases at a time, and keeps what went wrong with the number that makes it again."""

import abc
import asyncio
import collections
import faulthandler
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kitfox.server.asgi import Message, header
from tests.fuzz.cases import Case, Maker
from tests.fuzz.checks import problem

__all__ = ["HANG_SECONDS", "Campaign", "Figures", "Finding"]

HANG_SECONDS = 30.0
"""How long a case may take, and what is left of it."""

_MANY_MORE = 1000
"""So many others are played in the time of one that hangs."""
_AT_A_TIME = 24
_SHOWN_EACH = 3


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
    """Bytes that the server's process held, looked at now and then."""


class Campaign(abc.ABC):
    """Plays cases.

    Args:
        maker: Makes the cases.
        look_every: After how many cases to look at what is left of them.
    """

    def __init__(self, maker: Maker, *, look_every: int) -> None:
        self.figures = Figures()
        self.findings: list[Finding] = []
        self.maker = maker
        self._look_every = look_every
        self._kinds: collections.Counter[str] = collections.Counter()
        self._playing: dict[int, tuple[int, float]] = {}
        self._done = 0

    @abc.abstractmethod
    async def carry_out(self, case: Case, number: int) -> list[Message] | None:
        """Sends a case and takes its answer, as ASGI's events.

        Returns:
            None where the server may answer as it likes, or not at all.
        """

    @abc.abstractmethod
    async def look(self) -> int:
        """Notes what is left of the cases that are over; gives the memory that is held."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes what is said to nobody."""
        yield

    async def run(
        self,
        count: int,
        *,
        seconds: float | None = None,
        say: Callable[[Figures], None] | None = None,
    ) -> None:
        """Plays cases.

        Args:
            count: How many, unless the time ends before.
            seconds: The time.
            say: Told the figures now and then.
        """
        started = time.perf_counter()
        with self.watching():
            done = 0
            while done < count and (seconds is None or self.figures.seconds < seconds):
                many = min(self._look_every, count - done)
                await self._play_all(done, many)
                done += many
                self.figures.memory.append(await self.look())
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
            faulthandler.dump_traceback_later(10 * HANG_SECONDS, exit=True)
            ended, pending = await asyncio.wait(pending, timeout=HANG_SECONDS / 4)
            for number, (done, since) in list(self._playing.items()):
                # A machine that has other things to do is slow for all of them.
                is_alone = self._done - done > _MANY_MORE
                seconds = time.perf_counter() - since
                if seconds > HANG_SECONDS * (1 if is_alone else 10):
                    self.note(number, f"hangs for {HANG_SECONDS:g} s")
                    for worker in pending:
                        worker.cancel()
                    raise RuntimeError(f"case {number} hangs")
            for worker in ended:
                if worker.exception() is not None:
                    for other in pending:
                        other.cancel()
                worker.result()
        faulthandler.cancel_dump_traceback_later()

    async def play(self, number: int) -> list[Message]:
        """Plays one case."""
        case = self.maker.make(number)
        started = time.perf_counter()
        self._playing[number] = self._done, started
        sent = await self.carry_out(case, number)
        del self._playing[number]
        self._done += 1
        seconds = time.perf_counter() - started
        self.figures.slowest = max(self.figures.slowest, (seconds, number))
        if sent is None:
            return []
        if text := problem(case, sent):
            self.note(number, text)
        self.figures.outcomes[_outcome(sent)] += 1
        return sent

    def note(self, number: int, text: str) -> None:
        """Keeps a finding, unless there are some of its kind already."""
        kind = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{32}|\d+", "*", text)[:200]
        self._kinds[kind] += 1
        if self._kinds[kind] <= _SHOWN_EACH:
            self.findings.append(Finding(number=number, text=text[:2000]))


def _outcome(sent: list[Message]) -> str:
    """In a word, for the figures."""
    if not sent:
        return "nothing"
    start, last = sent[0], sent[-1]
    kind = header(start["headers"], b"content-type")
    if kind.startswith(b"application/grpc-web"):
        return "gRPC-Web"
    if kind == b"application/grpc":
        code = header([*start["headers"], *last.get("headers", [])], b"grpc-status")
        return f"gRPC {code.decode() or 'cut off'}"
    return f"REST {start['status']}"
