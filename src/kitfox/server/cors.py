"""Cross-origin requests: which web pages of other origins may call, by `server.cors.*`.

Written from the Fetch standard. It lies around every endpoint, whatever protocol that speaks: a
page that calls over gRPC-Web needs the same permission as one that calls over REST.
"""

from typing import Any

from kitfox.config import Cors
from kitfox.server.asgi import Message, Scope, Send, header

__all__ = ["CrossOrigin"]

_METHODS = b"GET, HEAD, POST, DELETE"
# What scripts may read of an answer beside the few headers that they always may.
_EXPOSED = b", ".join(
    (
        b"grpc-status",
        b"grpc-message",
        b"grpc-status-details-bin",
        b"grpc-encoding",
        b"x-request-id",
        b"content-disposition",
        b"retry-after",
        b"location",
    )
)
_ANY = "*"


class CrossOrigin:
    """The permissions for pages of other origins.

    Args:
        settings: Which origins, and what they may do.
    """

    def __init__(self, settings: Cors) -> None:
        self._all = _ANY in settings.allow_origins
        self._origins = {origin.rstrip("/").lower().encode() for origin in settings.allow_origins}
        self._headers = ", ".join(settings.allow_headers).encode()
        self._credentials = settings.allow_credentials
        self._max_age = b"%d" % int(settings.max_age_seconds)

    @property
    def is_on(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._origins)

    def wrap(self, scope: Scope, send: Send) -> Send:
        """A `send` that adds the permission to the answer, where the request is of an origin."""
        origin = header(scope["headers"], b"origin")
        if not origin:
            return send
        permission = self._permission(origin)
        if permission:
            permission.append((b"access-control-expose-headers", _EXPOSED))

        async def send_with_permission(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _joined(message["headers"], permission)}
            await send(message)

        return send_with_permission

    async def answer_preflight(self, scope: Scope, send: Send) -> bool:
        """Answers a browser's question whether a page may call, if the request is one.

        Returns:
            Whether it was, and has been answered.
        """
        headers = scope["headers"]
        origin = header(headers, b"origin")
        asked = header(headers, b"access-control-request-method")
        if scope["method"] != "OPTIONS" or not origin or not asked:
            return False
        answer = self._permission(origin)
        if answer:
            answer.append((b"access-control-allow-methods", _METHODS))
            wanted = self._headers or header(headers, b"access-control-request-headers")
            if wanted:
                answer.append((b"access-control-allow-headers", wanted))
            answer.append((b"access-control-max-age", self._max_age))
        vary = b"origin, access-control-request-method, access-control-request-headers"
        answer.append((b"vary", vary))
        await send({"type": "http.response.start", "status": 204, "headers": answer})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    def _permission(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        """The headers that allow an origin; none for one that is not allowed."""
        if not self._all and origin.lower() not in self._origins:
            return []
        if self._all and not self._credentials:
            return [(b"access-control-allow-origin", b"*")]
        found = [(b"access-control-allow-origin", origin)]
        if self._credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        return found


def _joined(headers: Any, permission: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers with the permission; caches keep it apart by origin."""
    vary = b", ".join([value for key, value in headers if key == b"vary"] + [b"origin"])
    rest = [item for item in headers if item[0] != b"vary"]
    return [*rest, *permission, (b"vary", vary)]
