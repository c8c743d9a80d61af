"""What the readers of data need of a file: a path has it, and so has an object in a bucket."""

from typing import IO, Any, Protocol

__all__ = ["DataFile"]


class DataFile(Protocol):
    """Something with a name that can be opened, as often as wanted; `str` of it is for errors."""

    @property
    def suffix(self) -> str:
        """The extension with its dot, or an empty text."""
        ...

    def open(
        self, mode: str, *, encoding: str | None = None, newline: str | None = None
    ) -> IO[Any]:
        """Open it for reading, as bytes (`rb`) or as text (`r`); it can seek."""
        ...
