"""Loaded models: found by id in one dictionary look-up, loaded once however many ask.

The event loop owns the dictionary. Loading itself runs in threads; a model that does not load is
logged by name with the reason, remembered for `problems`, and keeps no other model from serving.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitfox import logs
from kitfox.errors import Code, Internal, KitfoxError, ModelNotFound
from kitfox.models.execution import Execution
from kitfox.models.executor import ThreadExecutor
from kitfox.models.opening import OpenedModel, open_model
from kitfox.models.settings import ExecutionSettings
from kitfox.models.store import ModelStore, check_model_id
from kitfox.modules import ModelConfigError, ModuleBase

__all__ = ["LoadedModel", "ModelManager"]

log = logs.channel("MODELS")


@dataclass(kw_only=True, slots=True, eq=False)
class LoadedModel:
    """A model that is ready to run."""

    name: str
    """The id under which it is asked for."""
    path: Path
    """Where it was loaded from."""
    module: type[ModuleBase]
    """The class that it is made of."""
    execution: Execution
    """What runs it."""
    size: int
    """Bytes of its files."""
    operations: dict[Any, Any] = field(default_factory=dict)
    """What callers have worked out about this model and want to find again (one entry a method)."""
    in_flight: int = 0
    """The calls that are being answered by it; counted by who runs them, on the event loop."""
    retired: bool = False
    """Whether it is no longer offered: it is closed when the last call on it is over."""

    def release(self) -> None:
        """Counts one call less."""
        self.in_flight -= 1
        if self.retired and not self.in_flight:
            self.close()

    def retire(self) -> None:
        """Offers it no longer; calls that run on it finish."""
        self.retired = True
        if not self.in_flight:
            self.close()

    def close(self) -> None:
        """Gives back what runs it, without making the event loop wait for that."""
        threading.Thread(
            target=self.execution.close, name=f"close-{self.name}", daemon=True
        ).start()


class ModelManager:
    """Keeps models loaded and runs their methods.

    Args:
        store: Where models are found.
        threads: The most calls of one model that run at the same time, where its settings leave
            that to be chosen.
        stream_executor: What runs synchronous model code that waits for a stream of requests.
        lazy: Whether an id that is not loaded is looked for in the store by a request.
        load_threads: How many models are loaded at the same time.
        settings: How each model is run.
        on_change: Told after each change: a model was loaded, was unloaded, or did not load.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        threads: int,
        stream_executor: ThreadExecutor,
        lazy: bool = True,
        load_threads: int = 2,
        settings: ExecutionSettings | None = None,
    ) -> None:
        self.store = store
        self._threads = threads
        self._settings = settings or ExecutionSettings()
        self.stream_executor = stream_executor
        self.problems: dict[str, str] = {}
        self._lazy = lazy
        self._loaded: dict[str, LoadedModel] = {}
        self._loading: dict[str, asyncio.Future[LoadedModel]] = {}
        self._loaders = ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._listeners: list[Callable[[], None]] = []

    @property
    def loaded(self) -> Mapping[str, LoadedModel]:
        """The loaded models by id."""
        return self._loaded

    def on_change(self, listener: Callable[[], None]) -> None:
        """Has a function called after a model was loaded or unloaded, or did not load."""
        self._listeners.append(listener)

    def peek(self, model_id: str) -> LoadedModel | None:
        """The model if it is loaded: the quick way, without a step of the event loop."""
        return self._loaded.get(model_id)

    async def get(self, model_id: str) -> LoadedModel:
        """The model, loaded if need be.

        Raises:
            InvalidArgument: The id is empty or not a plain name.
            ModelNotFound: There is no such model, or it is not loaded and may not be.
            KitfoxError: It exists and does not load; the message says why.
        """
        model = self._loaded.get(model_id)
        if model is not None:
            return model
        check_model_id(model_id)
        path, offered = await asyncio.to_thread(self._find, model_id)
        if path is None:
            raise ModelNotFound(model_id, {*self._loaded, *offered})
        return await self.load(model_id, path)

    async def load(self, model_id: str, path: Path) -> LoadedModel:
        """Loads a model; callers that ask for the same id meanwhile share the one load."""
        running = self._loading.get(model_id)
        if running is None:
            running = asyncio.ensure_future(self._load(model_id, path))
            self._loading[model_id] = running
            running.add_done_callback(lambda _: self._loading.pop(model_id, None))
        # A caller that goes away must not stop the load that others wait for.
        return await asyncio.shield(running)

    async def load_all(self) -> None:
        """Loads every model of the store that is not loaded; failures are logged and kept."""
        names = await asyncio.to_thread(self.store.names)
        missing = [name for name in names if name not in self._loaded]
        loads = [self.load(name, self.store.root / name) for name in missing]
        for outcome in await asyncio.gather(*loads, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, KitfoxError):
                raise outcome

    async def poll(self, period: float) -> None:
        """Follows the store: new models are loaded, vanished ones forgotten, until cancelled."""
        while True:
            await asyncio.sleep(period)
            names = set(await asyncio.to_thread(self.store.names))
            for name, model in list(self._loaded.items()):
                if name not in names and model.path.parent == self.store.root:
                    self.unload(name)
            for name in self.problems.keys() - names:
                del self.problems[name]
            for name in sorted(names - self._loaded.keys() - self.problems.keys()):
                # A model that does not load has been logged: the others go on.
                with contextlib.suppress(KitfoxError):
                    await self.load(name, self.store.root / name)

    def unload(self, model_id: str) -> None:
        """Forgets a model; calls that run on it finish."""
        model = self._loaded.pop(model_id, None)
        if model is not None:
            model.retire()
            log.info("Unloaded model %s", model_id, extra={"log_code": "<KFX20030I>"})
            self._changed()

    def close(self) -> None:
        """Stops loading and running."""
        self._loaders.shutdown(wait=False, cancel_futures=True)
        for model in self._loaded.values():
            model.execution.close()
        self.stream_executor.close()

    def _find(self, model_id: str) -> tuple[Path | None, list[str]]:
        """Where a model lies, or None and the ids that could be asked for. Reads the disk."""
        if not self._lazy and (self.store.root / model_id).exists():
            return None, []
        path = self.store.find(model_id)
        return path, [] if path or not self._lazy else self.store.names()

    async def _load(self, model_id: str, path: Path) -> LoadedModel:
        started = time.monotonic()
        try:
            opened, size = await self._open(model_id, path)
        except Exception as err:  # an edge: module code of any kind has run
            self.problems[model_id] = str(err) or type(err).__name__
            log.error(
                "Model %s at %s could not be loaded: %s",
                model_id,
                path,
                self.problems[model_id],
                exc_info=None if isinstance(err, KitfoxError | FileNotFoundError) else err,
                extra={"log_code": "<KFX20020E>"},
            )
            self._changed()
            raise _load_failure(model_id, err) from err
        self.problems.pop(model_id, None)
        loaded = LoadedModel(
            name=model_id,
            path=path,
            module=opened.module,
            execution=opened.execution,
            size=size,
        )
        self._loaded[model_id] = loaded
        log.info(
            "Loaded model %s (%s %s) from %s in %.3f s",
            model_id,
            opened.module.__name__,
            opened.module.MODULE_VERSION,
            path,
            time.monotonic() - started,
            extra={"log_code": "<KFX20010I>"},
        )
        self._changed()
        return loaded

    async def _open(self, model_id: str, path: Path) -> tuple[OpenedModel, int]:
        loop = asyncio.get_running_loop()
        settings = await loop.run_in_executor(self._loaders, self._settings.of, model_id, path)
        opened = await open_model(
            model_id,
            path,
            settings=settings,
            loop=loop,
            loaders=self._loaders,
            most_threads=self._threads,
        )
        if hasattr(opened.execution, "on_change"):
            opened.execution.on_change = self._changed
        return opened, await loop.run_in_executor(self._loaders, _size_of, path)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _size_of(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(item.stat().st_size for item in files)


def _load_failure(model_id: str, err: Exception) -> KitfoxError:
    reason = str(err) or type(err).__name__
    # A folder that is there and does not say what it is: not the caller's mistake.
    damaged = isinstance(err, ModelConfigError)
    if isinstance(err, FileNotFoundError | ValueError) and not damaged:
        return KitfoxError(
            f"Model {model_id} not found. Nested error: {reason}", code=Code.NOT_FOUND
        )
    return Internal(f"Model {model_id} failed to load. Nested error: {reason}")
