"""The models folder as the command line uses it when no server runs."""

import base64
import contextlib
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kitfox.config import Config
from kitfox.errors import FailedPrecondition, ModelNotFound
from kitfox.models import ModelEntry, open_store
from kitfox.modules import extract
from kitfox.modules.archive import find_model_folder, iterate_archive
from kitfox.services import import_library
from kitfox.services.model_listing import ModelListing
from kitfox.services.trainings import open_trainings

__all__ = ["LocalModels", "archive_of", "files_of", "upload_size"]

_NAME_BYTES = 200
_PIECE = 1 << 18


class LocalModels:
    """The models of a models folder, told as a server tells them.

    Args:
        config: Names the folder, the library, and the trainings that may be promoted.
    """

    def __init__(self, config: Config) -> None:
        sys.path[:0] = config.runtime.python_path
        for library in config.runtime.libraries or [""]:
            import_library(library)
        database = Path(config.store_url.removeprefix("sqlite:///"))
        has_trainings = "sqlite:///" not in config.store_url or database.exists()
        trainings = open_trainings(config) if has_trainings else None
        self._store = open_store(
            config, find_elsewhere=None if trainings is None else trainings.model_path
        )
        self._listing = ModelListing(self._store, trainings)

    def names(self) -> list[str]:
        """The names of all models."""
        return self._store.names()

    def list(self, pattern: str, state: str, *, everything: bool) -> Iterator[dict[str, Any]]:
        """The models whose id contains something, or matches it, and that are in a state.

        Args:
            pattern: What the id must contain, or match.
            state: The state; empty: any.
            everything: Whether versions, trained models and downloaded ones are told as well.
        """
        for model_id, _ in self._listing.every(pattern, everything=everything):
            with contextlib.suppress(ModelNotFound):  # removed, or replaced by a later training
                found = _description(self._store.describe(model_id))
                if state in ("", found["state"]):
                    yield found

    def show(self, model_id: str) -> dict[str, Any]:
        """All that is known of one model."""
        return _description(self._store.describe(model_id))

    def deploy(self, model_id: str, path: Path) -> dict[str, Any]:
        """Adds a model, or a version of one, from a folder or a zip file."""
        return _description(self._store.deploy(model_id, path))

    def undeploy(self, model_id: str) -> dict[str, Any]:
        """Removes a model, or a version of one."""
        self._store.remove(model_id)
        return {"model_id": model_id}

    def promote(self, name: str, version: str) -> dict[str, Any]:
        """Makes a version current."""
        return _description(self._store.promote(name, version))

    def roll_back(self, name: str) -> dict[str, Any]:
        """Makes the version current that was so before."""
        return _description(self._store.roll_back(name))

    def check(self, model_id: str) -> None:
        """Compares a model with its manifest.

        Raises:
            KitfoxError: It cannot be loaded, or is not what was published; the message says why.
        """
        path = self._store.find(model_id)
        if path is None:
            raise ModelNotFound(model_id)
        self._store.verify(model_id, path)
        if problem := self._store.describe(model_id).problem:
            raise FailedPrecondition(problem)


def files_of(path: Path) -> list[dict[str, str]]:
    """The files of a folder, or of a zip file, as `DeployModel` takes them."""
    if path.is_dir():
        return [
            {
                "filename": item.relative_to(path).as_posix(),
                "data": base64.b64encode(item.read_bytes()).decode(),
            }
            for item in sorted(path.rglob("*"))
            if item.is_file()
        ]
    with tempfile.TemporaryDirectory() as folder:
        return files_of(Path(find_model_folder(extract(path, Path(folder) / "model"))))


def archive_of(path: Path) -> Iterator[bytes]:
    """The pieces of a zip file of a folder, or of one that there is, as `Upload` takes them."""
    if path.is_dir():
        yield from iterate_archive(path)
        return
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def upload_size(path: Path) -> int:
    """About how many bytes the files of a folder, or of a zip file, take as `DeployModel`."""
    if path.is_dir():
        sizes = [item.stat().st_size for item in path.rglob("*") if item.is_file()]
    else:
        with zipfile.ZipFile(path) as archive:
            sizes = [item.file_size for item in archive.infolist()]
    # Base64, and the names.
    return sum(4 * (size // 3 + 1) + _NAME_BYTES for size in sizes)


def _description(entry: ModelEntry) -> dict[str, Any]:
    module = entry.module
    return {
        "model_id": entry.name,
        "state": "incomplete" if entry.problem else "available",
        "path": str(entry.path),
        "size": entry.size,
        "version": entry.version,
        "versions": [*entry.versions],
        "module_id": module.MODULE_ID if module else "",
        "module_name": module.MODULE_NAME if module else "",
        "module_version": module.MODULE_VERSION if module else "",
        "tasks": [task.__name__ for task in module.tasks] if module else [],
        "last_error": entry.problem,
    }
