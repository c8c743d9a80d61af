"""One request and its answer over hypercorn, as an ASGI application sees them.

hypercorn's own class for this (0.18) hands the body over through a queue of ten messages whose end
nobody reads once the application has answered: the connection then stands still for ever. It
sends trailers only where `te` is exactly `trailers`, takes trailers over HTTP/1.1 for an error, and
cannot end an answer with its headers, which is how gRPC tells a failure.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from hypercorn.protocol.events import (
    Body,
    EndBody,
    Event,
    Request,
    Response,
    StreamClosed,
    Trailers,
)
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import UnexpectedMessageError, suppress_body

from kitfox import logs
from kitfox.errors import Code
from kitfox.server._refusals import excess, holds_too_much, retry_details
from kitfox.server.asgi import Headers, Message, given_request_id, header
from kitfox.server.options import Options

__all__ = [
    *("Aborted", "ClientGone", "Exchange", "Held", "LastResponse", "error_body", "new_identity"),
]

log = logs.channel("HYPERCORN")


class ClientGone(OSError):
    """What `send` raises when nobody is there to receive."""

    def __init__(self) -> None:
        super().__init__("the client went away")


@dataclass(frozen=True)
class LastResponse(Response):
    """The head of an answer that ends with it."""


@dataclass(frozen=True)
class Aborted(Event):
    """The rest of the answer will never come."""


class Held:
    """How many bytes of answers wait for their clients, on all connections together."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Exchange(HTTPStream):
    """One request and its answer.

    Args:
        arguments: As hypercorn's class takes them.
        options: The limits.
        took: Told how many bytes of the body the application has taken.
        held: Counts what clients have not taken yet.
    """

    def __init__(
        self,
        *arguments: Any,
        options: Options,
        took: Callable[["Exchange", int], None],
        held: Held,
    ) -> None:
        super().__init__(*arguments)
        self._app = arguments[0]
        self.began = time.monotonic()
        self.touched = self.began
        """When something last moved, in either direction."""
        self.has_request = False
        """Whether the whole request has come."""
        self.has_answered = False
        """Whether anything was sent."""
        self._options = options
        self._took = took
        self._unsent = held
        self._is_turned_down = False
        self._chunks: list[bytes] = []
        self._held = 0
        self._end_is_told = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._head: Message | None = None
        self._trailers: list[tuple[bytes, bytes]] = []

    async def handle(self, event: Event) -> None:
        """Takes what the client sent."""
        if self.closed:
            return
        self.touched = time.monotonic()
        if isinstance(event, Request):
            self.scope = self._scope(event)  # type: ignore[assignment] # it names more keys than are used
            most = self._options
            if text := excess(
                event.raw_path, event.headers, most.max_header_bytes, most.max_headers
            ):
                self._turn_down(431, text)
            elif self._unsent.size > most.max_engine_bytes and not self._asks_for_life():
                self._turn_down(429, holds_too_much(most), retry_after=1)
            else:
                self.task_group.spawn(self._run)
        elif isinstance(event, Body) and self._is_turned_down:
            self._took(self, len(event.data))
        elif isinstance(event, Body):
            self._chunks.append(bytes(event.data))
            self._held += len(event.data)
            self._news.set()
            # HTTP/2 has windows for this; HTTP/1.1 can only leave the socket unread.
            while self._held > self._options.buffer_bytes and not self.closed:
                self._room.clear()
                await self._room.wait()
        elif isinstance(event, EndBody):
            self.has_request = True
            self._news.set()
        elif isinstance(event, StreamClosed):
            self.closed = True
            self._take()
            self._news.set()

    def _asks_for_life(self) -> bool:
        """Whether it is of those who restart what does not answer."""
        path = self._options.live_path
        return bool(path) and self.scope["path"] == path

    async def receive(self) -> Message:
        """ASGI's: the body as it comes, then, once it is so, that the client is gone."""
        while not self.closed:
            if self._held:
                body = self._take()
                self._end_is_told = self.has_request
                return {"type": "http.request", "body": body, "more_body": not self.has_request}
            if self.has_request and not self._end_is_told:
                self._end_is_told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    async def respond(self, message: Message) -> None:
        """ASGI's `send`.

        Raises:
            ClientGone: There is nobody to send to.
        """
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            # It leaves with what comes next, which may be its end.
            self._head = message
            return
        if self.closed:
            raise ClientGone
        if kind == "http.response.body" and self._head is not None:
            await self._respond_with(self._head, message)
        elif kind == "http.response.trailers" and self._head is not None:
            self._trailers += message.get("headers", [])
            if not message.get("more_trailers"):
                await self._finish(self._head)
        else:
            raise UnexpectedMessageError(self.state, kind)
        self.touched = time.monotonic()

    async def refuse(
        self, status: int, code: Code, text: str, *, retry_after: int | None = None
    ) -> None:
        """Answers in the application's place; what that still sends is lost.

        Args:
            status: HTTP's.
            code: gRPC's.
            text: The reason.
            retry_after: After how many seconds to try again.

        Raises:
            ClientGone: There is nobody to answer.
        """
        if self.has_answered:
            await self.send(Aborted(stream_id=self.stream_id))
            return
        headers: Headers = self.scope["headers"]
        asked, given = header(headers, b"content-type"), given_request_id(headers)
        if asked.startswith(b"application/grpc"):
            told = [
                (b"content-type", asked),
                (b"grpc-status", b"%d" % code),
                (b"grpc-message", quote(text, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").encode()),
                *given,
            ]
            if retry_after is not None:
                details = retry_details(text, retry_after)
                told.append((b"grpc-status-details-bin", details.encode()))
            head, body = {"status": 200, "headers": told}, b""
        else:
            identity = given[0][1] if given else new_identity()
            body = error_body(status, text, identity)
            told = [
                (b"content-type", b"application/json"),
                (b"x-request-id", identity),
                (b"content-length", b"%d" % len(body)),
            ]
            if retry_after is not None:
                told.append((b"retry-after", b"%d" % retry_after))
            head = {"status": status, "headers": told}
        await self._respond_with(head, {"body": body})

    def _turn_down(self, status: int, text: str, *, retry_after: int | None = None) -> None:
        """Refuses without the application; nothing of the body is kept."""
        self._is_turned_down = True

        async def refuse() -> None:
            with contextlib.suppress(ClientGone):
                code = Code.RESOURCE_EXHAUSTED
                await self.refuse(status, code, text, retry_after=retry_after)

        # Beside what the connection reads: the client may have no room for the words.
        self.task_group.spawn(refuse)

    async def _respond_with(self, head: Message, message: Message) -> None:
        """Sends a part of the body, and before the first one the head."""
        body, more = message.get("body", b""), message.get("more_body", False)
        is_last = not more and not head.get("trailers", False)
        status = int(head["status"])
        if not self.has_answered:
            self.has_answered = True
            kind = LastResponse if is_last and not body else Response
            headers = [(bytes(name), bytes(value)) for name, value in head.get("headers", [])]
            await self.send(kind(stream_id=self.stream_id, headers=headers, status_code=status))
            if kind is LastResponse:
                await self._close()
                return
        if body and not suppress_body(self.scope["method"], status):
            self._unsent.size += len(body)
            try:
                await self.send(Body(stream_id=self.stream_id, data=bytes(body)))
            finally:
                self._unsent.size -= len(body)
        if is_last:
            await self._finish(head)

    async def _finish(self, head: Message) -> None:
        if not self.has_answered:
            await self._respond_with(head, {"more_body": True})
        if self._trailers and self.scope["http_version"] == "2":
            await self.send(Trailers(stream_id=self.stream_id, headers=self._trailers))
        else:
            await self.send(EndBody(stream_id=self.stream_id))
        await self._close()

    async def _close(self) -> None:
        self.state = ASGIHTTPState.CLOSED
        await self.send(StreamClosed(stream_id=self.stream_id))

    def _take(self) -> bytes:
        """What has come of the body since the last time."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        self._room.set()
        if body:
            self._took(self, len(body))
        return body

    async def _run(self) -> None:
        """The application's whole life for this request."""
        with contextlib.suppress(ClientGone):
            try:
                await self._app(self.scope, self.receive, self.respond)
            except ClientGone:
                return
            except Exception:
                if not self.closed:
                    where = (self.scope["method"], self.scope["path"])
                    text, code = "%s %s: the application failed", {"log_code": "<KFX40030E>"}
                    log.exception(text, *where, extra=code)
            if not self.closed:
                await self.refuse(500, Code.INTERNAL, "the server failed; its log has the details")

    def _scope(self, request: Request) -> dict[str, Any]:
        path, _, query = request.raw_path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version,
            "method": request.method,
            "scheme": self.scheme,
            "path": unquote(path.decode("ascii", "replace")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": request.headers,
            "client": self.client,
            "server": self.server,
            "state": {},
            "extensions": {"http.response.trailers": {}},
        }


def new_identity() -> bytes:
    """The id of a request that has brought none."""
    return uuid.uuid4().hex.encode()


def error_body(status: int, text: str, identity: bytes) -> bytes:
    """The JSON of a refusal."""
    return msgspec.json.encode({"details": text, "code": status, "id": identity.decode()})
