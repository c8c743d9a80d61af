"""HTTP/1 for the hypercorn engine: hypercorn's own, with our exchanges and our refusals."""

from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
from hypercorn.events import Closed
from hypercorn.protocol.events import EndBody, Request, Response, Trailers
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.typing import H11SendableEvent

from kitfox.server._exchange import Aborted, Exchange, LastResponse, error_body, new_identity

if TYPE_CHECKING:
    from kitfox.server._connection import Connection

__all__ = ["Http1"]

_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}


class Http1(H11Protocol):
    """One HTTP/1 connection, or the beginning of one that turns out to speak HTTP/2.

    Args:
        peer: Its socket and all that belongs to it.
    """

    stream: Exchange | None  # there are no web sockets here

    def __init__(self, peer: "Connection") -> None:
        super().__init__(*peer.arguments)
        self._peer = peer

    @property
    def exchanges(self) -> list[Exchange]:
        """The request that is not answered yet, if there is one."""
        return [] if self.stream is None else [self.stream]

    @property
    def has_unread_request(self) -> bool:
        """Whether the client is still sending."""
        return self.connection.their_state is h11.SEND_BODY

    def leave(self) -> None:
        """Nothing can be said before the next answer; that one says it."""

    async def refuse(self, status: int, text: str) -> None:
        """Answers in place of the application, before there is a request, and ends."""
        identity = new_identity()
        body = error_body(status, text, identity)
        headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", identity),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send_h11_event(h11.Response(headers=headers, status_code=status))
            await self._send_h11_event(h11.Data(data=body))
            await self._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Sends a part of an answer."""
        if isinstance(event, Response):
            # A refusal may come before the request has been read, which nobody does any more then.
            refused = event.status_code >= 400 and self.has_unread_request
            if refused or self.context.terminated.is_set():
                headers = [*event.headers, (b"connection", b"close")]
                event = type(event)(event.stream_id, headers, event.status_code)
            await super().stream_send(event)
            if isinstance(event, LastResponse):
                await super().stream_send(EndBody(stream_id=event.stream_id))
        elif isinstance(event, Trailers):
            await super().stream_send(EndBody(stream_id=event.stream_id))
        elif isinstance(event, Aborted):
            self._peer.abort()
        else:
            await super().stream_send(event)

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        if isinstance(event, h11.Response) and not event.reason:
            # There are clients that take a status line without words for a broken one.
            reason = _REASONS.get(event.status_code, b"")
            event = h11.Response(
                headers=event.headers, status_code=event.status_code, reason=reason
            )
        await super()._send_h11_event(event)

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = self._peer.exchange(STREAM_ID, self.stream_send, lambda *_: None)
        self.keep_alive_requests += 1
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        # The other way to HTTP/2, by an `upgrade` header, was dropped from its standard.
        if event.method == b"PRI" and event.target == b"*" and event.http_version == b"2.0":
            rest = self.connection.trailing_data[0]
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + rest)

    async def _send_error_response(self, status_code: int) -> None:
        await self.refuse(status_code, self._peer.complaint(status_code))
