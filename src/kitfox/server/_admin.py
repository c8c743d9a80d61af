"""Envoy's administration interface, as far as the supervisor needs it.

A few lines over a socket in place of `http.client`, which would make the supervisor half as
large again.
"""

import json
import socket
from typing import Any

__all__ = ["Admin", "AdminError"]


_STREAM_BYTES = 16 << 10
"""What an HTTP/2 stream takes by itself, about."""


class AdminError(OSError):
    """The interface did not answer, or not as expected."""


class Admin:
    """Asks one Envoy process.

    Args:
        address: IPv4's `host:port`, as Envoy writes it to its `--admin-address-path`.
        timeout: Seconds that one call may take. Envoy's main thread answers; it is busy while
            the configuration is loaded and free at all other times.
    """

    def __init__(self, address: str, *, timeout: float = 1.0) -> None:
        host, _, port = address.strip().rpartition(":")
        # As bytes: for text Python loads its tables of international names, which are 0.4 MB.
        self._address = (host.encode(), int(port))
        self._timeout = timeout

    def is_live(self) -> bool:
        """Whether the configuration is loaded and the workers accept connections."""
        return self._call("GET", "/ready").strip() == b"LIVE"

    def addresses(self) -> list[str | int]:
        """Where the listener listens: a port or a socket's path for each of its addresses."""
        found: list[str | int] = []
        for status in self._ask("/listeners?format=json").get("listener_statuses", []):
            additional = status.get("additional_local_addresses", [])
            for address in [status["local_address"], *additional]:
                if "pipe" in address:
                    found.append(address["pipe"]["path"])
                else:
                    found.append(address["socket_address"]["port_value"])
        return found

    def unfinished(self, prefix: str) -> int:
        """How many requests are in flight, or 1 if there are only answers on their way out.

        Args:
            prefix: The name under which the connection manager counts.
        """
        http = f"http.{prefix}.downstream"
        active, buffered = self._gauges(f"{http}_rq_active", f"{http}_cx_tx_bytes_buffered")
        # A request counts as done once its answer is handed over for sending, to a slow client
        # long before it is sent.
        return active or min(buffered, 1)

    def held(self, prefix: str) -> int:
        """How many bytes Envoy holds for answers that wait in connections and HTTP/2 streams.

        Not for requests: the gauge of those keeps the size of the last read until the next one.

        Args:
            prefix: The name under which the connection manager counts.
        """
        connections, unsent, streams = self._gauges(
            f"http.{prefix}.downstream_cx_tx_bytes_buffered",
            "http2.pending_send_bytes",
            "http2.streams_active",
        )
        return connections + unsent + streams * _STREAM_BYTES

    def set(self, key: str, value: int) -> None:
        """Sets a value of the runtime layer that may be changed."""
        self._call("POST", f"/runtime_modify?{key}={value}")

    def drain(self) -> None:
        """Closes the listening sockets and asks clients, with each answer, to go elsewhere."""
        # From here on each HTTP/1.1 answer says `connection: close`, each HTTP/2 one brings GOAWAY.
        self._call("POST", "/healthcheck/fail")
        # Without `graceful`: that would go on accepting for --drain-time-s.
        self._call("POST", "/drain_listeners")

    def _gauges(self, *names: str) -> list[int]:
        """The values of some at one moment; 0 for one that nothing has counted in yet."""
        pattern = "|".join(names).replace(".", r"\.")
        stats = self._ask(f"/stats?format=json&filter=^({pattern})$").get("stats", [])
        found = {item["name"]: int(item["value"]) for item in stats if "value" in item}
        return [found.get(name, 0) for name in names]

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            answer = json.loads(self._call("GET", path))
        except ValueError as error:  # it ended in the middle of its words
            raise AdminError(f"Envoy's administration interface: {error}") from error
        if not isinstance(answer, dict):
            raise AdminError(f"Envoy's administration interface answered no object to {path}")
        return answer

    def _call(self, method: str, path: str) -> bytes:
        request = f"{method} {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"
        try:
            with socket.socket() as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._address)
                connection.sendall(request.encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError as error:
            raise AdminError(f"Envoy's administration interface did not answer: {error}") from error
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0] and not path.startswith("/ready"):
            raise AdminError(f"Envoy's administration interface answered {head[:80]!r} to {path}")
        if b"transfer-encoding: chunked" in head.lower():
            return _join_chunks(body)
        return body


def _join_chunks(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
