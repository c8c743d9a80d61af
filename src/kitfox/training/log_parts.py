"""A job's log, a part at a time: from a place on, to be gone on with where a part has ended."""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LogPart", "read_part"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """A part of a log."""

    text: str
    """What it says."""
    next_offset: int
    """The byte at which the next part begins."""
    ended: bool = False
    """Whether that is all there will ever be."""


def read_part(path: Path | str, offset: int, limit: int, *, whole_lines: bool) -> LogPart | None:
    """A part of a log file; None if there is no file.

    One that has become shorter, because its beginning was dropped, is read from its new beginning.

    Args:
        path: The file.
        offset: The byte to begin at.
        limit: The most bytes.
        whole_lines: Whether a last line without an end is left for the next part, as somebody
            is writing it.

    Returns:
        `ended` says whether the part reaches to the end of what is in the file now.
    """
    try:
        with Path(path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            offset = 0 if offset > size else offset
            stream.seek(offset)
            data = stream.read(limit)
    except OSError:
        return None
    is_end = offset + len(data) >= size
    kept = _cut(data, whole_lines=whole_lines, is_end=is_end, is_full=len(data) == limit)
    return LogPart(text=kept.decode(errors="replace"), next_offset=offset + len(kept), ended=is_end)


def _cut(data: bytes, *, whole_lines: bool, is_end: bool, is_full: bool) -> bytes:
    """What of the data is given now: up to a line's end, or at least to that of a letter."""
    if is_end and not whole_lines:
        return data
    lines = data.rfind(b"\n") + 1
    if lines:
        return data[:lines]
    if not is_full:
        return b""
    # One line that is longer than a part.
    end = len(data)
    while end > len(data) - 4 and end > 1 and data[end - 1] & 0b1100_0000 == 0b1000_0000:
        end -= 1
    if data[end - 1] >= 0b1100_0000:
        return data[: end - 1] or data
    return data
