"""Large answers: sent piece by piece, as their clients take them.

A small answer is handed to the engine as a whole, and its call is over. What is large stays with
its call until the client has taken it, so that it counts as in flight, ends with its client, and is
bounded: each by a time, all of them by their size.
"""

import asyncio
from collections.abc import Awaitable, Callable

from kitfox.config import Server
from kitfox.errors import DeadlineExceeded
from kitfox.server.asgi import BodyRoom

__all__ = ["LARGE", "LargeAnswers"]

LARGE = 64 * 1024
"""Answers up to this size are sent at once."""

# As base64 text, which gRPC-Web may want, none but the last one has padding.
_PIECE = 3 << 14


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

    async def send(
        self,
        body: bytes,
        send: Callable[[bytes], Awaitable[None]],
        *,
        head: bytes = b"",
        pack: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        """Sends one.

        Args:
            body: All of it.
            send: Sends a piece; returns when there is room for another one.
            head: What comes before it.
            pack: Makes of the body what is sent in its place.

        Raises:
            ResourceExhausted: There is no room for it; nothing was sent.
            DeadlineExceeded: The client takes nothing of it any more.
        """
        size = len(body)
        self._room.take(size)
        try:
            if pack is not None:
                body = await pack(body)
            end = _PIECE - len(head)
            await self._within(send(head + body[:end]))
            for start in range(end, len(body), _PIECE):
                await self._within(send(body[start : start + _PIECE]))
        finally:
            self._room.give_back(size)

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
