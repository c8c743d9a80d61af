"""Multipart bodies: where their parts lie; and on disk -> elements, each part JSON or CSV.

A body on disk is read chunk by chunk; a part is a window on the file, so that none is in memory.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kitfox.data.data_file import DataFile
from kitfox.data.file_errors import DataFileError
from kitfox.data.files import header_csv_rows, json_array_items

__all__ = ["Part", "find_parts", "is_multipart", "read_multipart"]

_LONGEST_LINE = 1 << 10
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Where a part lies in its body, and what it is."""

    name: str
    filename: str | None
    content_type: str
    start: int
    end: int


def find_parts(chunks: Iterable[bytes], boundary: bytes, *, most: int | None = None) -> list[Part]:
    """The parts of a multipart body.

    Args:
        chunks: The body, in pieces of any size.
        boundary: What stands between the parts, without the hyphens before it.
        most: The most parts that there may be; None is any number.

    Raises:
        ValueError: It is no such body, or has more parts.
    """
    # Imported when it is needed: few requests and few data files are multipart.
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    finder = _Finder(most)
    try:
        parser = MultipartParser(boundary, finder.callbacks())  # type: ignore[arg-type] # a TypedDict
        for chunk in chunks:
            finder.chunk = chunk
            parser.write(chunk)
            finder.offset += len(chunk)
    except FormParserError as err:
        raise ValueError(f"the multipart body is malformed: {err}") from err
    if not finder.ended:
        raise ValueError("the multipart body ends without its last boundary")
    return finder.parts


class _Finder:
    """Notes what a parser finds."""

    def __init__(self, most: int | None) -> None:
        self.parts: list[Part] = []
        self.chunk = b""
        self.offset = 0
        """Of the present chunk in the body."""
        self.ended = False
        self._most = most
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._start: int | None = None
        self._size = 0

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if self._most is not None and len(self.parts) >= self._most:
            raise ValueError(f"the multipart body has more than {self._most} parts")
        self._headers = {}
        self._start, self._size = None, 0

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._start is None:
            # What looked like the beginning of a boundary comes later, from a buffer of its own.
            self._start = self.offset + (start if data is self.chunk else start - end)
        self._size += end - start

    def _end(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        start = self._start or 0
        self.parts.append(
            Part(
                name=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content_type=self._headers.get(b"content-type", b"").decode("latin-1").strip(),
                start=start,
                end=start + self._size,
            )
        )

    def _finish(self) -> None:
        self.ended = True


def is_multipart(head: bytes) -> bool:
    """Whether a file that begins so is a multipart body."""
    first, _, rest = head.partition(b"\n")
    return first.startswith(b"--") and len(first.strip()) > 2 and b":" in rest.partition(b"\n")[0]


def read_multipart(path: DataFile) -> Iterator[Any]:
    """The elements of all parts, one part after the other."""
    for part in _parts(path):
        name, kind = part.filename or part.name, part.content_type.lower()
        with path.open("rb") as file:
            window = io.BufferedReader(_Window(file, part.start, part.end))
            if "json" in kind or name.endswith(".json"):
                yield from json_array_items(path, window)
            elif "csv" in kind or name.endswith(".csv"):
                text = io.TextIOWrapper(window, encoding="utf-8-sig", newline="")
                yield from header_csv_rows(path, text)
            else:
                raise DataFileError(
                    path,
                    f"the part {name!r} is {kind or 'of no type'}; expected "
                    "application/json or text/csv",
                )


def _parts(path: DataFile) -> list[Part]:
    """Find the parts in one pass."""
    with path.open("rb") as file:
        boundary = file.readline(_LONGEST_LINE).rstrip(b"\r\n")
        if not boundary.startswith(b"--") or len(boundary) < 3:
            raise DataFileError(path, "no multipart body: it does not begin with a boundary")
        file.seek(0)
        try:
            return find_parts(iter(lambda: file.read(_CHUNK), b""), boundary[2:])
        except ValueError as err:
            raise DataFileError(path, str(err)) from err


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
