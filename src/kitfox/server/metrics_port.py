"""The port that Prometheus reads: HTTP by the few words that it takes, in a thread of its own.

It answers also while the event loop of the application is held up. Whoever connects has some
seconds to ask and to take the answer, and there is a number of connections past which others are
closed at once.
"""

import asyncio
import socket
import threading
from concurrent.futures import Future

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from kitfox import logs

__all__ = ["MetricsServer"]

log = logs.channel("METRICS")

_CONNECTIONS = 64
_SECONDS = 10.0
_LONGEST_HEAD = 16 * 1024


class MetricsServer:
    """Offers a registry until it is shut down.

    Args:
        registry: What is read.
        address: The network address to listen on.
        port: The port; 0 is a free one.
        connections: The most connections at a time.
        seconds: How long each may last.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        address: str,
        port: int,
        connections: int = _CONNECTIONS,
        seconds: float = _SECONDS,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._seconds = seconds
        self._open = 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self.port: int = self._socket.getsockname()[1]
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="metrics", daemon=True
        )
        self._thread.start()

    def shutdown(self) -> None:
        """Ends, and lets go of the port."""
        loop, ended = self._ready.result()
        loop.call_soon_threadsafe(ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=_LONGEST_HEAD)
        self._ready.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= self._connections:
            writer.transport.abort()
            return
        self._open += 1
        try:
            async with asyncio.timeout(self._seconds):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.decode("latin-1")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open -= 1

    def _answer(self, head: str) -> bytes:
        """The whole answer to a request with this head."""
        first, *lines = head.split("\r\n")
        verb = first.partition(" ")[0]
        if verb not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"", allow="GET, HEAD")
        headers = dict(line.lower().split(":", 1) for line in lines if ":" in line)
        encode, kind = choose_encoder(headers.get("accept", "").strip())
        try:
            body = encode(self._registry)
        except Exception:
            log.exception("The metrics could not be read", extra={"log_code": "<KFX40050E>"})
            return _response("500 Internal Server Error", "text/plain", b"")
        return _response("200 OK", kind, body, is_head=verb == "HEAD")


def _response(
    status: str, kind: str, body: bytes, *, allow: str = "", is_head: bool = False
) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([f"Allow: {allow}"] if allow else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else body)
