"""A model in a zip file, compared with the manifest that lies in it; nothing is unpacked."""

import hashlib
from pathlib import Path

from kitfox.modules.archive import ArchivedModel
from kitfox.modules.manifest import (
    MANIFEST,
    IncompleteModel,
    Manifest,
    parse_manifest,
)

__all__ = ["ArchiveCheck", "archived_manifest"]


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
    manifest = parse_manifest(archived.read(MANIFEST), MANIFEST)
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
            IncompleteModel: It lacks something.
            DamagedModel: A file's content is another than was published.
            InvalidArgument: The zip file is damaged.
            UnsafeArchive: It would write outside of the folder that it is unpacked to.
        """
        found = path.stat()
        key, mark = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
        if self._known.get(key) == mark:
            return
        with ArchivedModel(path) as archived:
            manifest = _manifest_of(archived)
            for record in manifest.files if manifest else ():
                if record.link is not None:
                    continue
                digest = hashlib.sha256()
                for piece in archived.pieces(record.path):
                    digest.update(piece)
                record.compare(digest.hexdigest())
        self._known[key] = mark
