"""What a server is to do, whichever engine does it: where it listens, its limits, its TLS."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Listener", "Options", "Tls", "distinct", "is_pem"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """One address that answers gRPC, gRPC-Web and REST."""

    name: str
    """What the log calls it: `grpc`, `http`."""
    address: str = "0.0.0.0"  # noqa: S104 - a server's usual default; the configuration decides
    """An IP address, or the path of a Unix socket (it begins with `/`)."""
    port: int = 0
    """A TCP port; 0 takes a free one. Means nothing for a Unix socket."""
    setting: str = ""
    """The name of the setting that holds the port, for messages."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith("/")

    def __str__(self) -> str:
        if self.is_unix:
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Encrypts all listeners. Each value is the path of a PEM file or such a file's text."""

    key: str
    """The server's private key."""
    certificate: str
    """The server's certificate chain."""
    client_ca: str | None = None
    """The authorities that must have signed a client's certificate, if any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """All that an engine is told."""

    listeners: tuple[Listener, ...]
    """Where to listen."""
    app: str = "kitfox.server.envoy_app:app"
    """The ASGI application, `module:attribute`."""
    quick_calls: bool = False
    """Whether the application takes what Envoy's filter holds, where that filter was compiled."""
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    """The event loop that the application runs on; asyncio's own where uvloop is not installed."""
    tls: Tls | None = None
    """Encryption of all listeners; None is plain text."""
    threads: int = 2
    """Envoy's worker threads. Python runs in one thread of its own beside them."""
    max_header_bytes: int = 64 * 1024
    """The most that the headers of a request may take together; Envoy counts in KiB."""
    max_headers: int = 200
    """The most headers that a request may have."""
    max_streams: int = 1024
    """The most requests that one HTTP/2 connection may have open at a time."""
    max_connections: int = 20_000
    """The most connections; beyond it new ones are closed at once."""
    max_engine_bytes: int = 4 << 30
    """The most bytes that the engine holds for its clients; beyond it new requests are refused."""
    header_seconds: float = 30.0
    """How long a client may take to send the headers of a request; 0 is for ever."""
    stream_seconds: float = 3600.0
    """How long a request may go without a byte in either direction; 0 is for ever."""
    flush_seconds: float = 120.0
    """How long a client of HTTP/2 may need for what is left of an answer that is complete; 0 is any
    time."""
    idle_seconds: float = 3600.0
    """How long a connection without requests is kept; 0 is for ever."""
    ping_seconds: float = 60.0
    """How often a client that keeps a connection is asked whether it is still there."""
    ping_timeout_seconds: float = 20.0
    """How long it may take to answer that."""
    buffer_bytes: int = 1 << 20
    """Of one request or answer, how much is held before the sender is made to wait."""
    live_path: str = ""
    """A path that Envoy answers by itself (`/livez`); empty leaves all paths to the application.

    The answer says that the process is there, not that Python in it still runs.
    """


def distinct(listeners: tuple[Listener, ...]) -> list[Listener]:
    """The listeners without those that repeat an address: one port may serve all protocols."""
    found: dict[tuple[str, int], Listener] = {}
    for index, item in enumerate(listeners):
        fixed = item.is_unix or item.port
        found.setdefault((item.address, item.port if fixed else -index), item)
    return list(found.values())


def is_pem(value: str) -> bool:
    """Whether a TLS setting holds a file's text and not its path."""
    return "-----BEGIN" in value
