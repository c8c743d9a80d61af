"""Bytes that come piece by piece, copied once."""

__all__ = ["Pieces"]

_KEPT = 4 << 10
"""Bytes: a piece of so many is kept as it is. Smaller ones go together, for each object takes room
of its own."""
_TOGETHER = 64 << 10
"""Bytes: small pieces go together up to so many. What grows without end is copied again and
again."""


class Pieces:
    """Collects pieces; however small they are, they take little more room than what is in them.

    Example:
        >>> pieces = Pieces()
        >>> pieces.add(b"Hello ")
        >>> pieces.add(b"World")
        >>> pieces.size, pieces.take(), pieces.size
        (11, b'Hello World', 0)

    Attributes:
        size: How many bytes there are.
    """

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes | bytearray] = []
        self._small = bytearray()

    def add(self, piece: bytes) -> None:
        """Adds a piece at the end."""
        if not piece:
            return
        self.size += len(piece)
        if len(piece) >= _KEPT or not self._parts:
            self._parts.append(piece)
        elif self._parts[-1] is self._small and len(self._small) < _TOGETHER:
            self._small += piece
        else:
            self._small = bytearray(piece)
            self._parts.append(self._small)

    def take(self) -> bytes:
        """All of it; nothing is left."""
        # Joined, a single piece is itself.
        whole = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return whole
