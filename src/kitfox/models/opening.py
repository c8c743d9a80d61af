"""From a model on disk to one that can be called: the one place that chooses its execution."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor as Loaders
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox import logs
from kitfox.config import ModelExecution
from kitfox.models.batch_executor import BatchExecutor
from kitfox.models.batch_shape import batch_shapes
from kitfox.models.cores import available_cores, library_threads
from kitfox.models.execution import Batches, Execution, InThreads
from kitfox.models.executor import ThreadExecutor
from kitfox.models.inline import Inline
from kitfox.models.load_notes import LoadNote
from kitfox.models.loop_batches import LoopBatches
from kitfox.models.on_loop import OnLoop
from kitfox.models.pace import Pace, Paced, PacedThreads
from kitfox.models.permits import Permits
from kitfox.models.tuning import PlanSpace, Tuner, batch_sizes
from kitfox.models.watchdog import Watchdog
from kitfox.modules import ModuleBase, load_model

if TYPE_CHECKING:
    from kitfox.models.replicas.quarantine import Quarantine

__all__ = ["OpenedModel", "Preparation", "open_model"]

_MOST_THREADS = 100
_BATCH_SETTINGS = ("max_batch_size", "max_batch_delay_seconds", "max_batch_weight")

log = logs.channel("MODELS")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """A model that has been loaded."""

    module: type[ModuleBase]
    """The class that it is made of."""
    execution: Execution
    """What runs it; whoever asked for it closes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What is to be done with a model before it gets calls, however often it is started."""

    warm_up: Callable[[OpenedModel], Awaitable[None]] | None = None
    """Sends it the requests that it wants to see first."""
    seconds: float = 0.0
    """How long each process may take to load it and to warm up; 0: as long as it likes."""
    quarantine: "Callable[[], Awaitable[Quarantine]] | None" = None
    """Gives the requests that it refuses, if it has processes that these might end."""
    note: Callable[[], LoadNote] | None = None
    """Notes, in a thread, that it is being loaded, if a load may end the process that asks."""


async def open_model(
    name: str,
    path: Path,
    *,
    settings: ModelExecution,
    loop: asyncio.AbstractEventLoop,
    preparation: Preparation | None = None,
    loaders: Loaders | None = None,
    most_threads: int = _MOST_THREADS,
    watchdog: Watchdog | None = None,
    load: Callable[[Path], ModuleBase] = load_model,
) -> OpenedModel:
    """Loads a model to where it is to run.

    Args:
        name: Its id, for logs and thread names.
        path: Its folder or archive.
        settings: How it is to be run; see `ExecutionSettings.of`.
        loop: The event loop that will call it.
        preparation: What is done with it before it is returned; with each of its processes, if it
            has some.
        loaders: The threads in which models of this process are loaded.
        most_threads: The most threads of a model whose `threads` are chosen by measurement.
        watchdog: Tells of calls that take too long.
        load: Makes the model, in a thread of this process.

    Raises:
        Exception: Whatever the module's `load` raises.
    """
    preparation = preparation or Preparation()
    if settings.mode == "process":
        return await _open_processes(name, path, settings, loop, preparation)
    async with _noted(preparation.note):
        model = await loop.run_in_executor(loaders, load, path)
        maker = _Maker(name, model, settings, loop, most_threads, watchdog)
        execution = maker.inline() if settings.mode == "inline" else maker.in_threads()
        if watchdog is not None:
            watchdog.watch(
                maker,
                name=name,
                seconds=settings.run_seconds,
                running=execution.running,
                model=model,
            )
            watchdog.listen()
        opened = OpenedModel(module=type(model), execution=execution)
        _tell_of_unused(name, settings, opened.module)
        if preparation.warm_up is not None:
            try:
                await preparation.warm_up(opened)
            except BaseException:
                threading.Thread(target=execution.close, name=f"close-{name}", daemon=True).start()
                raise
        return opened


@contextlib.asynccontextmanager
async def _noted(begin: Callable[[], LoadNote] | None) -> AsyncIterator[None]:
    """Keeps a note of a load until it is over."""
    if begin is None:
        yield
        return
    beginning = asyncio.ensure_future(asyncio.to_thread(begin))
    try:
        note = await asyncio.shield(beginning)
    except asyncio.CancelledError:
        beginning.add_done_callback(_end_note)
        raise
    try:
        yield
    finally:
        note.end()


def _end_note(beginning: "asyncio.Future[LoadNote]") -> None:
    if not beginning.cancelled() and beginning.exception() is None:
        beginning.result().end()


async def _open_processes(
    name: str,
    path: Path,
    settings: ModelExecution,
    loop: asyncio.AbstractEventLoop,
    preparation: Preparation,
) -> OpenedModel:
    from kitfox.models.replicas import InProcesses

    async def warm_up(replica: InProcesses) -> None:
        if preparation.warm_up is not None:
            await preparation.warm_up(OpenedModel(module=replica.module, execution=replica))

    replicas = await InProcesses.open(
        name,
        path,
        settings=settings,
        loop=loop,
        warm_up=warm_up,
        load_seconds=preparation.seconds,
        quarantine=None if preparation.quarantine is None else await preparation.quarantine(),
    )
    return OpenedModel(module=replicas.module, execution=replicas)


class _Maker:
    """Puts together what runs one model of this process."""

    def __init__(
        self,
        name: str,
        model: ModuleBase,
        settings: ModelExecution,
        loop: asyncio.AbstractEventLoop,
        most_threads: int,
        watchdog: Watchdog | None,
    ) -> None:
        self._name = name
        self._model = model
        self._settings = settings
        self._loop = loop
        self._watchdog = watchdog
        self._most = settings.threads or most_threads
        self._cores = available_cores()
        self._permits = None
        if settings.threads and settings.mode == "thread" and _ways(type(model)) > 1:
            self._permits = Permits(settings.threads)

    def inline(self) -> Inline:
        """Runs it on the event loop, and its streams in threads."""
        return Inline(
            self._model,
            executor=self._streams(),
            feeds=self._feeds(),
            on_loop=self._on_loop(),
            loop=self._loop,
            on_close=self._forget,
        )

    def in_threads(self) -> InThreads:
        """Runs it in threads, in batches if that is of use."""
        library = library_threads()
        prepare = None if library is None else library.share
        tuner = Tuner(self._space([(1, True)]))
        calls = ThreadExecutor(
            threads=tuner.plan.parallel,
            loop=self._loop,
            name=self._name,
            permits=self._permits,
            settles=True,
        )
        pace_of_calls = self._pace(PacedThreads(calls), tuner)
        batches = self._batches(prepare)

        def stop() -> None:
            self._forget()
            for pace in (pace_of_calls, *(item.pace for item in batches.values())):
                # The loop may have been closed, with its timers.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(pace.stop)

        return InThreads(
            self._model,
            loop=self._loop,
            executor=self._streams(),
            feeds=self._feeds(),
            on_loop=self._on_loop(),
            calls=calls,
            pace=pace_of_calls,
            batches=batches,
            prepare=prepare,
            on_close=stop,
        )

    def _batches(self, prepare: Callable[[int], None] | None) -> dict[str, Batches]:
        """What runs the methods whose calls can share batches."""
        found: dict[str, Batches] = {}
        sizes = batch_sizes(self._settings.max_batch_size)
        shapes = batch_shapes(self._model, self._settings.batch_weight)
        for method, shape in shapes.items():
            if len(sizes) == 1:
                continue
            tuner = Tuner(self._space(sizes, start=1))
            make = LoopBatches if shape.is_async else partial(BatchExecutor, prepare=prepare)
            executor = make(
                self._model,
                shape,
                plan=tuner.plan,
                loop=self._loop,
                name=self._name,
                max_delay=self._settings.max_batch_delay_seconds,
                max_weight=self._settings.max_batch_weight,
                permits=self._permits,
            )
            found[method] = Batches(executor=executor, pace=self._pace(executor, tuner))
        return found

    def _streams(self) -> ThreadExecutor:
        """Threads for what makes streams: how long that takes is up to those who read them."""
        return ThreadExecutor(
            threads=self._most,
            loop=self._loop,
            name=self._name,
            kind="stream",
            queue_limit=self._settings.queue_limit,
            permits=self._permits,
        )

    def _feeds(self) -> ThreadExecutor:
        """Threads for what reads streams of requests: each has one for as long as it lasts.

        How many there may be of all models is settled by `StreamPlaces`.
        """
        return ThreadExecutor(
            threads=self._settings.threads or sys.maxsize,
            loop=self._loop,
            name=self._name,
            kind="feed",
            permits=self._permits,
        )

    def _on_loop(self) -> OnLoop:
        """The places of `async def` calls."""
        return OnLoop(
            self._loop,
            name=self._name,
            most=self._most,
            queue_limit=self._settings.queue_limit,
            permits=self._permits,
        )

    def _forget(self) -> None:
        if self._watchdog is not None:
            self._watchdog.forget(self)

    def _space(self, sizes: Sequence[tuple[int, bool]], start: int = 0) -> PlanSpace:
        return PlanSpace(
            most_parallel=self._most,
            cores=self._cores,
            fixed_parallel=bool(self._settings.threads),
            sizes=tuple(sizes),
            start=start,
        )

    def _pace(self, executor: Paced, tuner: Tuner) -> Pace:
        return Pace(
            self._name,
            executor,
            tuner,
            queue_limit=self._settings.queue_limit,
            loop=self._loop,
        )


def _tell_of_unused(name: str, settings: ModelExecution, module: type[ModuleBase]) -> None:
    """Logs that what is set for batches changes nothing, where the mode has none."""
    said = [key for key in _BATCH_SETTINGS if getattr(settings, key)]
    if settings.mode != "inline" or settings.max_batch_size == 1 or not said:
        return
    if unused := _methods_with_batches(module):
        log.warning(
            "Model %s is run call by call: %s %s no effect in mode inline on its methods %s",
            name,
            " and ".join(said),
            "has" if len(said) == 1 else "have",
            ", ".join(unused),
            extra={"log_code": "<KFX20061W>"},
        )


def _methods_with_batches(module: type[ModuleBase]) -> list[str]:
    """The methods for whose calls a module has a batch method of its own."""
    names = {"run"} | {
        signature.method_name
        for methods in module._task_methods.values()
        for signature in methods.values()
    }
    found = {name: getattr(module, f"{name}_batch", None) for name in sorted(names)}
    return [name for name, batch in found.items() if batch and batch is not ModuleBase.run_batch]


def _ways(module: type[ModuleBase]) -> int:
    """In how many ways calls of a module may be run: with one, its own limit is enough."""
    ways = set()
    for methods in module._task_methods.values():
        for (requests, results), signature in methods.items():
            on_loop = signature.kind in ("coroutine", "async_generator")
            shape = "loop" if on_loop else (requests, results)
            # What makes batches has threads, or tasks, for each method.
            name = signature.method_name
            batch = getattr(module, f"{name}_batch", ModuleBase.run_batch)
            ways.add((shape, "" if batch is ModuleBase.run_batch else name))
    return len(ways)
