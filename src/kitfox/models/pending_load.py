"""A load that goes on, and those who wait for it."""

import asyncio
from collections.abc import Callable

from kitfox.errors import KitfoxError
from kitfox.models.loaded import LoadedModel

__all__ = ["PendingLoad"]


class PendingLoad:
    """The load of one model; to be made on the event loop."""

    __slots__ = ("future", "task")

    def __init__(self) -> None:
        self.future: asyncio.Future[LoadedModel] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting any more.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.task: asyncio.Task[None] | None = None

    def end(self, error: KitfoxError) -> None:
        """Gives it up."""
        if not self.future.done():
            self.future.set_exception(error)
        if self.task is not None:
            self.task.cancel()

    async def allows(self, before: Callable[[], object], model: LoadedModel) -> bool:
        """Whether what is to be done before the model is put in place could be done."""
        try:
            await asyncio.to_thread(before)
        except Exception as err:  # noqa: BLE001 -- who waits for the load gets it
            model.retire()
            self.future.set_exception(err)
            return False
        except asyncio.CancelledError:
            model.retire()
            raise
        return True
