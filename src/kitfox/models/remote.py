"""Models in remote stores: looked for when they are asked for, downloaded once, served from disk.

A remote store is laid out like a models folder: `<url>/<name>/...` is a model as it is now, and
`<url>/<name>@<version>/...` or `<url>/.versions/<name>/<version>/...` a certain version. With a
manifest each file is known by its digest; a file that the cache has is not downloaded again,
whatever model it belongs to. Without one, files are known by what the store's listing tells.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import InvalidArgument, ResourceExhausted, Unavailable
from kitfox.models.deployment import link_or_copy
from kitfox.models.reference import ModelReference, check_file_names
from kitfox.models.remote_files import RemoteFile, RemoteFiles
from kitfox.models.workspace import Workspace, explaining
from kitfox.modules.manifest import (
    MANIFEST,
    DamagedModel,
    DigestCheck,
    FileRecord,
    IncompleteModel,
    Manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from kitfox.modules.publication import (
    make_folder,
    remove_tree,
    rename_new,
    sync_folder,
    write_file,
)

__all__ = ["RemoteStores"]

_LARGEST_MANIFEST = 64 << 20
_MOST_REMEMBERED = 10_000

log = logging.getLogger("kitfox.MODELS")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A model in a remote store."""

    store: RemoteFiles
    folder: str
    manifest: Manifest | None
    files: tuple[RemoteFile, ...] = ()
    """The listing, where there is no manifest."""


class RemoteStores:
    """Finds models in remote stores, the first that has one, and keeps them in a cache.

    Args:
        stores: Where to look, in this order.
        cache: The folder that keeps what was downloaded.
        memory: Seconds for which it is remembered that there is no such model, or that a store
            could not be reached.
    """

    def __init__(self, stores: Sequence[RemoteFiles], cache: Path, *, memory: float = 10.0) -> None:
        self._stores = tuple(stores)
        self._cache = cache
        self._memory = memory
        self._work = Workspace(cache)
        self._check = DigestCheck()
        self._locks: weakref.WeakValueDictionary[ModelReference, threading.Lock]
        self._locks = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._missing: dict[ModelReference, float] = {}
        # The name of a note is made from the id, so what it says never changes.
        self._ids: dict[str, str] = {}
        self._away: dict[str, tuple[float, Unavailable]] = {}

    def __call__(self, reference: ModelReference) -> Path | None:
        """The folder of a model in the cache, downloaded if need be; None if there is no such one.

        A store that cannot be reached does not matter if another has the model, or the cache.

        Raises:
            Unavailable: It may be in a store that cannot be reached, and is not in the cache.
            DamagedModel: What was downloaded is not what the manifest says.
        """
        if not self.may_have(reference):
            return None
        with self._lock:
            mine = self._locks.setdefault(reference, threading.Lock())
        with mine:  # who asks for the same waits for the first
            problem: Unavailable | None = None
            for store in self._stores:
                try:
                    found = self._look(store, reference)
                    if found is not None:
                        return self._fetch(found, reference)
                except Unavailable as error:
                    problem = error
            if problem is not None:
                return self._last_known(reference, problem)
        if len(self._missing) >= _MOST_REMEMBERED:
            self._missing.clear()
        self._missing[reference] = time.monotonic() + self._memory
        return None

    def may_have(self, reference: ModelReference) -> bool:
        """False where it is remembered that there is no such model. Asks nobody."""
        return self._missing.get(reference, 0) <= time.monotonic()

    def cached(self, reference: ModelReference) -> Path | None:
        """What was found last, if it is in the cache; asks no store, and compares no digests."""
        for store in self._stores:
            place = self._noted(store, reference)
            if place is not None and (place / MANIFEST).is_file():
                return place
        return None

    def ids(self) -> set[str]:
        """The ids of all models that were found and brought here, as they were asked for."""
        try:
            notes = os.listdir(self._cache / "latest")  # noqa: PTH208 -- names are all that is wanted
        except OSError:
            return set()
        for note in notes:
            if note not in self._ids and (model_id := _noted_id(self._cache / "latest" / note)):
                self._ids[note] = model_id
        return {self._ids[note] for note in notes if note in self._ids}

    def _look(self, store: RemoteFiles, reference: ModelReference) -> _Found | None:
        until, error = self._away.get(store.url, (0.0, None))
        if error is not None and until > time.monotonic():
            raise error
        try:
            return self._search(store, reference)
        except IncompleteModel:
            raise
        except Unavailable as problem:
            self._away[store.url] = time.monotonic() + self._memory, problem
            raise

    def _search(self, store: RemoteFiles, reference: ModelReference) -> _Found | None:
        name, version = reference.name, reference.version
        folders = [name] if not version else [f"{name}@{version}", f".versions/{name}/{version}"]
        for folder in folders:
            if (manifest := _read_manifest(store, folder)) is not None:
                return _Found(store=store, folder=folder, manifest=manifest)
        if version:
            manifest = _read_manifest(store, name)
            if manifest is not None and manifest.name == version:
                return _Found(store=store, folder=name, manifest=manifest)
        if store.url.startswith("http"):
            return None  # a web server lists nothing
        for folder in folders:
            files = [file for file in store.listing(folder) if file.path.strip("/")]
            if files := [file for file in files if not file.path.endswith("/")]:
                return _Found(store=store, folder=folder, manifest=None, files=tuple(files))
        return None

    def _fetch(self, found: _Found, reference: ModelReference) -> Path:
        with explaining(f"cache model {reference}"), self._work.staging(_no_redo) as staging:
            make_folder(self._cache / "blobs")
            manifest = found.manifest or self._describe(found, staging)
            links = [file.path for file in manifest.files if file.link is not None]
            if links:
                raise IncompleteModel(f"{found.store.url}/{found.folder}: {links[0]} is a link")
            _check_paths(found, (file.path for file in manifest.files))
            place = self._cache / "models" / reference.name / manifest.digest[:32]
            if not self._is_whole(place):
                self._assemble(found, manifest, staging, place)
            self._remember(found.store, reference, place)
        return place

    def _assemble(self, found: _Found, manifest: Manifest, staging: Path, place: Path) -> None:
        needed = sum(file.size for file in manifest.files if not self._blob(file.sha256).exists())
        self._check_space(needed)
        started = time.monotonic()
        folder = staging / "model"
        folder.mkdir()
        for file in manifest.files:
            blob = self._blob(file.sha256)
            if not blob.exists():
                self._download(found, file.path, staging, expected=file)
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(str(blob), str(target))
        for parent, _, _ in os.walk(folder, topdown=False):
            sync_folder(Path(parent))
        write_manifest(folder, manifest)
        self._check(folder, manifest)
        make_folder(place.parent)
        try:
            rename_new(folder, place)
        except FileExistsError:  # another process was quicker
            return
        sync_folder(place.parent)
        log.info(
            "Downloaded %s/%s (%d bytes were missing) in %.3f s",
            found.store.url,
            found.folder,
            needed,
            time.monotonic() - started,
            extra={"log_code": "<KFX20040I>"},
        )

    def _describe(self, found: _Found, staging: Path) -> Manifest:
        """A manifest for a model without one: what the listing tells is downloaded if it is new."""
        _check_paths(found, (file.path for file in found.files))
        known = self._cache / "known"
        make_folder(known)
        records = []
        self._check_space(
            sum(
                file.size
                for file in found.files
                if not (known / _listing_key(found, file)).exists()
            )
        )
        for file in found.files:
            noted = known / _listing_key(found, file)
            digest = noted.read_text() if noted.exists() else ""
            if not digest or not self._blob(digest).exists():
                digest = self._download(found, file.path, staging)
                write_file(noted, digest.encode())
            records.append(FileRecord(path=file.path, size=file.size, sha256=digest))
        return Manifest(files=tuple(sorted(records, key=lambda record: record.path)))

    def _download(
        self, found: _Found, path: str, staging: Path, *, expected: FileRecord | None = None
    ) -> str:
        """Brings one file into the cache; returns its digest."""
        source = f"{found.folder}/{path}"
        target, digest, size = staging / "download", hashlib.sha256(), 0
        try:
            with target.open("wb") as stream:
                for chunk in found.store.read(source):
                    size += len(chunk)
                    if expected is not None and size > expected.size:
                        break
                    digest.update(chunk)
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
        except FileNotFoundError:
            raise IncompleteModel(f"{found.store.url}/{source} is missing") from None
        if expected is not None and size != expected.size:
            raise IncompleteModel(
                f"{found.store.url}/{source} does not have the {expected.size} bytes that the "
                "manifest says"
            )
        if expected is not None and digest.hexdigest() != expected.sha256:
            raise DamagedModel(
                f"{found.store.url}/{source} is damaged: its SHA-256 is not that of the manifest"
            )
        target.replace(self._blob(digest.hexdigest()))
        sync_folder(self._cache / "blobs")
        return digest.hexdigest()

    def _is_whole(self, place: Path) -> bool:
        """Whether a model is in the cache; a damaged one is thrown away, files and all."""
        try:
            manifest = read_manifest(place)
            if manifest is None:
                return False
            self._check(place, manifest)
        except (IncompleteModel, DamagedModel) as error:
            log.warning("The cached model %s is downloaded again: %s", place, error)
            for record in manifest.files if manifest else ():
                remove_tree(self._blob(record.sha256))
            remove_tree(place)
            return False
        return True

    def _last_known(self, reference: ModelReference, problem: Unavailable) -> Path:
        """What was found when the stores could be reached last."""
        for store in self._stores:
            place = self._noted(store, reference)
            if place is not None and self._is_whole(place):
                log.warning("Model %s comes from the cache: %s", reference, problem)
                return place
        raise problem

    def _noted(self, store: RemoteFiles, reference: ModelReference) -> Path | None:
        """Where a model of a store was put when it was looked for last."""
        try:
            values = json.loads(self._note(store, reference).read_bytes())
            return self._cache / "models" / reference.name / str(values["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, store: RemoteFiles, reference: ModelReference, place: Path) -> None:
        note = self._note(store, reference)
        data = json.dumps({"digest": place.name, "model": str(reference)}).encode()
        if not note.exists() or note.read_bytes() != data:
            make_folder(note.parent)
            write_file(note, data)

    def _note(self, store: RemoteFiles, reference: ModelReference) -> Path:
        return self._cache / "latest" / _key(store.url, str(reference))

    def _blob(self, digest: str) -> Path:
        return self._cache / "blobs" / digest

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self._cache).free
        if needed > free:
            raise ResourceExhausted(
                f"{needed} bytes are to be downloaded, but only {free} are free at {self._cache}"
            )


def _noted_id(note: Path) -> str:
    """The model that a note is about; empty if it does not say, as older ones do not."""
    try:
        return str(json.loads(note.read_bytes())["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read_manifest(store: RemoteFiles, folder: str) -> Manifest | None:
    source = f"{folder}/{MANIFEST}"
    try:
        text = b"".join(_limited(store.read(source), _LARGEST_MANIFEST))
    except FileNotFoundError:
        return None
    return parse_manifest(text, f"{store.url}/{source}")


def _limited(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    for chunk in chunks:
        most -= len(chunk)
        if most < 0:
            return  # cut off: it is no JSON any more, and so refused
        yield chunk


def _check_paths(found: _Found, paths: Iterable[str]) -> None:
    try:
        check_file_names(paths)
    except InvalidArgument as error:
        raise IncompleteModel(f"{found.store.url}/{found.folder}: {error}") from error


def _listing_key(found: _Found, file: RemoteFile) -> str:
    return _key(found.store.url, found.folder, file.path, str(file.size), file.mark)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _no_redo(note: dict[str, str]) -> None:
    """The cache knows no changes of several steps."""
