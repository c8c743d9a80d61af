"""A JSON array in a file -> the text of its items, one by one.

Only the borders between items are found here; what lies between them is read by the codec of the
elements, which is both stricter and faster than a general streaming parser. No more than the
present item and one chunk of the file are in memory.
"""

import re
from collections.abc import Iterator
from typing import Any

from kitfox.data.data_file import DataFile
from kitfox.data.file_errors import DataFileError

__all__ = ["array_items", "begins_array"]

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 16
_DEEPEST = 1000
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)
"""A text, the beginning of one that goes on beyond what has been read, or a mark."""
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", b","[0]


def _object(levels: int) -> bytes:
    """The pattern of an object with so many levels of objects inside."""
    inner = b"(?:" + _STRING + b"|" + _object(levels - 1) + b")" if levels else _STRING
    return rb'\{[^{}"]*+(?:' + inner + rb'[^{}"]*+)*+\}'


_COMMON_ITEM = re.compile(rb"\s*" + _object(4) + rb"\s*,", re.DOTALL)
"""A whole item of the common sort, an object that is not very deep, with the comma behind it."""


def begins_array(head: bytes) -> bool:
    """Whether a file that begins so can be a JSON array."""
    return head.removeprefix(_BOM).lstrip().startswith(b"[")


def array_items(path: DataFile, file: Any) -> Iterator[bytes]:
    """The text of each item of an open JSON array.

    Raises:
        DataFileError: It is no array, or ends too early or too late.
    """
    data, start, count = _after_bracket(path, file), 0, 0
    while True:
        count += 1
        match = _COMMON_ITEM.match(data, start)
        if match is not None:
            yield data[start : match.end() - 1]
            start = match.end()
            continue
        scan, size = _Scan(path, count, start), _CHUNK
        while (end := scan.find_end(data)) < 0:
            chunk = file.read(size)
            if not chunk:
                raise DataFileError(path, "the file ends within the array", row=count)
            data, size = data[start:] + chunk, 2 * size
            scan.position -= start
            start = 0
        text = data[start:end]
        if data[end] != _COMMA:
            yield from _last_item(path, text, count)
            _check_end(path, data[end:], file)
            return
        if not text.strip():
            raise DataFileError(path, "there is a comma and no item before it", row=count)
        yield text
        start = end + 1


class _Scan:
    """Looks for the end of one item.

    Args:
        path: Of the file.
        number: Of the item.
        position: Where in the data to go on.
    """

    def __init__(self, path: DataFile, number: int, position: int) -> None:
        self._path = path
        self._number = number
        self._depth = 0
        self.position = position

    def find_end(self, data: bytes) -> int:
        """Where the comma or bracket behind the item is; -1 when more has to be read."""
        for match in _TOKEN.finditer(data, self.position):
            mark = data[match.start()]
            if mark in _OPENING:
                self._depth += 1
                if self._depth > _DEEPEST:
                    raise DataFileError(
                        self._path, "the item is nested too deeply", row=self._number
                    )
            elif mark in _CLOSING or mark == _COMMA:
                if self._depth == 0:
                    return match.start()
                self._depth -= mark != _COMMA
            elif match.end() == match.start() + 1:  # a quote without its counterpart
                self.position = match.start()
                return -1
            self.position = match.end()
        return -1


def _after_bracket(path: DataFile, file: Any) -> bytes:
    """What follows the opening bracket, as far as it has been read."""
    data: bytes = file.read(_CHUNK).removeprefix(_BOM).lstrip()
    while not data:
        chunk = file.read(_CHUNK)
        if not chunk:
            raise DataFileError(path, "the file is empty; expected a JSON array")
        data = chunk.lstrip()
    if not data.startswith(b"["):
        raise DataFileError(path, "the file is no JSON array; expected [ ... ]")
    return data[1:]


def _last_item(path: DataFile, text: bytes, number: int) -> Iterator[bytes]:
    if text.strip():
        yield text
    elif number > 1:
        raise DataFileError(path, "there is a comma and no item after it", row=number)


def _check_end(path: DataFile, rest: bytes, file: Any) -> None:
    if not rest.startswith(b"]"):
        raise DataFileError(path, "the array ends with } where ] was expected")
    rest = rest[1:].strip()
    while not rest:
        chunk = file.read(_CHUNK)
        if not chunk:
            return
        rest = chunk.strip()
    raise DataFileError(path, "there is more after the end of the array")
