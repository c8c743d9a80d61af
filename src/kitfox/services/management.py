"""Managing the models of a server: bringing and removing, listing, loading, changing versions."""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, KitfoxError, ModelNotFound
from kitfox.interfaces.runtime.data_model import ModelInfo, UndeployModelRequest
from kitfox.interfaces.runtime.management import (
    ClearQuarantineResponse,
    ListModelsResponse,
    ModelDescription,
    QuarantinedRequest,
    QuarantineResponse,
)
from kitfox.models import LoadedModel, ModelEntry, ModelManager, ModelReference, check_model_id
from kitfox.modules import ModuleBase
from kitfox.services.methods import Context, Handler, Purpose
from kitfox.services.model_listing import Listed, ModelListing
from kitfox.training import TrainingService

if TYPE_CHECKING:
    from kitfox.models.replicas.quarantine import Quarantine

__all__ = ["SIZE_FACTOR", "STATES", "Deployment", "ModelManagement"]

# What a model takes in memory is told as so many times the bytes of its files, as in caikit.
SIZE_FACTOR = 10

STATES = ("available", "loading", "ready", "unloading", "failed", "incomplete")
"""The states that a model can be in."""

_IN_MEMORY = frozenset({"loading", "ready", "unloading", "failed"})
"""Those of models that the server need not look for on the disk."""

_PAGE, _LARGEST_PAGE = 100, 1000


class Deployment:
    """Brings models to the server as files, and takes them off it, as caikit's clients ask for.

    Args:
        models: The models of the server.
    """

    def __init__(self, models: ModelManager) -> None:
        self._models = models
        self._loads: set[asyncio.Future[Any]] = set()

    async def deploy(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Adds a model from its files; it is loaded after the answer."""
        model_id = fields.get("model_id") or ""
        files = [
            (file.filename or "", file.data or b"") for file in fields.get("model_files") or []
        ]
        return await self.publish(model_id, partial(self._models.store.deploy, model_id, files))

    async def publish(self, model_id: str, publish: Callable[[], ModelEntry]) -> ModelInfo:
        """Tells of a model that is published, in a thread; it is loaded after the answer."""
        entry = await asyncio.to_thread(publish)
        if not ModelReference.parse(model_id).version:
            load = asyncio.ensure_future(self._models.load(model_id))
            self._loads.add(load)
            load.add_done_callback(self._loaded)
        return ModelInfo(
            model_path=str(entry.path),
            name=model_id,
            size=entry.size * SIZE_FACTOR,
            metadata=None,
            loaded=False,
            module_id=None,
            module_metadata=None,
        )

    async def undeploy(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Removes a model and its files; calls that run on it finish."""
        model_id = fields.get("model_id") or ""
        await asyncio.to_thread(self._models.store.remove, model_id)
        for name in [*self._models.loaded, *self._models.loading]:
            if name == model_id or name.startswith(f"{model_id}@"):
                self._models.unload(name, why="it was undeployed")
        for name in self._models.failed:
            if name == model_id or name.startswith(f"{model_id}@"):
                self._models.forget_failure(name)
        return UndeployModelRequest(model_id=model_id)

    def _loaded(self, load: "asyncio.Future[Any]") -> None:
        self._loads.discard(load)
        # Why it did not load is in the log, and remembered for who asks.
        if not load.cancelled():
            load.exception()


class ModelManagement:
    """What the service `kitfox.models.Models` does.

    Args:
        models: The models of the server.
        trainings: The trainings, which have made some of them.
    """

    def __init__(self, models: ModelManager, trainings: TrainingService) -> None:
        self._models = models
        self._descriptions = _Descriptions(models, ModelListing(models.store, trainings))

    def handler(self, purpose: Purpose) -> Handler:
        """What does the work of a row."""
        handlers: dict[Purpose, Handler] = {
            Purpose.MODEL_LIST: self._list,
            Purpose.MODEL_SHOW: self._show,
            Purpose.MODEL_LOAD: self._load,
            Purpose.MODEL_UNLOAD: self._unload,
            Purpose.MODEL_RELOAD: self._reload,
            Purpose.MODEL_PROMOTE: self._promote,
            Purpose.MODEL_ROLL_BACK: self._roll_back,
            Purpose.QUARANTINE_LIST: self._list_quarantine,
            Purpose.QUARANTINE_CLEAR: self._clear_quarantine,
        }
        return handlers[purpose]

    async def _list(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        state = fields.get("state") or ""
        if state and state not in STATES:
            raise InvalidArgument(f"state: {state!r}: expected one of: {', '.join(STATES)}")
        size = fields.get("page_size") or _PAGE
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidArgument(f"page_size: expected 1 to {_LARGEST_PAGE}, got {size}")
        found, following = await asyncio.to_thread(
            self._descriptions.page,
            fields.get("filter") or "",
            state,
            size,
            fields.get("page_token") or "",
            everything=bool(fields.get("all")),
        )
        return ListModelsResponse(models=found, next_page_token=following)

    async def _show(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        return await self._described(fields.get("model_id") or "")

    async def _load(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        model_id = check_model_id(fields.get("model_id") or "")
        await self._models.pardon(model_id)
        await self._models.load(model_id)
        return await self._described(model_id)

    async def _unload(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        model_id = check_model_id(fields.get("model_id") or "")
        was_there = self._models.unload(model_id)
        try:
            return await self._described(model_id)
        except ModelNotFound:
            if not was_there:
                raise
            return _description(model_id, "available")

    async def _reload(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        model_id = check_model_id(fields.get("model_id") or "")
        await self._models.pardon(model_id)
        await self._models.reload(model_id)
        return await self._described(model_id)

    async def _promote(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        name = fields.get("name") or ""
        await self._models.promote(name, fields.get("version") or "")
        return await self._described(name)

    async def _roll_back(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        name = fields.get("name") or ""
        await self._models.roll_back(name)
        return await self._described(name)

    async def _list_quarantine(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        quarantine = await self._quarantine(fields.get("model_id") or "")
        entries = [] if quarantine is None else quarantine.entries()
        return QuarantineResponse(
            requests=[
                QuarantinedRequest(
                    digest=entry.digest,
                    method=entry.method,
                    reason=entry.reason,
                    since=datetime.datetime.fromtimestamp(entry.since, datetime.UTC),
                    refused=entry.refused,
                )
                for entry in entries
            ]
        )

    async def _clear_quarantine(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        quarantine = await self._quarantine(fields.get("model_id") or "")
        digest = fields.get("digest") or None
        return ClearQuarantineResponse(
            cleared=0 if quarantine is None else quarantine.clear(digest)
        )

    async def _quarantine(self, model_id: str) -> "Quarantine | None":
        """The quarantine of a model; None if it has had no processes of its own."""
        quarantine = await self._models.recall_quarantine(check_model_id(model_id))
        if quarantine is None and self._models.peek(model_id) is None:
            raise ModelNotFound(model_id, list(self._models.loaded)[:50], "it is not loaded")
        return quarantine

    async def _described(self, model_id: str) -> ModelDescription:
        check_model_id(model_id)
        return await asyncio.to_thread(self._descriptions.of, model_id)


class _Descriptions:
    """Puts together what is known of models, on disk and in memory. Reads the disk.

    Args:
        models: The models of the server.
        listing: What there is to tell of.
    """

    def __init__(self, models: ModelManager, listing: ModelListing) -> None:
        self._models = models
        self._listing = listing

    def page(
        self, pattern: str, state: str, size: int, token: str, *, everything: bool
    ) -> tuple[list[ModelDescription], str | None]:
        """Models after the one that the token names, and the token of the next page if any."""
        found: list[ModelDescription] = []
        last = ""
        for model_id, its_token in self._listed(pattern, state, token, everything=everything):
            if len(found) == size:
                return found, last
            with contextlib.suppress(ModelNotFound):  # removed meanwhile
                description = self.of(model_id)
                if state in ("", description.state):
                    found.append(description)
                    last = its_token
        return found, None

    def of(self, model_id: str) -> ModelDescription:
        """One model.

        Raises:
            ModelNotFound: There is none, neither in the store nor loaded.
        """
        models = self._models
        loaded = models.peek(model_id)
        entry = self._entry(model_id)
        if entry is None and loaded is None:
            if model_id in models.loading:
                return _description(model_id, "loading")
            failure = models.failure(model_id)
            if failure is not None and failure.is_remote:
                return _description(model_id, "failed", **self._trouble(model_id, None))
            why = "it has not been downloaded" if models.store.may_be_remote(model_id) else ""
            raise ModelNotFound(model_id, list(models.loaded)[:50], why)
        quarantine = models.quarantine(model_id)
        known = {
            **_on_disk(entry),
            **_in_memory(loaded),
            **self._trouble(model_id, entry),
            "quarantined": None if quarantine is None else len(quarantine.entries()),
        }
        return _description(model_id, self._state(model_id, entry), **known)

    def _listed(
        self, pattern: str, state: str, token: str, *, everything: bool
    ) -> Iterator[Listed]:
        models = self._models
        known = {*models.loaded, *models.loading, *models.failed}
        if state in _IN_MEMORY:
            known |= {model.name for model in models.budget.ending}
            return self._listing.in_memory(pattern, known, token)
        return self._listing.every(pattern, known, token, everything=everything)

    def _entry(self, model_id: str) -> ModelEntry | None:
        try:
            return self._models.store.describe(model_id)
        except ModelNotFound:
            return None
        except KitfoxError as err:
            path = self._models.store.root / model_id
            return ModelEntry(name=model_id, path=path, module=None, problem=err.message)

    def _state(self, model_id: str, entry: ModelEntry | None) -> str:
        models = self._models
        is_loading = model_id in models.loading  # asked first: it is loaded before that ends
        if (model := models.peek(model_id)) is not None:
            # Of those that run in processes of their own, one must be there.
            return "ready" if getattr(model.execution, "ready", True) else "failed"
        if is_loading:
            return "loading"
        if any(model.name == model_id and model.in_flight for model in models.budget.ending):
            return "unloading"
        if entry is not None and entry.problem:
            return "incomplete"
        return "failed" if models.failure(model_id) is not None else "available"

    def _trouble(self, model_id: str, entry: ModelEntry | None) -> dict[str, Any]:
        failure = self._models.failure(model_id)
        if failure is not None:
            return {"last_error": failure.reason, "log": list(failure.log)}
        return {"last_error": entry.problem} if entry is not None and entry.problem else {}


def _on_disk(entry: ModelEntry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    return {
        "path": str(entry.path),
        "size": entry.size,
        "version": entry.version or None,
        "versions": list(entry.versions),
        **_of_module(entry.module),
    }


def _in_memory(model: LoadedModel | None) -> dict[str, Any]:
    if model is None:
        return {}
    figures = model.execution.figures()
    return {
        "path": str(model.path),
        "size": model.size,
        "memory": model.memory,
        "replicas": 1,
        **_in_replicas(getattr(model.execution, "replicas", [])),
        "queue_length": figures.waiting,
        "in_flight": model.in_flight,
        "calls": figures.calls,
        "loaded_at": model.loaded_at,
        "load_seconds": model.load_seconds,
        **_of_module(model.module),
    }


def _in_replicas(replicas: Sequence[Any]) -> dict[str, Any]:
    """What there is to say of the processes that a model runs in, if it does."""
    if not replicas:
        return {}
    found: dict[str, Any] = {
        "replicas": sum(replica.state == "ready" for replica in replicas),
        "memory": sum(replica.rss for replica in replicas),
    }
    if failed := [replica for replica in replicas if replica.last_error]:
        found |= {"last_error": failed[-1].last_error, "log": list(failed[-1].log_tail)}
    return found


def _of_module(module: type[ModuleBase] | None) -> dict[str, Any]:
    if module is None:
        return {}
    return {
        "module_id": module.MODULE_ID,
        "module_name": module.MODULE_NAME,
        "module_version": module.MODULE_VERSION,
        "tasks": [task.__name__ for task in module.tasks],
    }


def _description(model_id: str, state: str, **known: Any) -> ModelDescription:
    values = {"versions": [], "tasks": [], "log": [], **known}
    made: Any = ModelDescription
    description: ModelDescription = made(model_id=model_id, state=state, **values)
    return description
