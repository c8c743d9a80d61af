"""The data objects that say where the elements of a data stream come from."""

from kitfox.data import (
    Directory,
    File,
    FileReference,
    ListOfFileReferences,
    S3Base,
    S3Files,
    S3Path,
)

__all__ = [
    "Directory",
    "File",
    "FileReference",
    "ListOfFileReferences",
    "S3Base",
    "S3Files",
    "S3Path",
]
