"""A model in a zip file, compared with the manifest that lies in it; nothing is unpacked."""

import hashlib
from pathlib import Path

from kitfox.errors import InvalidArgument
from kitfox.modules.archive import ArchivedModel, UnsafeArchive
from kitfox.modules.config import CONFIG_FILE
from kitfox.modules.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    DamagedModel,
    IncompleteModel,
    Manifest,
    parse_manifest,
)

__all__ = ["ArchiveCheck", "archived_manifest"]

_MOST_REMEMBERED = 10_000


def archived_manifest(path: Path) -> Manifest | None:
    """The manifest in a zip file; None if it has none, or a file of that name is another's.

    Raises:
        IncompleteModel: A file that the manifest names is missing or of another size, or the
            manifest is none.
        InvalidArgument: The zip file is damaged.
        UnsafeArchive: It would write outside of the folder that it is unpacked to.
    """
    with ArchivedModel(path) as archived:
        return _manifest_of(archived)


def _manifest_of(archived: ArchivedModel) -> Manifest | None:
    if MANIFEST not in archived.sizes:
        return None
    manifest = parse_manifest(archived.read(MANIFEST, LARGEST_MANIFEST), MANIFEST)
    for record in manifest.files if manifest else ():
        size = archived.sizes.get(record.path)
        if size is None:
            raise IncompleteModel(f"{record.path} is missing")
        # Of a link, an archive has what it pointed to.
        if record.link is None and size != record.size:
            raise IncompleteModel(f"{record.path} has {size} bytes, not {record.size}")
    return manifest


class ArchiveCheck:
    """Compares what is in zip files with their manifests, once for each as it lies there."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[int, int]] = {}

    def __call__(self, path: Path) -> None:
        """Reads all of a zip file whose content has not been compared, or has changed since.

        Raises:
            FileNotFoundError: There is no `config.yml` in it.
            IncompleteModel: It lacks something, or is only the beginning of a zip file.
            DamagedModel: A file's content is another than was published.
            InvalidArgument: It is no zip file.
            UnsafeArchive: It would write outside of the folder that it is unpacked to.
        """
        found = path.stat()
        key, mark = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
        if self._known.get(key) == mark:
            return
        try:
            archived = ArchivedModel(path)
        except UnsafeArchive:
            raise
        except InvalidArgument as error:
            if _begins_as_zip(path):
                raise IncompleteModel(error.message) from error
            raise
        with archived:
            self._compare(archived)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = mark

    def _compare(self, archived: ArchivedModel) -> None:
        archived.read(CONFIG_FILE, 1)
        manifest = _manifest_of(archived)
        for record in manifest.files if manifest else ():
            if record.link is not None:
                continue
            digest = hashlib.sha256()
            try:
                for piece in archived.pieces(record.path):
                    digest.update(piece)
            except InvalidArgument as error:
                raise DamagedModel(f"{record.path} is damaged: {error.message}") from error
            record.compare(digest.hexdigest())


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"
