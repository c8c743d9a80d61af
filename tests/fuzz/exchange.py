"""Plays one case against an application: what a server would bring, and what it would take."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from kitfox.server.asgi import Message, Scope
from tests.fuzz.cases import Case

__all__ = ["ClientGone", "Exchange"]


class ClientGone(OSError):
    """What `send` raises when nobody takes the answer any more."""


class Exchange:
    """The two sides of one request.

    Args:
        case: The request.
        loop: The running event loop.
    """

    def __init__(self, case: Case, loop: asyncio.AbstractEventLoop) -> None:
        self.sent: list[Message] = []
        """The answer's events."""
        self.is_over = False
        self.too_late: Message | None = None
        """What was sent after the application had returned."""
        self._case = case
        self._loop = loop
        self._waiting = list(case.pieces[::-1])
        self._asked = not case.pieces
        self._end: asyncio.Future[None] = loop.create_future()
        self._is_gone = False
        self.receive = self._receive_soon if case.like_envoy else self._receive

    @property
    def scope(self) -> Scope:
        """ASGI's."""
        case = self._case
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "2",
            "method": case.verb,
            "scheme": "http",
            "path": case.path,
            "raw_path": case.path.encode("utf-8", "surrogateescape"),
            "query_string": case.query,
            "root_path": "",
            "headers": list(case.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": {"http.response.trailers": {}},
        }

    def close(self) -> None:
        """The application has returned."""
        self.is_over = True
        if not self._end.done():
            self._end.set_result(None)

    async def send(self, message: Message) -> None:
        """ASGI's."""
        if self.is_over:
            self.too_late = message
        if self._is_gone or len(self.sent) >= self._case.takes:
            self._is_gone = True
            raise ClientGone("gone")
        self.sent.append(message)
        if len(self.sent) & 1:
            await asyncio.sleep(0)

    async def _receive(self) -> Message:
        if (message := self._next()) is not None:
            return message
        if not self._case.leaves:
            # There is nothing more to come before the answer is over.
            await asyncio.shield(self._end)
        return {"type": "http.disconnect"}

    def _receive_soon(self) -> Awaitable[Message]:
        """Not a coroutine, as pyvoy's."""
        found: asyncio.Future[Any] = self._loop.create_future()
        message = self._next()
        if message is None:
            gone = self._case.leaves or self._is_gone or self.is_over
            message = {"type": "http.disconnect"} if gone else _EMPTY
        self._loop.call_soon(_bring, found, message)
        return found

    def _next(self) -> Message | None:
        if self._waiting:
            body = self._waiting.pop()
            return {"type": "http.request", "body": body, "more_body": self._has_more}
        if self._asked or self._case.leaves:
            return None
        self._asked = True
        return _EMPTY

    @property
    def _has_more(self) -> bool:
        if self._waiting or self._case.leaves:
            return True
        # Some bodies end with an empty piece.
        self._asked = len(self._case.pieces) % 2 == 1
        return not self._asked


_EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}


def _bring(found: "asyncio.Future[Any]", message: Message) -> None:
    if not found.done():
        found.set_result(message)
