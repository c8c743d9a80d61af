"""What Envoy's filter in `_express.c` is to Python. Absent where it could not be compiled."""

from collections.abc import Sequence
from typing import final

from kitfox.server.asgi import HeaderDict, Message

@final
class Held:
    """A request that is held: all of it is there, and it waits for one of the methods below.

    One of which nobody knows any more is given back.
    """

    @property
    def path(self) -> str:
        """Its path; it has no query."""
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Its headers, as ASGI has them."""
    @property
    def by_name(self) -> HeaderDict:
        """The last header of each name."""
    @property
    def body(self) -> bytes:
        """Its body."""
    @property
    def size(self) -> int:
        """The bytes of path and headers."""
    @property
    def gone(self) -> bool:
        """Whether its client is."""
    def answer(self, messages: tuple[Message, ...], /) -> None:
        """Sends the whole answer. In any thread; in vain if the client is gone.

        Args:
            messages: ASGI's: the start, the body and, if there are any, the trailers.

        Raises:
            RuntimeError: It has been answered or given back.
            TypeError: These are no such messages.
            ValueError: An answer that cannot be sent, such as one with too many headers.
        """
    def give_back(self, name: bytes = b"", value: bytes = b"", /) -> None:
        """Has pyvoy serve it, as if it had not been held. In any thread.

        Args:
            name: A header that it has then; none if empty.
            value: That header's value.

        Raises:
            RuntimeError: It has been answered or given back.
        """

def hold(paths: Sequence[bytes], refused: Sequence[bytes], most: int, /) -> None:
    """Has requests held from now on.

    Args:
        paths: Those whose `POST`s are held.
        refused: The headers with which none is held.
        most: The most bytes of a body that is held.
    """

def take() -> list[Held] | None:
    """Waits for requests that are held; None once they no longer are."""

def close() -> None:
    """Has no more held, and gives back those that nobody has taken."""
