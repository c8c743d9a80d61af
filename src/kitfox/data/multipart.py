"""Multipart bodies on disk -> elements: each part a JSON array or CSV with a header.

The body is read line by line; a part is a window on the file, so that none is in memory.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kitfox.data.data_file import DataFile
from kitfox.data.file_errors import DataFileError
from kitfox.data.files import header_csv_rows, json_array_items

__all__ = ["is_multipart", "read_multipart"]

_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Where a part lies in the file, and what it is."""

    name: str
    content_type: str
    start: int
    end: int


def is_multipart(head: bytes) -> bool:
    """Whether a file that begins so is a multipart body."""
    first, _, rest = head.partition(b"\n")
    return first.startswith(b"--") and len(first.strip()) > 2 and b":" in rest.partition(b"\n")[0]


def read_multipart(path: DataFile) -> Iterator[Any]:
    """The elements of all parts, one part after the other."""
    for part in _parts(path):
        with path.open("rb") as file:
            window = io.BufferedReader(_Window(file, part.start, part.end))
            if "json" in part.content_type or part.name.endswith(".json"):
                yield from json_array_items(path, window)
            elif "csv" in part.content_type or part.name.endswith(".csv"):
                text = io.TextIOWrapper(window, encoding="utf-8-sig", newline="")
                yield from header_csv_rows(path, text)
            else:
                raise DataFileError(
                    path,
                    f"the part {part.name!r} is {part.content_type or 'of no type'}; expected "
                    "application/json or text/csv",
                )


def _parts(path: DataFile) -> list[_Part]:
    """Find the parts in one pass over the lines."""
    parts: list[_Part] = []
    with path.open("rb") as file:
        boundary = file.readline(_LONGEST_LINE).rstrip(b"\r\n")
        if not boundary.startswith(b"--") or len(boundary) < 3:
            raise DataFileError(path, "no multipart body: it does not begin with a boundary")
        while True:
            headers = _headers(file)
            start = file.tell()
            end, last = _find_boundary(path, file, boundary)
            disposition = headers.get("content-disposition", "")
            parts.append(
                _Part(
                    name=_parameter(disposition, "filename") or _parameter(disposition, "name"),
                    content_type=headers.get("content-type", "").lower(),
                    start=start,
                    end=max(start, end),
                )
            )
            if last:
                return parts


def _headers(file: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := file.readline(_LONGEST_LINE).strip():
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _find_boundary(path: DataFile, file: Any, boundary: bytes) -> tuple[int, bool]:
    """Where the content before the next boundary ends, and whether that is the last one."""
    line_start = True
    while True:
        before = file.tell()
        line = file.readline(_LONGEST_LINE)
        if not line:
            raise DataFileError(path, "the multipart body ends without its last boundary")
        if line_start and line.rstrip(b"\r\n") in (boundary, boundary + b"--"):
            file.seek(max(0, before - 2))
            ending = file.read(2)
            file.readline(_LONGEST_LINE)
            cut = 2 if ending == b"\r\n" else 1
            return before - cut, line.rstrip(b"\r\n").endswith(b"--") and line.rstrip(
                b"\r\n"
            ) != boundary
        line_start = line.endswith(b"\n")


def _parameter(header: str, name: str) -> str:
    for item in header.split(";"):
        key, _, value = item.strip().partition("=")
        if key.lower() == name:
            return value.strip('"')
    return ""


class _Window(io.RawIOBase):
    """A part of a file that looks like a file of its own."""

    def __init__(self, file: Any, start: int, end: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._end = end
        self._position = start

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; positions count from the start of the window."""
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}
        self._position = min(max(base[whence] + offset, self._start), self._end)
        return self._position - self._start

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        self._file.seek(self._position)
        data = self._file.read(min(len(buffer), self._end - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
