"""Following the store: what is there at start, and what becomes of it while the server runs.

A look is cheap when nothing has changed: the times of the folder, and of the files of what is
loaded or did not load.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox import logs
from kitfox.errors import KitfoxError, ResourceExhausted
from kitfox.models.identity import Files, files_if_any
from kitfox.models.inspection import settled
from kitfox.models.watch import StoreWatch

if TYPE_CHECKING:
    from kitfox.models.manager import ModelManager

__all__ = ["Follower"]

log = logs.channel("MODELS")

_AT_ONCE = 4
_SETTLE_SECONDS = 0.05


class Follower:
    """Loads what is in the store, and keeps what is loaded as it is there.

    Args:
        models: What loads and unloads.
    """

    def __init__(self, models: "ModelManager") -> None:
        self._models = models
        self._watch = StoreWatch(models.store)
        self._left_out: set[str] = set()
        self._dismissed: dict[str, Files] = {}
        self.gently = False
        """Whether loads that nobody waits for leave as much time as they take to those who call."""

    def dismiss(self, name: str, files: Files) -> None:
        """Has a model that is unloaded not taken for a new one if no look has seen it yet.

        Args:
            name: The model.
            files: What was loaded; other files are another model.
        """
        if not self._watch.has_seen(name):
            self._dismissed[name] = files

    async def load_all(self) -> None:
        """Loads every model of the store that is not loaded; failures are logged and kept."""
        found = await asyncio.to_thread(self._watch.look, settle=False)
        suspects = await asyncio.to_thread(self._models.suspects)
        await self._load(name for name in found.added if name not in suspects)
        # What has ended a server before comes last, one by one: if it does so again, it is known
        # which it was, and no other had to suffer for it.
        for name in sorted(suspects.intersection(found.added)):
            await self._load([name])

    async def poll(self, period: float, *, load_new: bool = True) -> None:
        """Looks again and again, until cancelled.

        Args:
            period: Seconds between two looks.
            load_new: Whether models that appear are loaded.
        """
        while True:
            await asyncio.sleep(period)
            try:
                await self.look(load_new=load_new)
            except Exception as err:
                log.error(
                    "The models folder could not be followed: %s",
                    err,
                    exc_info=err,
                    extra={"log_code": "<KFX20050E>"},
                )

    async def look(self, *, load_new: bool = True) -> None:
        """Follows what has changed: new models, other versions, and those that have vanished."""
        models = self._models
        for name in await asyncio.to_thread(self._changed, list(models.loaded)):
            # One that does not load has been logged: the others go on.
            with contextlib.suppress(KitfoxError):
                await models.refresh(name)
        dismissed, self._dismissed = self._dismissed, {}
        found = await asyncio.to_thread(self._watch.look)
        for name in found.removed:
            models.forget_failure(name)
            self._left_out.discard(name)
        if load_new:
            added = await asyncio.to_thread(self._without, found.added, dismissed)
            again = await asyncio.to_thread(self._promising, models.failed)
            fitting = [name for name in self._left_out if models.budget.fits(name)]
            await self._load(sorted({*added, *again, *fitting}))

    def _changed(self, names: list[str]) -> list[str]:
        """The loaded models that may be something else in the store by now."""
        vanished = []
        changed: dict[str, Path] = {}
        for name in names:
            model = self._models.loaded.get(name)
            if model is None or model.files is None or not model.follows_store:
                continue
            if not self._may_be_other(model.path, model.files):
                continue
            try:
                path, files = self._at(name)
            except KitfoxError:  # a store elsewhere that cannot be reached, for example
                continue
            if path is None or files is None:
                vanished.append(name)
            elif path != model.path or not model.files.are_in(files):
                changed[name] = path
        return [*vanished, *self._settled(changed)]

    def _may_be_other(self, path: Path, files: Files) -> bool:
        """Whether to ask the store: of what came from elsewhere, only if it is not as it was."""
        return path.is_relative_to(self._models.store.root) or not files.are_in(files_if_any(path))

    def _without(self, names: Iterable[str], dismissed: Mapping[str, Files]) -> set[str]:
        """Those of some models that are not as they were when they were dismissed."""
        found = set(names)
        for name in found & dismissed.keys():
            # One that cannot be looked at is left to its load, which tells why.
            with contextlib.suppress(KitfoxError):
                if dismissed[name].are_in(self._at(name)[1]):
                    found.remove(name)
        return found

    def _promising(self, names: Iterable[str]) -> list[str]:
        """Those of the models that did not load which may, by now."""
        promising = {}
        for name in names:
            with contextlib.suppress(KitfoxError):
                path, files = self._at(name)
                if path and files and not self._models.fails(name, path, files):
                    promising[name] = path
        return self._settled(promising)

    def _at(self, name: str) -> tuple[Path | None, Files | None]:
        path = self._models.store.find_here(name)
        return path, None if path is None else files_if_any(path)

    @staticmethod
    def _settled(found: dict[str, Path]) -> list[str]:
        """Those of some models that nobody is writing just now."""
        still = settled(found.values(), period=_SETTLE_SECONDS)
        return [name for name, path in found.items() if path in still]

    async def _load(self, names: Iterable[str]) -> None:
        """Loads models, nobody waiting for them; a few at a time, as there may be very many."""
        waiting: Iterator[str] = iter(names)
        before, reasons = len(self._left_out), list[str]()

        async def load_some() -> None:
            for name in waiting:
                self._left_out.discard(name)
                if name in self._models.loaded or name in self._dismissed:
                    continue
                started = time.monotonic()
                try:
                    await self._models.load(name, urgent=False)
                except ResourceExhausted as err:
                    # A smaller one may fit; this one is tried again when there is room.
                    self._left_out.add(name)
                    reasons.append(err.message)
                except KitfoxError:
                    pass
                if self.gently:
                    await asyncio.sleep(_AT_ONCE * (time.monotonic() - started))

        await asyncio.gather(*(load_some() for _ in range(_AT_ONCE)))
        if reasons and len(self._left_out) > before:
            log.warning(
                "%d models of the models folder are not loaded, until there is room: %s",
                len(self._left_out),
                reasons[0],
                extra={"log_code": "<KFX20040W>"},
            )
