"""Requests whose path and verb have no endpoint: what can be done for them all the same.

`HEAD` is answered as `GET` without a body, `OPTIONS` with the verbs that there are, a path with a
slash too many by a redirect; the others are told that there is no such path or verb.
"""

from collections.abc import Mapping
from typing import TypeAlias

from kitfox.server.answers import send_body, send_detail
from kitfox.server.asgi import Endpoint, Message, Receive, Scope, Send, request_id_of

__all__ = ["answer_unmatched", "without_body"]

Routes: TypeAlias = Mapping[str, Mapping[str, Endpoint]]


async def answer_unmatched(scope: Scope, receive: Receive, send: Send, routes: Routes) -> None:
    """Answers a request for which `routes` has no endpoint.

    Args:
        scope: ASGI's, of the request.
        receive: ASGI's.
        send: ASGI's.
        routes: Endpoints by path and verb.
    """
    path, verb = scope["path"], scope["method"]
    request_id = request_id_of(scope)
    verbs = routes.get(path)
    if verbs is None:
        bare = path.rstrip("/")
        if bare != path and bare in routes:
            await _redirect(send, bare, scope["query_string"], request_id)
        else:
            await send_detail(send, 404, "Not Found", request_id=request_id)
    elif verb == "OPTIONS":
        await _send_options(send, verbs, request_id)
    elif verb == "HEAD" and "GET" in verbs:
        await verbs["GET"](scope, receive, send)
    else:
        allow = ", ".join(sorted(verbs))
        await send_detail(send, 405, "Method Not Allowed", allow, request_id=request_id)


async def _redirect(send: Send, path: str, query: bytes, request_id: bytes) -> None:
    """Sends to another path of this server, with verb and body as they are."""
    location = path.encode() + (b"?" + query if query else b"")
    headers = [(b"location", location), (b"x-request-id", request_id)]
    await send_body(send, 307, headers, b"")


async def _send_options(send: Send, verbs: Mapping[str, Endpoint], request_id: bytes) -> None:
    offered = {*verbs, "OPTIONS"} | ({"HEAD"} if "GET" in verbs else set())
    headers = [(b"allow", ", ".join(sorted(offered)).encode()), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def without_body(send: Send) -> Send:
    """A `send` that leaves out the body, whose length stays in the headers."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
