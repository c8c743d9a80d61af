"""What is checked of a model's files before it is loaded."""

from pathlib import Path

from kitfox.errors import ModelNotFound
from kitfox.models.inspection import settled, stray_link
from kitfox.modules.archived_manifest import ArchiveCheck
from kitfox.modules.manifest import (
    DamagedModel,
    DigestCheck,
    IncompleteModel,
    Manifest,
    read_manifest,
)

__all__ = ["Verification"]


class Verification:
    """Checks all that can be checked before a model is loaded; digests once for each file.

    Args:
        root: The models folder; no link in a model of it may lead out of it.
        write_detection: Seconds in which a change of a model without a manifest means that somebody
            is writing; 0: there is one look.
    """

    def __init__(self, root: Path, *, write_detection: float) -> None:
        self._root = root
        self._write_detection = write_detection
        self._check_digests = DigestCheck()
        self._check_archive = ArchiveCheck()

    def __call__(self, model_id: str, path: Path) -> None:
        """Checks one.

        Args:
            model_id: For the message.
            path: Its folder or archive.

        Raises:
            NotFound: It is gone.
            IncompleteModel: Something is missing, or is being written just now.
            DamagedModel: A file is not what was published.
            InvalidArgument: It is a file, and no zip file.
            UnsafeArchive: The zip file would write outside of its folder.
        """
        if not path.exists():
            raise ModelNotFound(model_id, reason="it was removed a moment ago")
        if path.is_relative_to(self._root) and (link := stray_link(path, self._root)):
            raise IncompleteModel(
                f"Model {model_id} cannot be loaded: {link} is a link that leads out of the models "
                "folder"
            )
        try:
            manifest = read_manifest(path)
            if manifest is not None:
                self._compare(path, manifest)
            elif not settled([path], period=self._write_detection):
                raise IncompleteModel("it is being written; try again later")
            if path.is_file():
                self._check_archive(path)
        except (IncompleteModel, DamagedModel) as error:
            raise type(error)(f"Model {model_id} cannot be loaded: {error}") from error

    def _compare(self, path: Path, manifest: Manifest) -> None:
        """Compares files and manifest, unless others have taken their place meanwhile."""
        try:
            self._check_digests(path, manifest)
        except DamagedModel as error:
            if read_manifest(path) == manifest:
                raise
            raise IncompleteModel("it was replaced a moment ago; try again") from error
