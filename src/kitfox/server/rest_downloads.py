"""REST's downloads: the pieces of a file, sent as they are made."""

import time
from contextlib import aclosing, suppress
from typing import Any

from kitfox.errors import Cancelled, Code
from kitfox.server.answers import send_failure
from kitfox.server.asgi import Receive, Scope, Send, header_dict
from kitfox.server.file_answers import disposition
from kitfox.server.large_answers import Outflow
from kitfox.server.rest_endpoint import RestEndpoint, log
from kitfox.server.rest_streams import SingleRequest
from kitfox.services.methods import Context, StreamHandler

__all__ = ["RestDownloadMethod"]

_ZIP = b"application/zip"


class RestDownloadMethod(RestEndpoint[StreamHandler]):
    """A method whose responses are the pieces of a zip file (`ArchivePart`) as a REST endpoint.

    A failure before the first piece has a status of its own. After it, the connection is given up:
    that is how a client of HTTP is told that a file is not complete.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = time.perf_counter()
        headers = header_dict(scope)
        context = self._context(scope, headers)
        answer = _File(send, context, Outflow(self._calls.large_answers, receive))
        try:
            self._set_deadline(context, headers)
            with self._calls.open(context) as call:
                fields = await self._read(scope, headers, receive, call)
                await self._send_pieces(SingleRequest(fields), context, answer)
        except Exception as err:
            failure = self._failure(err, context, started)
            if answer.has_started:
                log.warning("%s: the download was broken off: %s", self._method.name, failure)
                raise
            with suppress(Exception):  # nobody may be there to read it
                await send_failure(send, failure, context.request_id)
            return
        finally:
            answer.close()
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        with suppress(Exception):
            await answer.end()

    async def _send_pieces(
        self, requests: SingleRequest, context: Context, answer: "_File"
    ) -> None:
        batches = self._handler(requests, context, decode=requests.decode, encode=answer.encode)
        async with aclosing(batches):
            async for batch in batches:
                await answer.send(b"".join(batch))


class _File:
    """The answer to one call, as far as it has been sent."""

    def __init__(self, send: Send, context: Context, outflow: Outflow) -> None:
        self._send = send
        self._context = context
        self._outflow = outflow
        self._name = ""
        self.has_started = False

    def encode(self, part: Any) -> bytes:
        """The bytes of a piece; the first one brings the file's name."""
        self._name = self._name or part.filename or ""
        data: bytes = part.data
        return data

    async def send(self, piece: bytes) -> None:
        """Sends a piece."""
        await self._outflow.send(piece, self._write)

    def close(self) -> None:
        """Nothing more will be sent."""
        self._outflow.close()

    async def _write(self, piece: bytes) -> None:
        try:
            if not self.has_started:
                self.has_started = True
                await self._send(
                    {"type": "http.response.start", "status": 200, "headers": self._headers()}
                )
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except Exception as err:
            # Whatever class it is: each ASGI server has its own for a client that is gone.
            raise Cancelled("the client went away") from err

    async def end(self) -> None:
        """Ends the answer."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", _ZIP),
            (b"content-disposition", disposition(self._name)),
            (b"cache-control", b"no-store"),
            (b"x-request-id", self._context.request_id.encode()),
        ]
