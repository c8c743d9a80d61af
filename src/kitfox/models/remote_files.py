"""Files in a remote store, by URL: listed, and read from the beginning to the end.

S3, Google's and Azure's object stores and web servers are spoken to by obstore, which has time-outs
for everything; all other URLs go to fsspec, under which a watch is kept.
"""

import contextlib
import importlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from kitfox.errors import FailedPrecondition, InvalidArgument, Unavailable

__all__ = ["RemoteFile", "RemoteFiles", "open_remote"]

_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "http", "https")
_CHUNK = 4 << 20
_CONNECT_SECONDS = 5.0
_WHOLE_FILE = timedelta(hours=6)
_EXTRA = "install it with pip install 'kitfox[remote]'"

_CREDENTIALS = re.compile(r"//[^/@\s]*@")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file as a listing tells it."""

    path: str
    """Relative to what was listed."""
    size: int
    """Bytes."""
    mark: str
    """What changes when the content does: an ETag, a time."""


class RemoteFiles(Protocol):
    """The files of one remote store. Paths are relative to its URL."""

    url: str
    """The store, as it may be shown."""

    def listing(self, path: str) -> list[RemoteFile]:
        """All files below a folder, at any depth; none if there is no such folder.

        Raises:
            Unavailable: The store cannot be reached, or does not allow it.
        """

    def read(self, path: str) -> Iterator[bytes]:
        """The content of a file, in pieces.

        Raises:
            FileNotFoundError: There is no such file.
            Unavailable: The store cannot be reached, or does not allow it.
        """


def open_remote(url: str, *, silence: float = 20.0) -> RemoteFiles:
    """The files of a store; nothing is asked of it yet.

    Args:
        url: Such as `s3://bucket/models`; credentials come from the environment.
        silence: Seconds for which the store may be silent.

    Raises:
        InvalidArgument: It is no URL that could be used.
        FailedPrecondition: What it takes is not installed.
    """
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        raise InvalidArgument(f"models.remote: {url!r} is no URL, such as s3://bucket/models")
    if scheme in _OBJECT_STORES:
        return _ObjectStore(url.replace("gcs://", "gs://", 1), silence)
    return _Fsspec(url, silence)


def _shown(url: str) -> str:
    """A URL without what must not be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


class _ObjectStore:
    def __init__(self, url: str, silence: float) -> None:
        self.url = _shown(url)
        try:
            self._obstore: Any = importlib.import_module("obstore")
            store = importlib.import_module("obstore.store")
            importlib.import_module("obstore.exceptions")
        except ImportError:
            raise FailedPrecondition(
                f"models.remote: {self.url} needs the package obstore; {_EXTRA}"
            ) from None
        read = timedelta(seconds=silence)
        try:
            self._store: Any = store.from_url(
                url,
                client_options={
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, silence)),
                    "read_timeout": read,
                    "timeout": _WHOLE_FILE,
                },
                retry_config={"max_retries": 2, "retry_timeout": read},
            )
        except (self._obstore.exceptions.BaseError, OSError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidArgument(f"models.remote: {self.url} cannot be used: {reason}") from None

    def listing(self, path: str) -> list[RemoteFile]:
        found = []
        with self._explaining(path):
            for batch in self._obstore.list(self._store, f"{path}/"):
                found += [
                    RemoteFile(
                        path=item["path"].removeprefix(f"{path}/"),
                        size=item["size"],
                        mark=str(item["e_tag"] or item["last_modified"]),
                    )
                    for item in batch
                ]
        return found

    def read(self, path: str) -> Iterator[bytes]:
        with self._explaining(path):
            for chunk in self._obstore.get(self._store, path).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    @contextlib.contextmanager
    def _explaining(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as error:
            # The first line; what follows is the library's view of itself, and the answer.
            reason = str(error).partition("\n")[0].partition(": <")[0]
            raise Unavailable(
                f"the remote store {self.url} does not give {path}: "
                + _CREDENTIALS.sub("//", reason)
            ) from None


class _Fsspec:
    def __init__(self, url: str, silence: float) -> None:
        self.url = _shown(url)
        self._silence = silence
        try:
            core = importlib.import_module("fsspec.core")
        except ImportError:
            raise FailedPrecondition(
                f"models.remote: {self.url} needs the package fsspec; {_EXTRA}"
            ) from None
        try:
            self._files, base = core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise InvalidArgument(f"models.remote: {self.url} cannot be used: {error}") from None
        self._base = base.rstrip("/")

    def listing(self, path: str) -> list[RemoteFile]:
        folder = f"{self._base}/{path}"

        def find() -> dict[str, dict[str, Any]]:
            self._files.invalidate_cache()
            found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
            return found

        try:
            found = self._watched(find, path)
        except FileNotFoundError:
            return []
        return [
            RemoteFile(path=name[len(folder) :].lstrip("/"), size=info["size"], mark=_mark(info))
            for name, info in found.items()
            if name != folder
        ]

    def read(self, path: str) -> Iterator[bytes]:
        stream = self._watched(lambda: self._files.open(f"{self._base}/{path}", "rb"), path)
        with stream:
            while chunk := self._watched(lambda: stream.read(_CHUNK), path):
                yield chunk

    def _watched(self, function: Callable[[], Result], path: str) -> Result:
        """Calls a function in a thread that is given up when it says nothing for too long."""
        outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                outcome.put((function(), None))
            except BaseException as error:  # noqa: BLE001 -- handed to the caller, who raises it
                outcome.put((None, error))

        threading.Thread(target=run, name="remote-file", daemon=True).start()
        try:
            result, error = outcome.get(timeout=self._silence)
        except Empty:
            raise Unavailable(
                f"the remote store {self.url} does not give {path}: no answer in "
                f"{self._silence:g} s"
            ) from None
        if isinstance(error, IsADirectoryError | NotADirectoryError):
            raise FileNotFoundError(path) from None
        if isinstance(error, FileNotFoundError):
            raise error
        if error is not None:
            raise Unavailable(
                f"the remote store {self.url} does not give {path}: {error}"
            ) from error
        return result  # type: ignore[return-value] # there was no error, so it is one


def _mark(info: dict[str, Any]) -> str:
    names = ("ETag", "etag", "e_tag", "mtime", "LastModified", "last_modified", "created")
    return next((str(info[name]) for name in names if info.get(name)), "")
