"""Handing out the model that a training has made, as an archive in pieces."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kitfox.interfaces.runtime.trainings import ArchivePart
from kitfox.modules.archive import iterate_archive
from kitfox.services.methods import Context, Decode, Encode
from kitfox.training import TrainingService

__all__ = ["TrainingDownload"]


class TrainingDownload:
    """A `StreamHandler` of the pieces of a zip file.

    Args:
        trainings: The trainings; the model stays while it is read.
    """

    def __init__(self, trainings: TrainingService) -> None:
        self._trainings = trainings

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """Hands out one model; the next piece is read when the one before has left."""
        fields: dict[str, Any] = {}
        async for request in requests:
            fields = decode(request)
        training_id = fields.get("training_id") or ""
        with ExitStack() as stack:
            reading = self._trainings.reading(training_id)
            place: Path = await asyncio.to_thread(stack.enter_context, reading)
            name: str | None = f"{place.name}.zip"
            pieces = _Pieces(iterate_archive(place))
            try:
                async for piece in pieces:
                    yield [encode(ArchivePart(data=piece, filename=name))]
                    name = None
            finally:
                await pieces.close()


class _Pieces(AsyncIterator[bytes]):
    """What an iterator gives that waits for the disk.

    Args:
        source: The iterator; it has a `close`.
    """

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source: Any = source
        self._next: asyncio.Future[bytes | None] | None = None

    async def __anext__(self) -> bytes:
        self._next = asyncio.ensure_future(asyncio.to_thread(next, self._source, None))
        piece = await asyncio.shield(self._next)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """Closes the iterator, when the thread that may be in it has come back."""
        if self._next is not None:
            await asyncio.wait({self._next})
        await asyncio.to_thread(self._source.close)
