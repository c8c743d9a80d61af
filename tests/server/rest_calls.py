"""REST endpoints called in process: what a client sends goes in, what it would get comes out."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kitfox.config import Server
from kitfox.data import DataObjectBase
from kitfox.metrics import CallMetrics, new_registry
from kitfox.server.asgi import Message, Receive, Scope, Send
from kitfox.server.calls import Calls
from kitfox.server.rest import rest_endpoint
from kitfox.services.methods import BodyStyle, Method, Purpose, Route

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]
JSON = "application/json"
LINES = "application/x-ndjson"


@dataclass
class Answer:
    """What a client got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events: their names and data."""
        found = []
        for block in self.body.decode().split("\r\n\r\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\r\n") if line.strip(":"))
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found


class Client:
    """One request; its body comes in the given pieces, and then the client stays or goes.

    An event among the pieces is waited for before the next one is sent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pieces: Iterable[bytes | asyncio.Event] = (b"",),
        *,
        headers: dict[str, str] | None = None,
        verb: str = "POST",
        path: str = "/route",
        query: str = "",
        leaves: bool = False,
    ) -> None:
        self.answer = Answer()
        self.gone = asyncio.Event()
        self._endpoint = endpoint
        self._pieces = list(pieces)
        self._leaves = leaves
        self.scope: Scope = {
            "type": "http",
            "method": verb,
            "path": path,
            "query_string": query.encode(),
            "headers": [
                (key.lower().encode(), value.encode("latin-1"))
                for key, value in (headers or {}).items()
            ],
        }

    async def run(self) -> Answer:
        await self._endpoint(self.scope, self.receive, self.send)
        return self.answer

    async def receive(self) -> Message:
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, asyncio.Event):
                await piece.wait()
                continue
            more = bool(self._pieces) or self._leaves
            return {"type": "http.request", "body": piece, "more_body": more}
        if not self._leaves:
            await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone.is_set():
            raise OSError("the client is gone")
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            for key, value in message["headers"]:
                assert key == key.lower()
                assert key.decode() not in self.answer.headers, key
                self.answer.headers[key.decode()] = value.decode("latin-1")
        else:
            assert self.answer.status, "a body before the headers"
            assert not self.answer.ended
            if message["body"]:
                self.answer.pieces.append(message["body"])
            self.answer.ended = not message["more_body"]


def call(endpoint: Endpoint, body: Any = b"", **words: Any) -> Answer:
    """The answer to a request; a body that is not bytes is sent as JSON."""
    if not isinstance(body, bytes | list):
        body = json.dumps(body).encode()
    pieces = body if isinstance(body, list) else [body]
    words.setdefault("headers", {"content-type": JSON})

    async def run() -> Answer:
        return await Client(endpoint, pieces, **words).run()

    return asyncio.run(run())


def endpoint_of(
    request: type[DataObjectBase],
    response: type[DataObjectBase],
    handler: Any,
    *,
    inputs: Sequence[str] = (),
    options: Sequence[str] = (),
    annotations: dict[str, Any] | None = None,
    style: BodyStyle = BodyStyle.INFERENCE,
    input_streaming: bool = False,
    output_streaming: bool = False,
    calls: Calls | None = None,
    **settings: Any,
) -> Endpoint:
    """The endpoint of a method that a test describes."""
    kinds = annotations or {}
    server = Server(**settings)
    method = Method(
        service="test.Service",
        name="TestPredict",
        request=request,
        response=response,
        purpose=Purpose.INFERENCE,
        input_streaming=input_streaming,
        output_streaming=output_streaming,
        route=Route(
            verb="POST",
            path="/route",
            style=style,
            inputs={name: kinds[name] for name in inputs},
            options={name: kinds[name] for name in options},
        ),
    )
    return rest_endpoint(
        method,
        handler,
        settings=server,
        calls=calls if calls is not None else Calls(server),
        metrics=CallMetrics(new_registry(), is_known=bool),
    )


async def lines_of(
    requests: AsyncIterator[bytes], decode: Callable[[bytes], dict[str, Any]]
) -> AsyncIterator[dict[str, Any]]:
    """What a handler reads of a stream of requests."""
    async for message in requests:
        yield decode(message)
