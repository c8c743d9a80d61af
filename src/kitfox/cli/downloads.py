"""A file that is whole or not there: what comes in pieces, written beside its place."""

import os
from collections.abc import Iterable
from pathlib import Path

from kitfox.errors import FailedPrecondition

__all__ = ["write_download"]


def write_download(parts: Iterable[bytes], place: Path) -> int:
    """Writes pieces into a new file; gives its size.

    Raises:
        FailedPrecondition: There is a file already, or it cannot be written.
    """
    if place.exists():
        raise FailedPrecondition(f"{place} exists already; name another file")
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    size = 0
    try:
        with partial.open("xb") as file:
            for part in parts:
                size += file.write(part)
        partial.rename(place)
    except OSError as err:
        raise FailedPrecondition(f"{place} cannot be written: {err.strerror}") from err
    finally:
        partial.unlink(missing_ok=True)
    return size
