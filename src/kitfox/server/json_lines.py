"""Streams of requests over REST: one JSON value a line, wherever the transport cuts them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from kitfox.errors import Cancelled
from kitfox.server.asgi import BodyRoom, BodyTooLarge, Receive

__all__ = ["JsonLines"]

_YIELD_AFTER = 1000
_BOM = b"\xef\xbb\xbf"


class JsonLines(AsyncIterator[bytes]):
    """The lines of a request's body as they come, without those that are empty.

    Args:
        receive: ASGI's.
        limit: The most bytes of a line.
        room: Where the beginnings of lines are counted.
        on_end: Called when the last line has come.
        on_gone: Called when the client goes away before that.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        limit: int,
        room: BodyRoom,
        on_end: Callable[[], object],
        on_gone: Callable[[Cancelled], object],
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._room = room
        self._held = 0
        self._on_end = on_end
        self._on_gone = on_gone
        self._ready: deque[tuple[int, bytes]] = deque()
        self._begun = 1
        self._rest = bytearray()
        self._number = 0
        self._ended = False
        self._first: bytes | None = None
        self._handed_out: deque[int] = deque()

    @property
    def number(self) -> int:
        """Of the last line that was read, from 1."""
        return self._number

    async def first(self) -> bytes | None:
        """The first line, which stays to be iterated over; None when there is none."""
        if self._first is None:
            self._first = await self._next()
        return self._first

    async def __anext__(self) -> bytes:
        """The next line.

        Raises:
            StopAsyncIteration: There is none.
            BodyTooLarge: It is too long.
            Cancelled: The client went away.
        """
        line, self._first = self._first, None
        if line is None:
            line = await self._next()
        if line is None:
            raise StopAsyncIteration
        self._handed_out.append(self._number)
        return line

    def take_number(self) -> int:
        """The number in the body, from 1, of the next line that is decoded.

        Lines are decoded in their order, but later than they are read.
        """
        return self._handed_out.popleft()

    def close(self) -> None:
        """Gives up what has come of a line."""
        self._rest.clear()
        self._hold(0)

    def _hold(self, size: int) -> None:
        """Counts what waits for the rest of its line."""
        if size > self._held:
            self._room.take(size - self._held)
        else:
            self._room.give_back(self._held - size)
        self._held = size

    async def _next(self) -> bytes | None:
        while True:
            for _ in range(min(len(self._ready), _YIELD_AFTER)):
                self._number, line = self._ready.popleft()
                self._check_length(len(line), self._number)
                line = (line.removeprefix(_BOM) if self._number == 1 else line).strip()
                if line:
                    return line
            if self._ready:
                # A piece may hold a million lines of blanks, and others wait for their turn.
                await asyncio.sleep(0)
                continue
            if self._ended:
                return None
            await self._fill()

    async def _fill(self) -> None:
        """Takes the next piece of the body."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            reason = Cancelled("the client went away while it sent its requests")
            self._on_gone(reason)
            raise reason
        body: bytes = message.get("body", b"")
        first, *others = body.split(b"\n")
        self._rest += first
        if others:
            *whole, rest = [bytes(self._rest), *others]
            self._ready.extend(
                (number, line) for number, line in enumerate(whole, self._begun) if line
            )
            self._begun += len(whole)
            self._rest = bytearray(rest)
            if len(whole) > _YIELD_AFTER:
                await asyncio.sleep(0)
        if message.get("more_body"):
            self._check_length(len(self._rest), self._begun)
            self._hold(len(self._rest))
            return
        self._hold(0)
        self._ended = True
        self._ready.append((self._begun, bytes(self._rest)))
        self._rest.clear()
        self._on_end()

    def _check_length(self, length: int, number: int) -> None:
        if length > self._limit:
            raise BodyTooLarge(f"line {number}", self._limit, "server.max_message_size")
