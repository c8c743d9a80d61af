"""REST's uploads: a file as the body, handed on as it comes."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import parse_qs

from kitfox.errors import Cancelled, Code
from kitfox.server.answers import send_body, send_failure
from kitfox.server.asgi import HeaderDict, Receive, Scope, Send, header_dict
from kitfox.server.calls import Call
from kitfox.server.media_types import JSON, base_type, is_gzip, unsupported
from kitfox.server.rest_endpoint import RestEndpoint
from kitfox.services.methods import StreamHandler

__all__ = ["RestUploadMethod"]

_KINDS = (b"application/zip", b"application/x-zip-compressed", b"application/octet-stream")


class RestUploadMethod(RestEndpoint[StreamHandler]):
    """A method whose requests are the pieces of a zip file (`ModelPart`) as a REST endpoint.

    The body is the file; the other fields of the first piece are query parameters. However large
    the file is, no more of it is in memory than what has come and has not been taken.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        started = time.perf_counter()
        headers = header_dict(scope)
        context = self._context(scope, headers)
        try:
            self._set_deadline(context, headers)
            _check_kind(headers)
            with self._calls.open(context) as call:
                pieces = _Pieces(scope, receive, call)
                results = self._handler(
                    pieces, context, decode=pieces.decode, encode=self._serialize
                )
                async with aclosing(results):
                    (result,) = [data async for batch in results for data in batch]
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            failure = self._failure(err, context, started)
            with suppress(Exception):  # nobody may be there to read it
                await send_failure(send, failure, context.request_id)
            return
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        answered = [(b"content-type", JSON), (b"x-request-id", context.request_id.encode())]
        with suppress(Exception):
            await send_body(send, 200, answered, result)


class _Pieces(AsyncIterator[bytes]):
    """The pieces of a body."""

    def __init__(self, scope: Scope, receive: Receive, call: Call) -> None:
        query: bytes = scope["query_string"]
        self._fields = {
            name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()
        }
        self._receive = receive
        self._call = call
        self._ended = False

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while it sent its file")
        if not message.get("more_body"):
            self._ended = True
            self._call.receive = self._receive
        piece: bytes = message.get("body", b"")
        return piece

    def decode(self, piece: bytes) -> dict[str, Any]:
        """The fields of a piece."""
        return {**self._fields, "data": piece}


def _check_kind(headers: HeaderDict) -> None:
    """Refuses what is no file."""
    kind = headers.get(b"content-type", b"")
    if base_type(kind) not in _KINDS:
        raise unsupported(kind, _KINDS[0])
    if b"content-encoding" in headers:
        is_gzip(headers[b"content-encoding"], offered=False)
