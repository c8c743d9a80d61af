"""What a training was trained with: where its data lay, how much there was, and a digest of it.

The streams that `train` reads are watched, so that rows are counted while they are read; files are
looked at before, and once more after. Data that has changed in between gets no digest, as nobody
knows what of it was read.
"""

import contextlib
import datetime
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitfox.data import DataStream
from kitfox.data.files import files_of
from kitfox.data.sources import (
    Directory,
    FileReference,
    ListOfFileReferences,
    S3Files,
    bucket_objects,
)
from kitfox.data.streams import counted
from kitfox.errors import KitfoxError
from kitfox.training.jobs import DataRecord

__all__ = ["DataRecorder"]

log = logging.getLogger("kitfox.TRAINING")

_MOST_NAMES = 10
_MOST_OBJECTS = 100
"""Of so many objects of a store the tags are asked for."""


@dataclass(kw_only=True, slots=True)
class _Watched:
    """The stream of one parameter."""

    parameter: str
    kind: str
    name: str
    describe: Callable[[], tuple[int | None, str, str]]
    """Gives size, digest and what tells a change."""
    rows: list[int] = field(default_factory=list)
    """How many each reading to the end has given."""


class DataRecorder:
    """Watches the streams of one training.

    Args:
        digest_bytes: How many bytes of data, all in all, are given digests.
    """

    def __init__(self, *, digest_bytes: int) -> None:
        self._budget = digest_bytes
        self._watched: list[_Watched] = []

    def __call__(
        self, parameter: str, content: Any, base_dir: Path, stream: DataStream[Any]
    ) -> DataStream[Any]:
        """The stream for `train`, in place of the one over `content`."""
        watched = self._watch(parameter, content, base_dir)
        if watched is None:
            return stream
        self._watched.append(watched)
        return counted(stream, watched.rows.append)

    def records(self, *, digests: bool = True) -> tuple[DataRecord, ...]:
        """What was read; to be asked when the training is done.

        Args:
            digests: Whether to read the files once more for their digests.
        """
        if not digests:
            self._budget = 0
        return tuple(self._record(watched) for watched in self._watched)

    def _record(self, watched: _Watched) -> DataRecord:
        size, digest, changed = None, "", ""
        try:
            size, digest, changed = watched.describe()
        except (OSError, KitfoxError) as error:  # the model matters more than its record
            log.warning("The data of %s cannot be described: %s", watched.parameter, error)
        return DataRecord(
            parameter=watched.parameter,
            kind=watched.kind,
            name=watched.name,
            rows=max(watched.rows, default=None),
            size=size,
            sha256=digest,
            changed=changed,
        )

    def _watch(self, parameter: str, content: Any, base: Path) -> _Watched | None:
        match content:
            case None:
                return None
            case FileReference():
                path = (base / (content.filename or "")).absolute()
                kind, name = "file", str(path)
                describe = self._files(lambda: [path], whole=True)
            case ListOfFileReferences():
                paths = [(base / name).absolute() for name in content.files or []]
                kind, name = "files", _names(list(map(str, paths)))
                describe = self._files(lambda: paths)
            case Directory():
                folder = (base / (content.dirname or "")).absolute()
                extension = content.extension or "json"
                kind, name = "directory", f"{folder}/*.{extension.lstrip('.')}"
                describe = self._files(lambda: files_of(folder, extension))
            case S3Files():
                kind = "s3"
                name = _names([f"s3://{content.bucket}/{key}" for key in content.files or []])
                describe = lambda: _describe_objects(content)  # noqa: E731 -- as its neighbours
            case _:
                kind, name = "inline", ""
                describe = lambda: self._describe_elements(content)  # noqa: E731 -- as above
        return _Watched(parameter=parameter, kind=kind, name=name, describe=describe)

    def _files(
        self, find: Callable[[], Sequence[Path]], *, whole: bool = False
    ) -> Callable[[], tuple[int | None, str, str]]:
        """What describes files later on, having looked at them now."""
        before = _look(find)

        def describe() -> tuple[int | None, str, str]:
            after = _look(find)
            size = sum(length for _, length, _ in after)
            changed = max((moment for *_, moment in after), default=0)
            digest = ""
            if before != after:
                log.warning("Training data was changed while it was read; it gets no digest")
            elif self._may_take(size):
                digest = _digest([path for path, *_ in after], whole=whole)
            return size, digest, _time(changed)

        return describe

    def _describe_elements(self, content: Any) -> tuple[int | None, str, str]:
        """The elements that came with the request, as JSON."""
        values = json.loads(content.to_json())
        text = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(text).hexdigest() if self._may_take(len(text)) else ""
        return len(text), digest, ""

    def _may_take(self, size: int) -> bool:
        """Whether there is a digest for so much more; if so it is taken off what may be."""
        if size > self._budget:
            return False
        self._budget -= size
        return True


def _look(find: Callable[[], Sequence[Path]]) -> list[tuple[Path, int, int]]:
    """Path, size and time of the last change of each file that is there."""
    seen = []
    with contextlib.suppress(OSError):
        for path in find():
            found = path.stat()
            seen.append((path, found.st_size, found.st_mtime_ns))
    return seen


def _digest(paths: Sequence[Path], *, whole: bool) -> str:
    """The SHA-256 of one file, or of the names and digests of several."""
    found = []
    for path in paths:
        with path.open("rb") as stream:
            found.append((path.name, hashlib.file_digest(stream, "sha256").hexdigest()))
    if whole:
        return found[0][1] if found else ""
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _describe_objects(content: S3Files) -> tuple[int | None, str, str]:
    """Size and tags of objects in a bucket; of many the tags are put together into one."""
    objects = bucket_objects(content)
    if len(objects) > _MOST_OBJECTS:
        return None, "", ""
    looks = [item.look() for item in objects]
    tags = [tag.strip('"') for _, tag in looks]
    text = tags[0] if len(tags) == 1 else hashlib.sha256(json.dumps(tags).encode()).hexdigest()
    return sum(size for size, _ in looks), "", text


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _time(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    moment = datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC)
    return moment.isoformat(timespec="microseconds")
