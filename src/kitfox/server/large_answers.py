"""Large answers: sent piece by piece, as their clients take them, and counted until they have.

A small answer is handed to the engine as a whole, and its call is over. What is large stays with
its call until the engine has taken it, so that it counts as in flight, ends with its client, and is
bounded: each by a time, all of them by their size.

An engine takes more than a client does: Envoy keeps about 1 MiB of each answer before it makes the
sender wait, so answers below that are with it at once, whether their clients read them or not. The
only thing that it tells is, when asked, that a request is over: then the client has taken all of
its answer, or will take nothing more. So what was handed over stays counted, and is asked after now
and then, and when there is no room for more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from kitfox.config import Server
from kitfox.errors import DeadlineExceeded, ResourceExhausted
from kitfox.server.asgi import BodyRoom, Receive

__all__ = ["LARGE", "LargeAnswers", "Outflow"]

LARGE = 64 * 1024
"""Answers up to this size are sent at once."""

# As base64 text, which gRPC-Web may want, none but the last one has padding.
_PIECE = 3 << 14

_ENGINE_KEEPS = (1 << 20) + _PIECE
"""The most bytes of an answer that an engine takes before its client does."""

_LOOK_SECONDS = 1.0
"""How often to ask after what was handed over."""
_LEAST_SECONDS = 0.05
"""How soon to ask again, if there is no room, and for how long to wait for that."""
_LOOKS = 3
"""How often to ask for the sake of one answer: what is given back others may take."""
_ASKED_AT_A_TIME = 256
_PATIENCE_SECONDS = 0.2
"""An engine that knows answers at once; one that does not waits until the request is over."""


class LargeAnswers:
    """Sends large answers within their limits.

    Args:
        settings: Where the limits are.
    """

    def __init__(self, settings: Server) -> None:
        self._room = BodyRoom(
            settings.max_unsent_size,
            refusal="bytes of answers wait for clients to take them and no more are kept "
            "(setting server.max_unsent_size)",
        )
        self._seconds = settings.request_seconds
        self._left: deque[tuple[Receive, int]] = deque()
        self._look: asyncio.Task[None] | None = None
        self._vain_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def send(
        self,
        body: bytes,
        send: Callable[[bytes], Awaitable[None]],
        *,
        receive: Receive,
        head: bytes = b"",
        pack: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        """Sends one.

        Args:
            body: All of it.
            send: Sends a piece; returns when there is room for another one.
            receive: ASGI's, of its request.
            head: What comes before it.
            pack: Makes of the body what is sent in its place.

        Raises:
            ResourceExhausted: There is no room for it; nothing was sent.
            DeadlineExceeded: The client takes nothing of it any more.
        """
        held = len(body)
        await self.take(held)
        sent = 0
        try:
            if pack is not None:
                body = await pack(body)
            end = _PIECE - len(head)
            sent = end
            await self._within(send(head + body[:end]))
            for start in range(end, len(body), _PIECE):
                sent = start + _PIECE
                await self._within(send(body[start : start + _PIECE]))
        finally:
            kept = min(sent, len(body), held, _ENGINE_KEEPS)
            self.give_back(held - kept)
            self.leave(receive, kept)

    async def take(self, size: int) -> None:
        """Takes room for so many bytes.

        Raises:
            ResourceExhausted: There is none.
        """
        for _ in range(_LOOKS):
            try:
                self._room.take(size)
            except ResourceExhausted:
                if not await self._look_again():
                    raise
            else:
                return
        self._room.take(size)

    def give_back(self, size: int) -> None:
        """Gives room back: there is nothing any more that would need it."""
        self._room.give_back(size)

    def leave(self, receive: Receive, size: int) -> None:
        """Keeps room taken until a request is over.

        Args:
            receive: ASGI's, of the request.
            size: How many bytes of its answer were handed to the engine.
        """
        if not size:
            return
        self._left.append((receive, size))
        self._look_later()

    async def _within(self, sending: Awaitable[None]) -> None:
        """Waits for a piece to be taken, but not for ever."""
        try:
            async with asyncio.timeout(self._seconds or None):
                await sending
        except TimeoutError:
            raise DeadlineExceeded(
                f"the client took nothing of its answer for {self._seconds:g} s "
                "(setting server.request_seconds)"
            ) from None

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._look is None:
            self._look = asyncio.create_task(self._ask_all())
            self._look.add_done_callback(self._end)

    def _end(self, look: "asyncio.Task[None]") -> None:
        self._look = None
        if self._left:
            self._look_later()

    async def _look_again(self) -> bool:
        """Asks now, and tells whether there may be room.

        Not if that was in vain just before: who needs room has an answer in hand, and many do not
        ask the same of all that nobody reads.
        """
        if self._look is None:
            if not self._left or asyncio.get_running_loop().time() < self._vain_until:
                return False
            self._begin()
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=_LEAST_SECONDS)
        return True

    async def _ask_all(self) -> None:
        """Asks after the oldest answers, and after more as long as most of them were taken."""
        left, found = len(self._left), 0
        while left > 0:
            some = [self._left.popleft() for _ in range(min(left, _ASKED_AT_A_TIME))]
            left -= len(some)
            asked = [asyncio.create_task(self._ask(*item)) for item in some]
            await asyncio.wait(asked, timeout=_PATIENCE_SECONDS)
            kept = []
            for item, task in zip(some, asked, strict=True):
                if not task.done() or not task.result():
                    task.cancel()
                    kept.append(item)
            self._left += kept
            found += len(some) - len(kept)
            if 2 * len(kept) > len(some):
                break  # nobody is to wait for all that nobody reads
        if not found:
            self._vain_until = asyncio.get_running_loop().time() + _LEAST_SECONDS

    async def _ask(self, receive: Receive, size: int) -> bool:
        """Gives room back if a request is over, and tells whether it is."""
        try:
            is_over: bool = (await receive())["type"] == "http.disconnect"
        except Exception:  # noqa: BLE001 -- each ASGI server has its own for a client that is gone
            is_over = True
        if is_over:
            self._room.give_back(size)
        return is_over


class Outflow:
    """What an engine keeps of an answer that is a stream of results.

    Args:
        large: Counts it.
        receive: ASGI's, of its request.
    """

    __slots__ = ("_held", "_large", "_receive", "_sent")

    def __init__(self, large: LargeAnswers, receive: Receive) -> None:
        self._large = large
        self._receive = receive
        self._sent = 0
        self._held = 0

    async def send(self, data: bytes, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Sends results that are ready together, in pieces if they are large.

        Raises:
            ResourceExhausted: There is no room for them; nothing was sent.
        """
        size = len(data)
        self._sent += size
        if self._sent <= LARGE:
            await send(data)
            return
        more = min(self._sent, _ENGINE_KEEPS) - self._held
        if more > 0:
            await self._large.take(more)
            self._held += more
        if size <= LARGE:
            await send(data)
            return
        await self._large.take(size)
        try:
            for start in range(0, size, _PIECE):
                await send(data[start : start + _PIECE])
        finally:
            self._large.give_back(size)

    def close(self) -> None:
        """Nothing more will be sent."""
        self._large.leave(self._receive, self._held)
        self._held = 0
