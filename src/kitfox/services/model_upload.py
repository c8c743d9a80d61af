"""Taking in a model as an archive in pieces: as large as the disk, not as a message, allows."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, TypeVar

from kitfox.models import IncomingModel, ModelManager
from kitfox.services.management import Deployment
from kitfox.services.methods import Context, Decode, Encode

__all__ = ["ModelUpload"]

T = TypeVar("T")

# Pieces are written so many bytes at a time.
_ENOUGH = 1024 * 1024


class ModelUpload:
    """A `StreamHandler` of the pieces of a zip file; it answers when the model is in its place.

    Args:
        models: The models of the server.
    """

    def __init__(self, models: ModelManager) -> None:
        self._models = models
        self._deployment = Deployment(models)

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """Takes one model."""
        async with AsyncExitStack() as stack:
            model_id, incoming = "", None
            waiting = bytearray()
            async for request in requests:
                fields = decode(request)
                if incoming is None:
                    model_id = fields.get("model_id") or ""
                    incoming = await stack.enter_async_context(self._receive(model_id))
                waiting += fields.get("data") or b""
                if len(waiting) >= _ENOUGH:
                    await _in_thread(incoming.write, bytes(waiting))
                    waiting.clear()
            if incoming is None:
                incoming = await stack.enter_async_context(self._receive(model_id))
            await _in_thread(incoming.write, bytes(waiting))
            info = await self._deployment.publish(model_id, incoming.publish)
        yield [encode(info)]

    @asynccontextmanager
    async def _receive(self, model_id: str) -> AsyncIterator[IncomingModel]:
        stack = ExitStack()
        try:
            yield await _in_thread(stack.enter_context, self._models.store.receive(model_id))
        finally:
            # Also what was made for a call that was cancelled while it was made.
            await _in_thread(stack.close)


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Does some work in a thread, to its end: nothing may be removed that is being written."""
    done = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        if not done.cancelled():
            done.exception()
        raise
