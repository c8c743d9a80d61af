"""An ASGI application's start and end."""

import asyncio
from typing import Any

from kitfox.errors import FailedPrecondition
from kitfox.server._status import Link
from kitfox.server.asgi import Message

__all__ = ["Lifespan"]


class Lifespan:
    """Starts an application, and shuts it down.

    Args:
        app: The application.
        link: Where it says why it cannot start.
    """

    def __init__(self, app: Any, link: Link) -> None:
        self._app = app
        self._link = link
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the application can answer requests.

        Raises:
            FailedPrecondition: It said that it cannot.
            Exception: What it raised.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.create_task(self._app(scope, self._told.get, self._said.put))
        message = await self._ask("startup")
        if message["type"] != "lifespan.startup.complete":
            reason = self._link.failure or message.get("message") or "it gave no reason"
            raise FailedPrecondition(reason)

    async def stop(self) -> None:
        """Returns when the application has ended what it began."""
        await self._ask("shutdown")
        if self._task is not None:
            await self._task

    async def _ask(self, what: str) -> Message:
        assert self._task is not None, what  # noqa: S101 -- `start` comes first
        self._told.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._said.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        if not self._said.empty():
            return self._said.get_nowait()
        # It ended without an answer: with an exception that says more than we could.
        await self._task
        return {"type": f"lifespan.{what}.failed"}
