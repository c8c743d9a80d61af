"""A model that comes as a zip file in pieces: kept beside its place until it is whole."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from kitfox.errors import ResourceExhausted
from kitfox.models.inspection import ModelEntry
from kitfox.models.workspace import explaining

__all__ = ["IncomingModel", "UploadTooLarge"]


class UploadTooLarge(ResourceExhausted):
    """A model that is larger than what may be uploaded.

    Args:
        what: What of it.
        limit: The most bytes.
    """

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(
            f"the model is too large: {what} has more than {limit} bytes "
            "(setting models.max_upload_size)"
        )


class IncomingModel:
    """Takes the pieces. All of this waits for the disk: to be used in threads, one at a time.

    Args:
        archive: The file to write.
        limit: The most bytes that the archive may have, and may unpack to.
        publish: Publishes what is in the archive when it is whole.
    """

    def __init__(self, archive: Path, *, limit: int, publish: Callable[[], ModelEntry]) -> None:
        self._archive = archive
        self._limit = limit
        self._publish = publish
        self._size = 0

    def write(self, data: bytes) -> None:
        """Takes a piece.

        Raises:
            UploadTooLarge: It is too much.
            ResourceExhausted: The disk is full.
        """
        self._size += len(data)
        self._check(self._size, "it")
        # Opened anew: nobody need close it who does not know whether a thread still writes.
        with explaining("keep what is uploaded"), self._archive.open("ab") as file:
            file.write(data)

    def publish(self) -> ModelEntry:
        """Makes what has come the model.

        Raises:
            InvalidArgument: It is no zip file, or has names that cannot be used.
            UploadTooLarge: It unpacks to too much.
            ResourceExhausted: The disk is full.
            AlreadyExists: There is such a model meanwhile.
        """
        self._archive.touch()
        if zipfile.is_zipfile(self._archive):
            with zipfile.ZipFile(self._archive) as opened:
                # A member never unpacks to more than the archive says.
                unpacked = sum(member.file_size for member in opened.infolist())
            self._check(unpacked, "what is in it")
        return self._publish()

    def _check(self, size: int, what: str) -> None:
        if size > self._limit:
            raise UploadTooLarge(what, self._limit)
