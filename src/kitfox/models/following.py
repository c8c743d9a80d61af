"""Following the store: what is there at start, and what becomes of it while the server runs.

A look is cheap when nothing has changed: the times of the folder, and of the files of what is
loaded or did not load.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kitfox import logs
from kitfox.errors import KitfoxError, ResourceExhausted
from kitfox.models.identity import Files, files_if_any

if TYPE_CHECKING:
    from kitfox.models.manager import ModelManager

__all__ = ["Follower"]

log = logs.channel("MODELS")

_AT_ONCE = 4
_RECENT_SECONDS = 2.0
_SETTLE_SECONDS = 0.05


class Follower:
    """Loads what is in the store, and keeps what is loaded as it is there.

    Args:
        models: What loads and unloads.
    """

    def __init__(self, models: "ModelManager") -> None:
        self._models = models
        self._seen_at = -1
        self._names: frozenset[str] = frozenset()
        self._was_full = False

    async def load_all(self) -> None:
        """Loads every model of the store that is not loaded; failures are logged and kept."""
        names = await asyncio.to_thread(self._models.store.names)
        await self._load(name for name in names if name not in self._models.loaded)

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
        names = await asyncio.to_thread(self._read_names)
        for name in models.failed - names - models.loaded.keys():
            models.forget_failure(name)
        if load_new:
            missing = [name for name in sorted(names) if name not in models.loaded]
            await self._load(await asyncio.to_thread(self._promising, missing))

    def _changed(self, names: list[str]) -> list[str]:
        """The loaded models that may be something else in the store by now."""
        vanished = []
        changed: dict[str, tuple[Path, Files]] = {}
        for name in names:
            model = self._models.loaded.get(name)
            if model is None or model.files is None or not model.follows_store:
                continue
            path, files = self._at(name)
            if path is None or files is None:
                vanished.append(name)
            elif path != model.path or not model.files.are_in(files):
                changed[name] = path, files
        return [*vanished, *_settled(changed)]

    def _read_names(self) -> frozenset[str]:
        """The names in the store, read anew when the folder's time says so."""
        try:
            at = self._models.store.root.stat().st_mtime_ns
        except OSError:
            return frozenset()
        # A time that is just now may stand for further changes.
        if at != self._seen_at or time.time() - at / 1e9 < _RECENT_SECONDS:
            self._names = frozenset(self._models.store.names())
            self._seen_at = at
        return self._names

    def _promising(self, names: list[str]) -> list[str]:
        """Those of the models that are not loaded which may be, by now."""
        promising = {}
        for name in names:
            path, files = self._at(name)
            if path is not None and files is not None and not self._models.fails(name, path, files):
                promising[name] = path, files
        return _settled(promising)

    def _at(self, name: str) -> tuple[Path | None, Files | None]:
        path = self._models.store.find(name)
        return path, None if path is None else files_if_any(path)

    async def _load(self, names: Iterable[str]) -> None:
        """Loads models, nobody waiting for them; a few at a time, as there may be very many."""
        waiting: Iterator[str] = iter(names)

        is_full = False

        async def load_some() -> None:
            nonlocal is_full
            for name in waiting:
                try:
                    await self._models.load(name, urgent=False)
                except ResourceExhausted as err:
                    if not (is_full or self._was_full):
                        log.warning(
                            "Not all models are loaded: %s",
                            err.message,
                            extra={"log_code": "<KFX20040W>"},
                        )
                    is_full = True
                    return
                except KitfoxError:
                    continue

        await asyncio.gather(*(load_some() for _ in range(_AT_ONCE)))
        self._was_full = is_full


def _settled(found: dict[str, tuple[Path, Files]]) -> list[str]:
    """The models to which nobody seems to be writing; what is new is looked at once more."""
    if any(_is_recent(files) for _, files in found.values()):
        time.sleep(_SETTLE_SECONDS)
    return [
        name
        for name, (path, files) in found.items()
        if not _is_recent(files) or files_if_any(path) == files
    ]


def _is_recent(files: Files) -> bool:
    return time.time() - files.newest / 1e9 < _RECENT_SECONDS
