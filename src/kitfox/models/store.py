"""The folder of models on disk: what is there, what is wrong with it, and how it is changed.

Every entry of `runtime.local_models_dir` is a model named after the entry; versions lie below
`.versions`. Looking at the store loads nothing. Model ids come from clients, so each is checked to
be a plain name before any file call. All of this waits for the disk: call it in threads.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from kitfox.errors import AlreadyExists, InvalidArgument, ModelNotFound, NotFound
from kitfox.models.deployment import ModelFiles, check_files, copy_model, write_files
from kitfox.models.incoming import IncomingModel
from kitfox.models.inspection import ModelEntry, inspect_model, settled
from kitfox.models.load_notes import LoadNotes
from kitfox.models.quarantine_notes import QuarantineNotes
from kitfox.models.reference import ModelReference
from kitfox.models.verification import Verification
from kitfox.models.versions import Promotion, Versions
from kitfox.models.workspace import VERSIONS, Workspace, explaining
from kitfox.modules.config import CONFIG_FILE
from kitfox.modules.manifest import seal
from kitfox.modules.publication import rename_new, sync_folder

__all__ = ["ModelStore", "ModelVersion", "RemoteModels", "StoreItem"]


class RemoteModels(Protocol):
    """Models that are elsewhere."""

    def __call__(self, reference: ModelReference) -> Path | None:
        """Looks for a model and brings it here, which may take long; None if there is none."""

    def may_have(self, reference: ModelReference) -> bool:
        """False where it is known that there is no such model; at once."""

    def cached(self, reference: ModelReference) -> Path | None:
        """Where a model lies that has been brought here; at once."""

    def ids(self) -> Iterable[str]:
        """The ids of the models that have been brought here; no other machine is asked."""


class StoreItem(NamedTuple):
    """An entry of the models folder, as the folder tells it."""

    inode: int
    """Another if the entry was replaced by another."""
    is_link: bool
    """Whether it is a link, as that to the current version of a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a model."""

    version: str
    """What it is called."""
    current: bool
    """Whether it is the one that the model's name means."""
    entry: ModelEntry
    """What can be said of it."""


class ModelStore:
    """Finds models by id, and publishes, promotes and removes them.

    Args:
        root: The folder of models; it need not exist.
        find_elsewhere: Asked for ids that the folder does not have, such as training ids.
        find_remote: Asked for models that are nowhere here.
        write_detection: Seconds between the two looks that tell whether a model without a manifest
            is being written; 0: there is one look.
        upload_limit: The most bytes of a model that comes as an archive, packed and unpacked.
    """

    def __init__(
        self,
        root: Path,
        *,
        find_elsewhere: Callable[[str], Path | None] | None = None,
        find_remote: RemoteModels | None = None,
        write_detection: float = 0.0,
        upload_limit: int = sys.maxsize,
    ) -> None:
        self._upload_limit = upload_limit
        self.root = root
        self._find_elsewhere = find_elsewhere
        self._find_remote = find_remote
        self._write_detection = write_detection
        self._work = Workspace(root)
        self._versions = Versions(root, self._work)
        self.verify = Verification(root, write_detection=write_detection)
        """Checks what `find` gave before it is loaded."""

    def names(self) -> list[str]:
        """The ids of all entries, sorted; one look at the folder, none at the models."""
        return sorted(self.scan())

    def scan(self) -> dict[str, StoreItem]:
        """What a look at the folder tells of each entry, by id, without a look at any of them."""
        found = self._scan()
        if VERSIONS in found and self._work.recover(self._versions.redo):
            found = self._scan()
        return {name: item for name, item in found.items() if _may_be_model(name)}

    def downloaded(self) -> list[str]:
        """The ids of the models that have been brought here from remote stores."""
        return [] if self._find_remote is None else list(self._find_remote.ids())

    def versioned_names(self) -> frozenset[str]:
        """The models that have more than what stands in the folder, perhaps; one look."""
        return frozenset(name for name in self._versions.models() if _may_be_model(name))

    def other_versions(self, name: str) -> set[str]:
        """The versions of a model but for the current one; cheap, as there may be very many."""
        return self._versions.others(_plain(name).name)

    def has_version(self, name: str, version: str) -> bool:
        """Whether the models folder has a version of a model."""
        reference = ModelReference.parse(f"{_plain(name).name}@{version}")
        return self._versions.path(reference.name, reference.version) is not None

    def current_version(self, name: str) -> str:
        """The version that a model has now; empty if there is no such model."""
        return self._versions.current(_plain(name).name)

    def find(self, model_id: str) -> Path | None:
        """The path of a model, or None; downloads it if it is in a remote store only.

        Args:
            model_id: `name` or `name@version`, where the version may be a training id.

        Raises:
            InvalidArgument: A part of `model_id` is not a plain name.
            NotFound: It is a link that leads out of the models folder.
            Unavailable: It may be in a remote store that cannot be reached.
        """
        path = self.find_here(model_id)
        if path is None and self._find_remote is not None:
            path = self._find_remote(ModelReference.parse(model_id))
        return path

    def find_here(self, model_id: str) -> Path | None:
        """The path of a model in the models folder, or of a trained one, or None; as `find`."""
        reference = ModelReference.parse(model_id)
        path = self._find_here(model_id, reference)
        if path is None and self._work.recover(self._versions.redo):
            path = self._find_here(model_id, reference)
        return path

    def locate(self, model_id: str) -> Path | None:
        """As `find`, but of a model in a remote store only what has been downloaded before."""
        path = self.find_here(model_id)
        if path is None and self._find_remote is not None:
            path = self._find_remote.cached(ModelReference.parse(model_id))
        return path

    def may_be_remote(self, model_id: str) -> bool:
        """Whether a model that is not here may be in a remote store; none is asked."""
        if self._find_remote is None:
            return False
        return self._find_remote.may_have(ModelReference.parse(model_id))

    def entries(self, offset: int = 0, limit: int | None = None) -> Iterator[ModelEntry]:
        """Models of the folder in the order of their names, the broken ones with the reason.

        Args:
            offset: How many to leave out.
            limit: The most to tell; None: all.
        """
        end = None if limit is None else offset + limit
        for name in self.names()[offset:end]:
            yield self._inspect(name)

    def describe(self, model_id: str) -> ModelEntry:
        """What can be said of one model without loading it, with all its versions.

        Nothing is downloaded: of a model in a remote store only what was brought here is known.

        Raises:
            NotFound: There is no such model.
        """
        path = self.locate(model_id)
        if path is None:
            why = "it has not been downloaded" if self.may_be_remote(model_id) else ""
            raise ModelNotFound(model_id, self.names(), why)
        reference = ModelReference.parse(model_id)
        entry = self._inspect_path(model_id, path)
        version = reference.version or self._versions.current(reference.name)
        return replace(
            entry,
            version=version or entry.version,
            versions=tuple(self._versions.names(reference.name)),
        )

    def versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model that are in the models folder, in the order of their names.

        Raises:
            NotFound: There is no such model.
        """
        reference = _plain(name)
        names = self._versions.names(reference.name)
        if not names:
            raise ModelNotFound(name, self.names())
        current = self._versions.current(reference.name)
        found = []
        for version in names:
            path = self._versions.path(reference.name, version)
            if path is not None:
                entry = replace(self._inspect_path(f"{name}@{version}", path), version=version)
                found.append(ModelVersion(version=version, current=version == current, entry=entry))
        return found

    def last_change(self) -> float:
        """When models were published, promoted or removed last: seconds since 1970, 0 for never."""
        return self._work.last_change()

    def history(self, name: str) -> list[Promotion]:
        """The versions of a model that were current, the present one last."""
        return self._versions.history(_plain(name).name)

    def load_notes(self) -> LoadNotes:
        """Where loads are noted that end the process."""
        return LoadNotes(self.root / VERSIONS / ".loads")

    def quarantine_notes(self) -> QuarantineNotes:
        """Where it is noted what models refuse because it ended their processes."""
        return QuarantineNotes(self.root / VERSIONS / ".quarantine")

    def settled(self, names: Iterable[str]) -> set[str]:
        """Those of some entries that nobody is writing just now; waits once for all of them."""
        paths = {self.root / name: name for name in names}
        return {paths[path] for path in settled(paths, period=self._write_detection)}

    def deploy(self, model_id: str, files: ModelFiles) -> ModelEntry:
        """Publishes a model, or with `name@version` a further version of one.

        A further version does not become current by that; the first one does.

        Args:
            model_id: `name` or `name@version`.
            files: The model's files by name, or the path of a folder or a zip file.

        Raises:
            InvalidArgument: The id, or the name of a file, cannot be used.
            AlreadyExists: There is such a model.
            FailedPrecondition: The models folder may not be written.
            ResourceExhausted: The disk is full.
        """
        if not model_id:
            raise InvalidArgument("Must provide model_id")
        reference = ModelReference.parse(model_id)
        checked = check_files(files)
        self._refuse_existing(model_id, reference)
        with (
            explaining(f"deploy model {model_id}"),
            self._work.staging(self._versions.redo) as folder,
        ):
            model = write_files(checked, folder / "model")
            seal(model, version=reference.version or None)
            self._put_in_place(model, model_id, reference)
        return self.describe(model_id)

    @contextmanager
    def receive(self, model_id: str) -> Iterator[IncomingModel]:
        """Takes a model that comes as a zip file in pieces; to be published within.

        Args:
            model_id: `name` or `name@version`.

        Raises:
            InvalidArgument: The id cannot be used.
            AlreadyExists: There is such a model.
            FailedPrecondition: The models folder may not be written.
        """
        if not model_id:
            raise InvalidArgument("Must provide model_id")
        self._refuse_existing(model_id, ModelReference.parse(model_id))
        with (
            explaining(f"upload model {model_id}"),
            self._work.staging(self._versions.redo) as folder,
        ):
            archive = folder / "upload.zip"
            yield IncomingModel(
                archive, limit=self._upload_limit, publish=partial(self.deploy, model_id, archive)
            )

    def prepare(self, name: str, version: str) -> tuple[Path, bool]:
        """Where a version lies that is to be promoted; a trained model becomes a version by it.

        Args:
            name: The model; it need not exist if the version is a training.
            version: One of its versions, or the id of a training.

        Returns:
            The path, and whether it has become a version just now.

        Raises:
            NotFound: There is no such version, and no such training with a model.
            IncompleteModel: The training's model lacks something.
            FailedPrecondition: It cannot become a version.
        """
        reference = ModelReference.parse(f"{_plain(name).name}@{version}")
        if (path := self._versions.path(name, version)) is not None:
            return path, False
        is_new = self._adopt(reference)
        if (path := self._versions.path(name, version)) is None:
            raise NotFound(f"Model {name!r} has no version {version!r}")
        return path, is_new

    def promote(self, name: str, version: str) -> ModelEntry:
        """Makes a version the one that the model's name means; a trained model becomes a version.

        Args:
            name: The model; it need not exist if the version is a training.
            version: One of its versions, or the id of a training.

        Raises:
            NotFound: There is no such version, and no such training with a model.
            IncompleteModel: The version lacks something.
            FailedPrecondition: What has the model's name cannot be replaced.
        """
        path, _ = self.prepare(name, version)
        self.verify(f"{name}@{version}", path)
        self._versions.promote(name, version)
        return self.describe(name)

    def previous(self, name: str) -> str:
        """The version that a roll back would make current; empty if there is none."""
        return self._versions.previous(_plain(name).name)

    def roll_back(self, name: str) -> ModelEntry:
        """Makes the version current that was so before the present one.

        Raises:
            NotFound: There is no such model.
            FailedPrecondition: It has no earlier version.
        """
        reference = _plain(name)
        if not self._versions.names(reference.name):
            raise ModelNotFound(name, self.names())
        self._versions.roll_back(reference.name)
        return self.describe(name)

    def remove(self, model_id: str) -> None:
        """Removes a model with all its versions, or one version that is not current.

        Args:
            model_id: `name` or `name@version`.

        Raises:
            NotFound: There is none in the models folder.
            FailedPrecondition: It is a link that leads elsewhere, or the current version.
        """
        if not model_id:
            raise InvalidArgument("Must provide model_id")
        reference = ModelReference.parse(model_id)
        name = reference.name
        if not self.root.is_dir() or not _may_be_model(name):
            removed = False
        elif reference.version:
            removed = self._versions.remove_version(name, reference.version)
        else:
            removed = self._versions.remove(name)
        if not removed:
            raise NotFound(f"Cannot undeploy unknown model {model_id}")

    def _scan(self) -> dict[str, StoreItem]:
        try:
            with os.scandir(self.root) as entries:
                return {item.name: StoreItem(item.inode(), item.is_symlink()) for item in entries}
        except OSError:
            return {}

    def _find_here(self, model_id: str, reference: ModelReference) -> Path | None:
        if not _may_be_model(reference.name):
            return None
        if reference.version:
            literal = self.root / model_id  # of those who have never heard of versions
            if _exists(literal) and not literal.is_symlink():
                return literal
            return self._versions.path(reference.name, reference.version) or self._trained(
                reference.version, reference.name
            )
        path = self._current_path(reference.name)
        if path is None or not _exists(path / CONFIG_FILE):
            # Trainings may be kept in the same folder: each is a folder with the model in it.
            path = self._trained(reference.name) or path
        return path

    def _current_path(self, name: str) -> Path | None:
        version = self._versions.linked(name)
        # Not by way of the link: it may point elsewhere while the model is being loaded.
        path = self.root / name if version is None else self.root / VERSIONS / name / version
        return path if _exists(path) else None

    def _trained(self, training_id: str, name: str = "") -> Path | None:
        path = self._find_elsewhere(training_id) if self._find_elsewhere else None
        return path if path is not None and name in ("", path.name) else None

    def _inspect(self, name: str) -> ModelEntry:
        try:
            path = self._current_path(name)
        except NotFound as error:
            return ModelEntry(name=name, path=self.root / name, module=None, problem=str(error))
        if path is None:
            return ModelEntry(
                name=name,
                path=self.root / name,
                module=None,
                problem="it is a link to a version that is not there",
            )
        entry = self._inspect_path(name, path)
        return replace(entry, version=self._versions.current(name))

    def _inspect_path(self, model_id: str, path: Path) -> ModelEntry:
        inside = path.is_relative_to(self.root)
        return inspect_model(model_id, path, root=self.root if inside else None)

    def _refuse_existing(self, model_id: str, reference: ModelReference) -> None:
        if not _may_be_model(reference.name):
            raise InvalidArgument(f"model id {model_id!r}: this name is used by the server itself")
        place = self.root / reference.name
        taken = os.path.lexists(place) and (
            not reference.version
            or self._versions.path(reference.name, reference.version) is not None
        )
        if taken or os.path.lexists(self.root / model_id):
            raise AlreadyExists(f"Model '{model_id}' already exists")

    def _put_in_place(self, model: Path, model_id: str, reference: ModelReference) -> None:
        place = self.root / reference.name
        try:
            if reference.version and os.path.lexists(place):
                self._versions.add(reference.name, reference.version, model)
                return
            with self._work.lock(self._versions.redo):
                rename_new(model, place)
                sync_folder(self.root)
        except FileExistsError:
            raise AlreadyExists(f"Model '{model_id}' already exists") from None

    def _adopt(self, reference: ModelReference) -> bool:
        """Copies what a training has made among the versions of a model, if it is not there."""
        source = self._trained(reference.version)
        if source is None:
            raise NotFound(
                f"Model {reference.name!r} has no version {reference.version!r}, and no training "
                "of that id has made a model"
            )
        with (
            explaining(f"promote model {reference}"),
            self._work.staging(self._versions.redo) as folder,
        ):
            copy_model(source, folder / "model", folder / "model")
            try:
                self._versions.add(reference.name, reference.version, folder / "model")
            except FileExistsError:  # another one was quicker
                return False
        return True


def _exists(path: Path) -> bool:
    """Whether something is there; a name that is too long for the file system is not."""
    try:
        return path.exists()
    except OSError:
        return False


def _plain(name: str) -> ModelReference:
    reference = ModelReference.parse(name)
    if reference.version:
        raise InvalidArgument(f"model id {name!r}: expected the name of a model, without a version")
    return reference


def _may_be_model(name: str) -> bool:
    """Whether an entry is a model: trainings may be kept, and being written, in the same folder."""
    if name.startswith((".", "jobs.sqlite3")):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # a name that no client can say
        return False
    return True
