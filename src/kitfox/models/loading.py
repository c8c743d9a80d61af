"""Loading one model: in a thread of its own, within a time, again when the disk had a bad moment.

Whatever a module's `load` does, who asked for the model gets an answer: the model, or the reason
why there is none. A load that takes too long is given up, and what it makes in the end is dropped.
Only `os._exit` ends the process, unless the model runs in processes of its own.
"""

import asyncio
import datetime
import errno
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from kitfox.errors import Unavailable
from kitfox.models.downloads import Downloads, Find
from kitfox.models.execution import InThreads
from kitfox.models.failures import too_slow
from kitfox.models.identity import Files, files_at, files_if_any
from kitfox.models.inline import Inline
from kitfox.models.load_notes import LoadNotes
from kitfox.models.load_output import LoadOutput, keep_log
from kitfox.models.load_threads import LoadThreads, Slots
from kitfox.models.loaded import LoadedModel
from kitfox.models.opening import OpenedModel, Preparation, open_model
from kitfox.models.process_memory import resident_bytes
from kitfox.models.quarantine_notes import QuarantineNotes
from kitfox.models.quarantines import Quarantines
from kitfox.models.settings import ExecutionSettings
from kitfox.models.watchdog import Watchdog

__all__ = ["ModelLoader", "ModelOpener", "OpenModel", "Verify", "WarmUp"]

T = TypeVar("T")


class OpenModel(Protocol):
    """Loads models to where they are to run."""

    def __call__(
        self, name: str, path: Path, *, preparation: Preparation
    ) -> Awaitable[OpenedModel]:
        """The model at a path, under a name, prepared."""

    def runs_alike(self, name: str, other: str, path: Path) -> bool:
        """Whether a model is run in the same way under either name. Reads the disk."""

    def places(self, name: str, path: Path) -> int:
        """In how many processes a model is loaded, each with all of it. Reads the disk."""

    def close(self) -> None:
        """Gives back what it has; the models go on."""


Verify: TypeAlias = Callable[[str, Path], None]
"""Checks the files of a model, which has an id and lies at a path."""

WarmUp: TypeAlias = Callable[[LoadedModel], Awaitable[None]]
"""Sends a model the requests that it wants to see before others may send theirs."""

_FIRST_PAUSE_SECONDS = 0.1
_MOST_CHANGES = 3
_PASSING = {
    *(errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENETDOWN, errno.ENETRESET),
    *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ECONNRESET),
    *(errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.EREMOTEIO),
}


class ModelOpener:
    """Loads a model as its settings say.

    Args:
        threads: The most calls of one model that run at the same time, where its settings leave
            that to be chosen.
        settings: How each model is run.
    """

    def __init__(self, *, threads: int = 100, settings: ExecutionSettings | None = None) -> None:
        self._threads = threads
        self._settings = settings or ExecutionSettings()
        self._loaders = LoadThreads()
        self._watchdog = Watchdog()

    async def __call__(self, name: str, path: Path, *, preparation: Preparation) -> OpenedModel:
        """The model at a path, where it is to run, prepared."""
        loop = asyncio.get_running_loop()
        settings = await asyncio.to_thread(self._settings.of, name, path)
        return await open_model(
            name,
            path,
            settings=settings,
            loop=loop,
            preparation=preparation,
            loaders=self._loaders,
            most_threads=self._threads,
            watchdog=self._watchdog,
        )

    def runs_alike(self, name: str, other: str, path: Path) -> bool:
        """Whether a model is run in the same way under either name. Reads the disk."""
        return self._settings.of(name, path) == self._settings.of(other, path)

    def places(self, name: str, path: Path) -> int:
        """In how many processes a model is loaded, each with all of it. Reads the disk."""
        settings = self._settings.of(name, path)
        return settings.replicas if settings.mode == "process" else 1

    def close(self) -> None:
        """Watches over the models no longer."""
        self._watchdog.close()


class ModelLoader:
    """Loads models, a few at the same time.

    Args:
        open_model: What loads one.
        threads: How many at the same time; and as many downloads.
        seconds: How long one may take, its download and warm-up included; 0: as long as it likes.
        retries: How often a load is repeated that failed for a reason that may pass: an error of
            the disk or of the network, too many open files.
        verify: Called in a thread with the id and the path of a model before it is loaded; it
            raises when the files are not what they should be.
        warm_up: Called with each model before anybody else gets it; with one that has replicas, for
            each of them, whenever one has been started.
        notes: Remembers loads that end the process.
        quarantine_notes: Remembers the requests that end processes of models.

    Attributes:
        quarantines: The requests that models refuse because these ended their processes.
    """

    def __init__(
        self,
        open_model: OpenModel,
        *,
        threads: int = 2,
        seconds: float = 600.0,
        retries: int = 2,
        verify: Verify | None = None,
        warm_up: WarmUp | None = None,
        notes: LoadNotes | None = None,
        quarantine_notes: QuarantineNotes | None = None,
    ) -> None:
        self._open_model = open_model
        self._slots = Slots(threads)
        self._downloads = Downloads(threads, seconds=seconds)
        self._seconds = seconds
        self._retries = retries
        self._verify = verify
        self._warm_up = warm_up
        self._notes = notes
        self._output = LoadOutput()
        self.quarantines = Quarantines(quarantine_notes)
        self._running = 0
        self._started = 0

    async def fetch(self, name: str, find: Find, *, urgent: bool) -> tuple[Path | None, float]:
        """Where a model lies that is not here yet, and the seconds that it took to bring it.

        Args:
            name: The model.
            find: Brings it, in a thread.
            urgent: As for `load`.

        Raises:
            Unavailable: It took too long; what comes in the end is there for the next load.
            KitfoxError: Whatever `find` raised.
        """
        return await self._downloads.fetch(name, find, urgent=urgent)

    async def load(
        self,
        name: str,
        path: Path,
        *,
        urgent: bool = True,
        follows_store: bool = True,
        spent: float = 0.0,
    ) -> LoadedModel:
        """A model that has been loaded and warmed up.

        Args:
            name: The id that it gets.
            path: Where it lies.
            urgent: Whether somebody waits for it: it goes before those that nobody waits for.
            follows_store: See `LoadedModel`.
            spent: Seconds that it has taken already.

        Raises:
            Unavailable: It took too long, or its files were exchanged all the time.
            Exception: Whatever the module raised.
        """
        async with self._slots.one(urgent=urgent):
            started = time.monotonic()
            deadline = started - spent + self._seconds if self._seconds else None
            with self._output.collected() as output:
                try:
                    model = await self._load_unchanging(name, path, deadline)
                except Exception as err:
                    keep_log(err, output)
                    raise
            model.follows_store = follows_store
            model.load_seconds = time.monotonic() - started
            model.loaded_at = datetime.datetime.now(datetime.UTC)
            return model

    def suspects(self) -> frozenset[str]:
        """The models whose load has ended a server. Reads the disk."""
        return frozenset() if self._notes is None else self._notes.suspects()

    def pardon(self, model_id: str) -> None:
        """Lets a model be loaded that has ended servers. Changes the disk."""
        if self._notes is not None:
            self._notes.forget(model_id)

    def runs_alike(self, name: str, other: str, path: Path) -> bool:
        """Whether a model is run in the same way under either name. Reads the disk."""
        return self._open_model.runs_alike(name, other, path)

    def places(self, name: str, path: Path) -> int:
        """In how many processes a model is loaded, each with all of it. Reads the disk."""
        return self._open_model.places(name, path)

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._open_model.close()
        self.quarantines.close()

    async def _load_unchanging(self, name: str, path: Path, deadline: float | None) -> LoadedModel:
        """Loads anew when files were exchanged meanwhile: it might be half of each version."""
        for _ in range(_MOST_CHANGES):
            files = await asyncio.to_thread(files_at, path)
            try:
                model = await self._load_patiently(name, path, files, deadline)
            except Exception:
                if files.are_in(await asyncio.to_thread(files_if_any, path)):
                    raise
                continue
            try:
                now = await asyncio.to_thread(files_if_any, path)
            except asyncio.CancelledError:
                model.retire()
                raise
            if files.are_in(now):
                return model
            model.retire()
        raise Unavailable("its files were exchanged each time that it was loaded; try again later")

    async def _load_patiently(
        self, name: str, path: Path, files: Files, deadline: float | None
    ) -> LoadedModel:
        pause = _FIRST_PAUSE_SECONDS
        for attempt in itertools.count():
            try:
                return await self._load_once(name, path, files, deadline)
            except OSError as err:
                if err.errno not in _PASSING or attempt >= self._retries:
                    raise
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError  # the loop does not end by itself

    async def _load_once(
        self, name: str, path: Path, files: Files, deadline: float | None
    ) -> LoadedModel:
        if self._verify is not None:
            await self._in_time(asyncio.to_thread(self._verify, name, path), deadline)
        alone = not self._running
        self._running += 1
        self._started += 1
        number, before = self._started, resident_bytes()

        def named(opened: OpenedModel) -> LoadedModel:
            return LoadedModel(
                name=name,
                path=path,
                module=opened.module,
                execution=opened.execution,
                size=files.size,
                files=files,
            )

        async def warm_up(opened: OpenedModel) -> None:
            if self._warm_up is not None:
                await self._warm_up(named(opened))

        preparation = Preparation(
            warm_up=warm_up,
            seconds=self._seconds,
            quarantine=partial(self.quarantines.recall, name, files),
            note=None if self._notes is None else partial(self._notes.begin, name, files),
        )
        opening = self._open_model(name, path, preparation=preparation)
        try:
            model = named(await self._in_time(opening, deadline))
        finally:
            self._running -= 1
        if alone and number == self._started and isinstance(model.execution, InThreads | Inline):
            model.memory = max(0, resident_bytes() - before)
        return model

    async def _in_time(self, work: Awaitable[T], deadline: float | None) -> T:
        """The result of some work, if it comes in time; a later one is closed."""
        task = asyncio.ensure_future(work)
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError:
            _give_up(task)
            raise
        if done:
            return task.result()
        _give_up(task)
        raise too_slow(self._seconds)


def _give_up(task: "asyncio.Future[Any]") -> None:
    task.add_done_callback(_drop)
    task.cancel()


def _drop(task: "asyncio.Future[Any]") -> None:
    if task.cancelled() or task.exception() is not None:
        return
    if isinstance(late := task.result(), OpenedModel):
        threading.Thread(target=late.execution.close, name="close-late", daemon=True).start()
