"""The standard gRPC health service: whether the server, and each of its models, can serve.

What may be asked for: the empty name and the full name of every service of the method table, for
which the server's readiness is the answer; `model:<id>`, or just the id, for one model. Watches
wait for a change and cost nothing meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from kitfox.models import ModelManager
from kitfox.services.methods import Context, Decode, Encode
from kitfox.services.protocols import ServingStatus, health_methods

__all__ = ["Health"]

_MODEL = "model:"
_MOST_LISTED = 10_000
"""Past it a list would near what clients accept in one message."""


class Health:
    """Knows how the server and its models are, and tells those who watch.

    To be used from the event loop only.

    Args:
        models: The models of the server.
        services: The full names of the services that it offers.
    """

    def __init__(self, *, models: ModelManager, services: Iterable[str]) -> None:
        self._models = models
        self._services = frozenset(services)
        self._ready = False
        self._draining = False
        self._changes = 0
        self._watches: set[asyncio.Future[None]] = set()
        check, listing, _ = health_methods()
        self._check_class, self._list_class = check.response, listing.response

    @property
    def ready(self) -> bool:
        """Whether the server can serve; false before its start is done and when it drains."""
        return self._ready and not self._draining

    def start(self) -> None:
        """The server is ready from now on."""
        self._ready = True
        self.changed()

    def drain(self) -> None:
        """The server is about to stop: nothing serves any more, and watches end."""
        self._draining = True
        self.changed()

    def changed(self) -> None:
        """Has all watches look again; to be called when a model was loaded, unloaded or failed."""
        self._changes += 1
        watches, self._watches = self._watches, set()
        for watch in watches:
            if not watch.done():
                watch.set_result(None)

    async def check(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """How one thing is."""
        name = fields["service"]
        status = await self.status(name)
        if status is None:
            raise NotFound(
                f"{name!r} is no service and no model here: expected the empty name, the full name "
                f"of a service, or {_MODEL}<id>"
            )
        return self._answer(status)

    async def list_all(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """How everything is that could be asked for."""
        own = ServingStatus.SERVING if self.ready else ServingStatus.NOT_SERVING
        known = await asyncio.to_thread(self._models.store.names)
        loaded = self._models.loaded
        if len(self._services) + len(known) + len(loaded) > _MOST_LISTED:
            raise ResourceExhausted(
                f"there are more than {_MOST_LISTED} services and models; check them by name"
            )
        found = {"": own} | dict.fromkeys(sorted(self._services), own)
        for name in sorted({*known, *loaded}):
            found[f"{_MODEL}{name}"] = self._of_loaded(name) or ServingStatus.NOT_SERVING
        answer: dict[str, Any] = {
            "statuses": {name: self._answer(status) for name, status in found.items()}
        }
        return self._list_class(**answer)

    async def watch(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """How one thing is, now and whenever that changes, until the server is about to stop."""
        name = ""
        async for request in requests:
            name = decode(request)["service"]
        last = None
        while True:
            seen, is_last = self._changes, self._draining
            status = await self.status(name)
            status = ServingStatus.SERVICE_UNKNOWN if status is None else status
            if status is not last:
                last = status
                yield [encode(self._answer(status))]
            if is_last:
                raise Unavailable("the server is about to stop")
            if seen == self._changes:
                await self._change()

    async def status(self, name: str) -> ServingStatus | None:
        """How something is; None when there is nothing of this name."""
        if not name or name in self._services:
            return ServingStatus.SERVING if self.ready else ServingStatus.NOT_SERVING
        model_id = name.removeprefix(_MODEL)
        status = self._of_loaded(model_id)
        if status is not None:
            return status
        try:
            found = await asyncio.to_thread(self._models.store.locate, model_id)
        except InvalidArgument:  # no name that a model could have
            return None
        return ServingStatus.NOT_SERVING if found else None

    def _of_loaded(self, model_id: str) -> ServingStatus | None:
        model = self._models.peek(model_id)
        if model is None:
            return None
        # What runs a model in this process is ready as long as it is there.
        ready = getattr(model.execution, "ready", True) and not self._draining
        return ServingStatus.SERVING if ready else ServingStatus.NOT_SERVING

    def _answer(self, status: ServingStatus) -> DataObjectBase:
        answer: dict[str, Any] = {"status": int(status)}
        return self._check_class(**answer)

    async def _change(self) -> None:
        """Waits until something is different."""
        watch = asyncio.get_running_loop().create_future()
        self._watches.add(watch)
        try:
            await watch
        finally:
            self._watches.discard(watch)
