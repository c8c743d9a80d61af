"""Loaded models: found by id in one dictionary look-up, loaded once however many ask.

The event loop owns the dictionary. Loading itself runs elsewhere (`loading`); a model that does not
load is logged by name with the reason, remembered for a while, and keeps no other from serving. A
new version takes the place of the old one when it is ready; calls finish on the one that they began
on.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox import logs
from kitfox.errors import KitfoxError, ModelNotFound, NotFound, ResourceExhausted, Unavailable
from kitfox.models.budget import MemoryBudget
from kitfox.models.failures import (
    NOTHING,
    NOWHERE,
    Failures,
    LoadFailure,
    load_failure,
    not_found,
    reason_of,
)
from kitfox.models.following import Follower
from kitfox.models.identity import Files, files_at, files_if_any
from kitfox.models.loaded import LoadedModel
from kitfox.models.loading import ModelLoader, ModelOpener
from kitfox.models.pending_load import PendingLoad
from kitfox.models.places import MOST_HINTS, Place, Places
from kitfox.models.reference import check_model_id
from kitfox.models.same_models import SameModels
from kitfox.models.store import ModelStore
from kitfox.models.stream_places import StreamPlaces
from kitfox.modules.manifest import DamagedModel, IncompleteModel

if TYPE_CHECKING:
    from kitfox.models.replicas.quarantine import Quarantine

__all__ = ["LoadedModel", "ModelManager"]

log = logs.channel("MODELS")

_MOST_ATTEMPTS = 5


class ModelManager:
    """Keeps models loaded.

    To be used from the event loop only.

    Args:
        store: Where models are found.
        stream_places: How many calls may read a stream of requests at the same time.
        loader: What loads them.
        lazy: Whether an id that is not loaded is looked for in the store by a request.
        memory_budget: The most bytes of models that are loaded at the same time; 0: no limit.
        memory_wait_seconds: How long a load waits for room when all models are in use.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        stream_places: StreamPlaces | None = None,
        loader: ModelLoader | None = None,
        lazy: bool = True,
        memory_budget: int = 0,
        memory_wait_seconds: float = 5.0,
    ) -> None:
        self.store = store
        self.stream_places = stream_places or StreamPlaces()
        self._loader = loader or ModelLoader(ModelOpener())
        self._places = Places(store, lazy=lazy)
        self._loaded: dict[str, LoadedModel] = {}
        self._loading: dict[str, PendingLoad] = {}
        self._same = SameModels(self._loaded)
        self._failures = Failures()
        self._listeners: list[Callable[[], None]] = []
        self.budget = MemoryBudget(
            memory_budget,
            loaded=self._loaded,
            evict=partial(self.unload, why="to make room"),
            may_evict=lazy,
            patience=memory_wait_seconds,
        )
        self.follower = Follower(self)

    @property
    def loaded(self) -> Mapping[str, LoadedModel]:
        """The loaded models by id."""
        return self._loaded

    @property
    def loading(self) -> frozenset[str]:
        """The ids of the models that are being loaded."""
        return frozenset(self._loading)

    @property
    def failed(self) -> frozenset[str]:
        """The ids of the models whose last load failed."""
        return frozenset(self._failures)

    def failure(self, model_id: str) -> LoadFailure | None:
        """What is remembered of a model's last load, if that failed."""
        return self._failures.get(model_id)

    def quarantine(self, model_id: str) -> "Quarantine | None":
        """What a model refuses, also while it is not loaded; None if that was never asked."""
        model = self.peek(model_id)
        return self._loader.quarantines.find(model_id if model is None else model.name)

    async def recall_quarantine(self, model_id: str) -> "Quarantine | None":
        """The same, also of a model that has not been loaded since the server was started."""
        if (found := self.quarantine(model_id)) is not None:
            return found
        path = await asyncio.to_thread(self.store.locate, model_id)
        files = None if path is None else await asyncio.to_thread(files_if_any, path)
        if files is None:
            return None
        return await self._loader.quarantines.recall_if_any(model_id, files)

    def suspects(self) -> frozenset[str]:
        """The models whose load has ended a server. Reads the disk."""
        return self._loader.suspects()

    def fails(self, model_id: str, path: Path, files: Files) -> bool:
        """Whether to load these files under an id now would only repeat a failure."""
        return self._failures.standing(model_id, path, files) is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Has a function called after a model was loaded or unloaded, or did not load."""
        self._listeners.append(listener)

    def peek(self, model_id: str) -> LoadedModel | None:
        """The model if it is loaded: the quick way, without a step of the event loop."""
        return self._loaded.get(model_id) or self._same.find(model_id)

    def is_known(self, model_id: str) -> bool:
        """Whether a model of this id is loaded, or is there and could not be loaded."""
        return model_id in self._loaded or self._failures.get(model_id) is not None

    async def get(self, model_id: str) -> LoadedModel:
        """The model, loaded if need be; it is there at least until the caller waits again.

        Raises:
            InvalidArgument: The id is empty or not a plain name.
            ModelNotFound: There is no such model, or it is not loaded and may not be.
            KitfoxError: It exists and does not load; the message says why.
        """
        # It may be unloaded between the end of its load and this caller's turn.
        for _ in range(_MOST_ATTEMPTS):
            model = self.peek(model_id)
            if model is not None:
                return model
            load = self._loading.get(model_id)
            if load is None:
                check_model_id(model_id)
                place = await asyncio.to_thread(self._places.find, model_id)
                if model_id in self._loaded:
                    continue
                path = self._known(model_id, place)
                files = NOTHING if path is None else place.files
                if failure := self._failures.standing(model_id, path or NOWHERE, files):
                    raise failure.error()
                if (model := await self._shared(model_id, path, files)) is not None:
                    return model
                load = self._begin(model_id, path)
            await asyncio.shield(load.future)
        raise Unavailable(f"Model {model_id} was unloaded each time that it was loaded; try again")

    async def load(
        self,
        model_id: str,
        path: Path | None = None,
        *,
        urgent: bool = True,
        follows_store: bool = True,
    ) -> LoadedModel:
        """Loads a model unless it is loaded; callers that ask meanwhile share the one load.

        Args:
            model_id: The id that it gets.
            path: Where it lies; by default where the store has it, once it has been downloaded
                if it is in a remote one.
            urgent: Whether somebody waits for it; else it comes after those that are waited for,
                and makes none of them go.
            follows_store: Whether what is in the store under its id takes its place.

        Raises:
            ModelNotFound: There is no such model.
            KitfoxError: It does not load.
        """
        if path is None:
            place = await asyncio.to_thread(self._places.look, check_model_id(model_id))
            path = self._known(model_id, place)
            if (model := await self._shared(model_id, path, place.files)) is not None:
                return model
        if (model := self._loaded.get(model_id)) is not None:
            return model
        load = self._begin(model_id, path, urgent=urgent, follows_store=follows_store)
        return await asyncio.shield(load.future)

    async def reload(self, model_id: str) -> LoadedModel:
        """Loads what is now in the store under an id, and then puts it in the place of the old.

        Raises:
            ModelNotFound: There is no such model.
            KitfoxError: It does not load; the old one stays.
        """
        current = self._loaded.get(model_id)
        if current is not None and not current.follows_store:
            return await self.replace(model_id, current.path, follows_store=False)
        place = await asyncio.to_thread(self._places.look, check_model_id(model_id))
        return await self.replace(model_id, self._known(model_id, place))

    async def replace(
        self,
        model_id: str,
        path: Path | None,
        *,
        follows_store: bool = True,
        before: Callable[[], object] | None = None,
    ) -> LoadedModel:
        """Loads a model and puts it in the place of the one that has its id.

        Args:
            model_id: The id.
            path: Where the new one lies; None: in a remote store.
            follows_store: Whether what is in the store under its id takes its place.
            before: Called in a thread when it is ready, before it is put in place.

        Raises:
            KitfoxError: It does not load; the old one stays.
        """
        while (running := self._loading.get(model_id)) is not None:
            # It may have begun before what is wanted was there.
            await asyncio.wait({running.future})
        load = self._begin(model_id, path, follows_store=follows_store, before=before)
        return await asyncio.shield(load.future)

    async def refresh(self, model_id: str) -> None:
        """Looks whether a loaded model is still what the store has, and follows the store.

        Raises:
            KitfoxError: There is a new version that does not load; the old one stays.
        """
        model = self._loaded.get(model_id)
        if model is None or not model.follows_store:
            return
        place = await asyncio.to_thread(self._places.look, model_id)
        if self._loaded.get(model_id) is not model:
            return
        path, files = place.path, place.files
        if path is None and place.may_be_remote:
            with contextlib.suppress(ModelNotFound):
                await self._refresh_remote(model)
                return
        if path is None or files is None:
            self.unload(model_id, why="it is no longer in the store")
        elif _is_other(model, path, files) and not self.fails(model_id, path, files):
            await self.replace(model_id, path)

    async def _refresh_remote(self, model: LoadedModel) -> None:
        """Has a model again whose files in the cache are no longer what was loaded."""
        now = await asyncio.to_thread(files_if_any, model.path)
        if _is_other(model, model.path, now):
            await self.replace(model.name, None)

    async def promote(self, name: str, version: str) -> None:
        """Makes a version the one that a name means; a loaded one is loaded and warmed up before.

        Raises:
            NotFound: There is no such version.
            KitfoxError: It does not load, or cannot be promoted: all stays as it was.
        """
        await self._switch(name, version, partial(self.store.promote, name, version))

    async def roll_back(self, name: str) -> None:
        """Makes the version current that was so before; as `promote`.

        Raises:
            FailedPrecondition: There is none.
        """
        version = await asyncio.to_thread(self.store.previous, name)
        await self._switch(name, version, partial(self.store.roll_back, name))

    async def _switch(self, name: str, version: str, switch: Callable[[], object]) -> None:
        model = self._loaded.get(name)
        if model is None or not model.follows_store or not version:
            await asyncio.to_thread(switch)
        else:
            path, is_new = await asyncio.to_thread(self.store.prepare, name, version)
            try:
                if _is_other(model, path, await asyncio.to_thread(files_if_any, path)):
                    await self.replace(name, path, before=switch)
                else:
                    await asyncio.to_thread(switch)
            except Exception:
                if is_new:  # all stays as it was
                    await asyncio.to_thread(self._take_back, f"{name}@{version}")
                raise
        # Somebody else may have changed the store meanwhile.
        await self.refresh(name)
        self._failures.forget(name)

    def _take_back(self, model_id: str) -> None:
        """Removes a version that was made for a promotion which has failed."""
        with contextlib.suppress(KitfoxError):
            self.store.remove(model_id)

    def unload(self, model_id: str, *, why: str = "as told") -> bool:
        """Forgets a model, also while it is being loaded; calls that run on it finish.

        Returns:
            Whether there was anything to forget.
        """
        was_shared = self._same.forget(model_id)
        load = self._loading.pop(model_id, None)
        if load is not None:
            load.end(NotFound(f"Model {model_id} was unloaded while it was being loaded"))
        model = self._loaded.pop(model_id, None)
        self._failures.forget(model_id)
        if model is not None:
            model.retire()
            if model.files is not None and model.follows_store:
                self.follower.dismiss(model_id, model.files)
            self.budget.note_end(model)
            log.info("Unloaded model %s: %s", model_id, why, extra={"log_code": "<KFX20030I>"})
            self._changed()
        return model is not None or load is not None or was_shared

    async def pardon(self, model_id: str) -> None:
        """Lets a model be tried again, also one whose load has ended servers."""
        self._failures.forget(model_id)
        await asyncio.to_thread(self._loader.pardon, model_id)

    def forget_failure(self, model_id: str) -> None:
        """Lets a model that did not load be tried again by the next request."""
        self._failures.forget(model_id)

    def close(self) -> None:
        """Stops loading and running."""
        for model_id in list(self._loading):
            self._loading.pop(model_id).end(Unavailable("the server is about to stop"))
        self._loader.close()
        for model in self._loaded.values():
            model.execution.close()

    async def _shared(
        self, model_id: str, path: Path | None, files: Files | None
    ) -> LoadedModel | None:
        """The loaded model that `name@version` stands for, if `name` is that version now."""
        name, at, _ = model_id.partition("@")
        model = self._loaded.get(name) if at else None
        if (
            path is None
            or model is None
            or not model.follows_store
            or _is_other(model, path, files)
        ):
            return None
        if not await asyncio.to_thread(self._loader.runs_alike, name, model_id, path):
            return None
        self._same.note(model_id, model)
        return self.peek(model_id)

    def _known(self, model_id: str, place: Place) -> Path | None:
        """The path of a model; None if it has yet to be looked for in the remote stores.

        Raises:
            ModelNotFound: There is none.
        """
        if place.path is None and not place.may_be_remote:
            raise self._not_there(model_id, place.hints)
        return place.path

    def _not_there(self, model_id: str, hints: Iterable[str]) -> ModelNotFound:
        return ModelNotFound(model_id, {*itertools.islice(self._loaded, MOST_HINTS), *hints})

    def _begin(
        self,
        model_id: str,
        path: Path | None,
        *,
        urgent: bool = True,
        follows_store: bool = True,
        before: Callable[[], object] | None = None,
    ) -> PendingLoad:
        """The load of a model that is going on, or a new one."""
        load = self._loading.get(model_id)
        if load is None:
            load = self._loading[model_id] = PendingLoad()
            work = self._load(load, model_id, path, urgent, follows_store, before)
            load.task = asyncio.ensure_future(work)
        return load

    async def _load(
        self,
        load: PendingLoad,
        model_id: str,
        path: Path | None,
        urgent: bool,
        follows_store: bool,
        before: Callable[[], object] | None,
    ) -> None:
        files: Files | None = None
        spent = 0.0
        try:
            if path is None:
                path, spent = await self._fetch(model_id, urgent)
                if await self._is_settled(load, model_id, path):
                    return
            files = await asyncio.to_thread(files_at, path)
            need = await self._need(model_id, path, files)
            async with self.budget.reserved(model_id, need, may_evict=urgent):
                model = await self._loader.load(
                    model_id, path, urgent=urgent, follows_store=follows_store, spent=spent
                )
                if before is None or await load.allows(before, model):
                    self._publish(load, model)
            self.budget.settle(model_id)
        except asyncio.CancelledError:
            load.end(Unavailable(f"Model {model_id} was not loaded to the end"))
            raise
        except Exception as err:  # noqa: BLE001 -- an edge: module code of any kind has run
            if path is None:
                error = self._not_fetched(model_id, err)
            else:
                error = await self._failed(model_id, path, files, err, remember=follows_store)
            if not load.future.done():
                load.future.set_exception(error)
        finally:
            if self._loading.get(model_id) is load:
                del self._loading[model_id]
        self._changed()

    async def _fetch(self, model_id: str, urgent: bool) -> tuple[Path, float]:
        """Where a model lies that was in a remote store, and how many seconds that took."""
        path, spent = await self._loader.fetch(model_id, self.store.find, urgent=urgent)
        if path is None:
            raise self._not_there(model_id, await asyncio.to_thread(self._places.hints))
        return path, spent

    async def _is_settled(self, load: PendingLoad, model_id: str, path: Path) -> bool:
        """Whether what a remote store has need not be loaded: it is, or would not do so again."""
        files = await asyncio.to_thread(files_if_any, path)
        if failure := self._failures.standing(model_id, path, files):
            load.future.set_exception(failure.error())
            return True
        if (model := await self._shared(model_id, path, files)) is None:
            return False
        load.future.set_result(model)
        return True

    def _not_fetched(self, model_id: str, err: Exception) -> KitfoxError:
        """Logs that a model could not be brought here; the error for those who wait."""
        error = load_failure(model_id, err)
        if isinstance(err, NotFound):
            return error
        # What is wrong there would be downloaded again by each call; a store that is away is
        # remembered by who asks it.
        if isinstance(err, DamagedModel | IncompleteModel):
            self._failures.note(model_id, NOWHERE, NOTHING, error, err)
        log.error(
            "Model %s could not be downloaded: %s",
            *(model_id, reason_of(err)),
            extra={"log_code": "<KFX20025E>"},
        )
        return error

    async def _need(self, model_id: str, path: Path, files: Files) -> int:
        """The bytes that a model takes at least."""
        # What is too large by itself need not be read: there may be very many.
        if not self.budget.limit or files.size > self.budget.limit:
            return files.size
        return files.size * await asyncio.to_thread(self._loader.places, model_id, path)

    def _publish(self, load: PendingLoad, model: LoadedModel) -> None:
        name = model.name
        old = self._loaded.get(name)
        self._loaded[name] = model
        self._failures.forget(name)
        if hasattr(model.execution, "on_change"):  # that of processes, which may come and go
            model.execution.on_change = self._changed
        if old is not None:
            model.take_over(old)
            old.retire()
            self.budget.note_end(old)
        log.info(
            "Loaded model %s (%s %s) from %s in %.3f s%s",
            name,
            model.module.__name__,
            model.module.MODULE_VERSION,
            model.path,
            model.load_seconds,
            " in the place of an older one" if old else "",
            extra={"log_code": "<KFX20010I>"},
        )
        if not load.future.done():
            load.future.set_result(model)

    async def _failed(
        self, model_id: str, path: Path, files: Files | None, err: Exception, *, remember: bool
    ) -> KitfoxError:
        """Logs and remembers a failure; the error for those who wait."""
        now = await asyncio.to_thread(files_if_any, path)
        if now is None or files is None:
            # It was removed meanwhile, whatever that made its module say.
            return not_found(model_id, err)
        error = load_failure(model_id, err)
        # That there was no room is not the model's fault.
        if isinstance(err, ResourceExhausted):
            return error
        last = self._failures.get(model_id)
        is_news = last is None or last.reason != reason_of(err)
        if remember:  # the other ids are those that callers make up
            self._failures.note(model_id, path, files, error, err)
        log.log(
            40 if is_news else 20,
            "Model %s at %s could not be loaded: %s",
            model_id,
            path,
            reason_of(err),
            exc_info=err if is_news and not isinstance(err, KitfoxError | OSError) else None,
            extra={"log_code": "<KFX20020E>"},
        )
        return error

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _is_other(model: LoadedModel, path: Path, files: Files | None) -> bool:
    """Whether what lies at a path is not what a model was loaded from."""
    return path != model.path or (model.files is not None and not model.files.are_in(files))
