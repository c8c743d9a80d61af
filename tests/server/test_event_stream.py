"""REST with streams: events and lines out, lines in."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox import DataObjectBase, dataobject
from kitfox.config import Server
from kitfox.errors import InvalidArgument, NotFound
from kitfox.metrics import CallMetrics, new_registry
from kitfox.server.asgi import Message
from kitfox.server.calls import Calls
from kitfox.server.event_stream import EventStream, stream_format
from kitfox.server.large_answers import LargeAnswers, Outflow
from kitfox.server.rest import RestStreamMethod
from kitfox.services.methods import BodyStyle, Context, Method, Purpose, Route
from tests.server.rest_calls import JSON, LINES, Answer, Client, call

PACKAGE = "test.streams"
EVENTS = "text/event-stream"


@dataobject(PACKAGE)
class Ask(DataObjectBase):
    words: str
    counts: int
    sep: str


@dataobject(PACKAGE)
class Word(DataObjectBase):
    text: str
    number: int


class Handler:
    """Answers each request with its text, in the batches that a test wants."""

    def __init__(self) -> None:
        self.closed = False
        self.seen: list[dict[str, Any]] = []
        self.context = Context()

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Any, encode: Any
    ) -> Any:
        self.context = context
        try:
            async for message in requests:
                fields = decode(message)
                self.seen.append(fields)
                for batch in self.batches(fields):
                    yield [encode(Word(text=text, number=len(self.seen))) for text in batch]
        finally:
            self.closed = True

    def batches(self, fields: dict[str, Any]) -> Any:
        for text in fields.get("words", "").split("|"):
            match text:
                case "late":
                    raise InvalidArgument("too late")
                case "broken":
                    raise RuntimeError("secret")
                case "missing":
                    raise NotFound("no such thing")
            yield text.split(",")


class Joined(Handler):
    """Answers all requests with one result."""

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Any, encode: Any
    ) -> Any:
        self.context = context
        async for message in requests:
            self.seen.append(decode(message))
        text = "+".join(str(fields["words"]) for fields in self.seen)
        yield [encode(Word(text=text, number=len(self.seen)))]


def make(
    handler: Any,
    *,
    takes_stream: bool = False,
    gives_stream: bool = True,
    inputs: tuple[str, ...] = ("words",),
    calls: Calls | None = None,
    ping_seconds: float = 15.0,
) -> RestStreamMethod:
    kinds = {"words": str, "counts": int, "sep": str}
    style = BodyStyle.STREAM if takes_stream else BodyStyle.INFERENCE
    method = Method(
        service="test.Service",
        name="TestPredict",
        request=Ask,
        response=Word,
        purpose=Purpose.INFERENCE,
        input_streaming=takes_stream,
        output_streaming=gives_stream,
        route=Route(
            verb="POST",
            path="/route",
            style=style,
            inputs={name: kinds[name] for name in inputs},
            options={"sep": str},
        ),
    )
    settings = Server()
    return RestStreamMethod(
        method,
        handler,
        settings=settings,
        calls=calls if calls is not None else Calls(settings),
        metrics=CallMetrics(new_registry(), is_known=bool),
        ping_seconds=ping_seconds,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Waits in the event loop."""
    while not condition():  # noqa: ASYNC110 -- of what has no event
        await asyncio.sleep(0.005)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


# one request, a stream of results


def test_results_are_events_and_those_ready_together_leave_together() -> None:
    handler = Handler()
    answer = call(make(handler), {"inputs": "a,b|c", "model_id": "m"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == handler.context.request_id
    event = 'event: message\r\ndata: {"text": "%s", "number": 1}\r\n\r\n'
    assert answer.pieces == [(event % "a" + event % "b").encode(), (event % "c").encode()]
    assert answer.ended
    assert handler.closed


def test_a_stream_may_be_empty() -> None:
    async def nothing(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        for batch in list[list[bytes]]():
            yield batch

    answer = call(make(nothing), {"inputs": "a", "model_id": "m"})
    assert (answer.status, answer.body, answer.ended) == (200, b"", True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"inputs": "missing", "model_id": "m"}, 404),
        ({"inputs": "late", "model_id": "m"}, 400),
        ({"inputs": "broken", "model_id": "m"}, 500),
        ({"inputs": "a"}, 400),
        ({"inputs": 5, "model_id": "m"}, 422),
    ],
)
def test_a_failure_before_the_first_event_has_a_status(body: Any, status: int) -> None:
    answer = call(make(Handler()), body)
    assert (answer.status, answer.json["code"]) == (status, status)
    assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [("late", 400, "too late"), ("missing", 404, "no such thing"), ("broken", 500, "log")],
)
def test_a_failure_after_the_first_event_is_the_last(text: str, code: int, details: str) -> None:
    answer = call(make(Handler()), {"inputs": f"a|{text}|b", "model_id": "m"})
    assert answer.status == 200
    assert [name for name, _ in answer.events] == ["message", "error"]
    error = answer.events[1][1]
    assert (error["code"], error["id"]) == (code, answer.headers["x-request-id"])
    assert details in error["details"]
    assert answer.ended


def test_lines_are_offered_as_well() -> None:
    headers = {"content-type": JSON, "accept": LINES}
    answer = call(make(Handler()), {"inputs": "a,b|late", "model_id": "m"}, headers=headers)
    assert answer.headers["content-type"] == LINES
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert found[:2] == [{"text": "a", "number": 1}, {"text": "b", "number": 1}]
    assert found[2]["error"]["details"] == "too late"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", EVENTS),
        ("text/*", EVENTS),
        (EVENTS, EVENTS),
        ("application/*", LINES),
        ("application/jsonl", LINES),
        (f"{EVENTS};q=0.5, {LINES}", LINES),
        ("application/json", ""),
        ("image/png", ""),
    ],
)
def test_what_the_client_accepts_decides(accept: str, kind: str) -> None:
    headers = {"content-type": JSON, "accept": accept}
    answer = call(make(Handler()), {"inputs": "a", "model_id": "m"}, headers=headers)
    assert answer.status == (200 if kind else 406)
    assert answer.headers["content-type"].startswith(kind or JSON)


@given(st.text())
def test_an_event_is_one_line_to_every_reader(text: str) -> None:
    async def echo(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        yield [encode(Word(text=text, number=0))]

    answer = call(make(echo), {"model_id": "m"})
    assert len(answer.body.decode().splitlines()) == 3
    assert answer.events == [("message", {"text": text, "number": 0})]


def test_silences_are_filled() -> None:
    async def slow(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        yield [encode(Word(text="a", number=0))]
        await until(lambda: len(clients[0].answer.pieces) >= 4)
        yield [encode(Word(text="b", number=0))]

    async def run() -> Answer:
        endpoint = make(slow, ping_seconds=0.01)
        clients.append(Client(endpoint, [b'{"model_id": "m"}'], headers={"content-type": JSON}))
        return await clients[0].run()

    clients: list[Client] = []
    answer = asyncio.run(run())
    assert answer.pieces[1:4] == [b": ping\r\n\r\n"] * 3
    assert [data["text"] for _, data in answer.events] == ["a", "b"]


def test_a_long_silence_before_the_first_event_begins_the_answer() -> None:
    async def slow(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        await until(lambda: bool(clients[0].answer.pieces))
        raise NotFound("no such thing")
        yield []

    async def run() -> Answer:
        endpoint = make(slow, ping_seconds=0.01)
        clients.append(Client(endpoint, [b'{"model_id": "m"}'], headers={"content-type": JSON}))
        return await clients[0].run()

    clients: list[Client] = []
    answer = asyncio.run(run())
    assert answer.status == 200
    assert answer.events[-1][0] == "error"


@pytest.mark.parametrize("how", ["receive", "send", "ping"])
def test_a_client_that_goes_away_ends_the_generator(how: str) -> None:
    """It is noticed by what `receive` tells, by the next results, or by the next ping."""
    closed: list[str] = []

    async def endless(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        try:
            yield [encode(Word(text="a", number=0))]
            clients[0].gone.set()
            if how == "send":
                yield [encode(Word(text="b", number=0))]
            await asyncio.sleep(60)
        finally:
            closed.append(str(context.reason))

    async def run() -> None:
        calls = Calls(Server())
        client = Client(
            make(endless, calls=calls, ping_seconds=0.01 if how == "ping" else 15),
            [b'{"model_id": "m"}'],
            headers={"content-type": JSON},
        )
        clients.append(client)
        if how != "receive":
            client.receive = silent  # type: ignore[method-assign] # tells nothing of the client
        await asyncio.wait_for(client.run(), 30)
        assert len(calls) == 0

    async def silent() -> Any:
        if not asked:
            asked.append(1)
            return {"type": "http.request", "body": b'{"model_id": "m"}', "more_body": False}
        return await asyncio.Event().wait()

    asked: list[int] = []
    clients: list[Client] = []
    asyncio.run(run())
    assert len(clients[0].answer.pieces) == 1
    assert closed == ["the client went away" if how != "send" else "None"]


def test_a_deadline_in_the_middle_is_the_last_event() -> None:
    async def slow(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        yield [encode(Word(text="a", number=0))]
        await asyncio.sleep(60)

    headers = {"content-type": JSON, "request-timeout": "0.05"}
    answer = call(make(slow), {"model_id": "m"}, headers=headers)
    assert [name for name, _ in answer.events] == ["message", "error"]
    assert answer.events[1][1]["code"] == 504


# a stream of requests

STREAM = {"content-type": LINES}


@pytest.mark.parametrize(
    "kind", [LINES, "application/jsonl", "Application/X-NDJSON; charset=utf-8"]
)
def test_lines_are_requests_and_their_result_is_json(kind: str) -> None:
    handler = Joined()
    body = lines(
        {"inputs": "a", "parameters": {"sep": ";"}, "model_id": "m"},
        {"inputs": "b"},
        {"inputs": "c"},
    )
    endpoint = make(handler, takes_stream=True, gives_stream=False)
    answer = call(endpoint, body, headers={"content-type": kind})
    assert (answer.status, answer.json) == (200, {"text": "a+b+c", "number": 3})
    assert answer.headers["content-type"] == JSON
    assert handler.seen[0] == {"words": "a", "sep": ";"}
    assert handler.context.model_id == "m"


@given(
    texts=st.lists(st.text(max_size=5), min_size=1, max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\n\n", " \n\r\n"]),
    size=st.integers(1, 30),
    last=st.booleans(),
)
def test_lines_are_found_wherever_a_body_is_cut(
    texts: list[str], end: str, size: int, last: bool
) -> None:
    handler = Joined()
    written = [json.dumps({"inputs": text, "model_id": "m"}, ensure_ascii=False) for text in texts]
    body = (end.join(written) + (end if last else "")).encode()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    answer = call(make(handler, takes_stream=True, gives_stream=False), pieces, headers=STREAM)
    assert answer.status == 200
    assert [fields["words"] for fields in handler.seen] == texts


@pytest.mark.parametrize(
    ("headers", "query", "first"),
    [
        ({"mm-model-id": "m"}, "", {"inputs": "a"}),
        ({}, "model_id=m&x=1", {"inputs": "a"}),
        ({}, "", {"inputs": "a", "model_id": "m"}),
        ({"mm-model-id": "m"}, "model_id=other", {"inputs": "a", "model_id": "m"}),
    ],
)
def test_where_the_model_is_named(headers: dict[str, str], query: str, first: Any) -> None:
    handler = Handler()
    answer = call(
        make(handler, takes_stream=True),
        lines(first, {"inputs": "b"}),
        headers={**STREAM, **headers},
        query=query,
    )
    assert [data["text"] for _, data in answer.events] == ["a", "b"]
    assert handler.context.model_id == "m"


def test_results_may_be_lines_too() -> None:
    headers = {**STREAM, "accept": LINES, "mm-model-id": "m"}
    body = lines({"inputs": "a"}, {"inputs": "b"})
    answer = call(make(Handler(), takes_stream=True), body, headers=headers)
    assert answer.body == b'{"text":"a","number":1}\n{"text":"b","number":2}\n'


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "the stream of requests was empty"),
        (b"\n \r\n", 400, "the stream of requests was empty"),
        (lines({"inputs": "a"}), 400, "line 1: Please provide model_id in payload"),
        (b"\n\n" + lines({"inputs": 5, "model_id": "m"}), 422, "line 3.inputs: expected text"),
        (b"{nope\n", 422, "line 1: the text is no JSON"),
        (lines({"inputs": "a", "model_id": ""}), 400, "line 1: Missing required model ID"),
        (lines({"inputs": "a", "model_id": "m", "x": 1}), 422, "line 1.x: Extra inputs"),
        (lines({"model_id": "m"}), 422, "line 1.inputs.words: Field required"),
    ],
)
def test_a_bad_first_line_is_told_by_its_number(body: bytes, status: int, words: str) -> None:
    answer = call(make(Handler(), takes_stream=True), body, headers=STREAM)
    assert answer.status == status
    assert words in answer.json["details"]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"{nope", 422, "line 4: the text is no JSON"),
        (b'{"inputs": 5}', 422, "line 4.inputs: expected text"),
        (b'{"inputs": "x", "model_id": "n"}', 400, "line 4: model_id 'n': the stream is for model"),
        (b"{}", 422, "line 4.inputs.words: Field required"),
        (b"\xff", 422, "line 4"),
    ],
)
def test_a_bad_line_later_is_told_by_its_number(line: bytes, code: int, words: str) -> None:
    body = lines({"inputs": "a", "model_id": "m"}) + b"\n\n" + line + b"\n" + lines({"inputs": "c"})
    answer = call(make(Handler(), takes_stream=True), body, headers=STREAM)
    assert [name for name, _ in answer.events] == ["message", "error"]
    assert answer.events[1][1]["code"] == code
    assert words in answer.events[1][1]["details"]


def test_several_streams_are_in_the_same_lines() -> None:
    handler = Handler()
    endpoint = make(handler, takes_stream=True, inputs=("words", "counts"))
    body = lines({"inputs": {"words": "a", "counts": 1}, "model_id": "m"})
    assert call(endpoint, body, headers=STREAM).status == 200
    assert handler.seen == [{"words": "a", "counts": 1}]
    answer = call(endpoint, lines({"inputs": {"words": "a"}, "model_id": "m"}), headers=STREAM)
    assert answer.json["additional_info"][0]["loc"] == ["line 1", "inputs", "counts"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [(JSON, 404), ("multipart/form-data; boundary=x", 404), ("text/plain", 415), ("", 415)],
)
def test_other_bodies_are_no_streams(kind: str, status: int) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = call(make(Handler(), takes_stream=True), b"{}", headers=headers)
    assert answer.status == status
    assert status == 415 or answer.json == {"detail": "Not Found"}
    assert status == 404 or answer.headers["accept"] == LINES


def test_a_stream_of_requests_is_not_compressed() -> None:
    headers = {**STREAM, "content-encoding": "gzip"}
    answer = call(make(Handler(), takes_stream=True), b"", headers=headers)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")


def test_results_come_while_requests_still_do() -> None:
    async def run() -> Answer:
        pieces: list[Any] = [
            lines({"inputs": "a", "model_id": "m"}),
            second,
            lines({"inputs": "b"}),
        ]
        clients.append(Client(make(Waiting(), takes_stream=True), pieces, headers=STREAM))
        return await asyncio.wait_for(clients[0].run(), 30)

    class Waiting(Handler):
        def batches(self, fields: dict[str, Any]) -> Any:
            yield [fields["words"]]
            # Only now, with the first result sent, the client sends its second request.
            assert clients[0].answer.pieces
            second.set()

    second = asyncio.Event()
    clients: list[Client] = []
    assert [data["text"] for _, data in asyncio.run(run()).events] == ["a", "b"]


def test_a_client_that_leaves_among_its_requests_ends_the_call() -> None:
    handler = Handler()
    calls = Calls(Server())
    endpoint = make(handler, takes_stream=True, calls=calls)
    body = lines({"inputs": "a", "model_id": "m"}) + b'{"inputs'
    answer = call(endpoint, body, headers=STREAM, leaves=True)
    assert answer.events[0] == ("message", {"text": "a", "number": 1})
    assert "the client went away" in str(handler.context.reason)
    assert handler.closed
    assert len(calls) == 0


def test_a_call_that_ends_while_its_head_is_sent_has_one_head() -> None:
    """Its deadline passes just then; found by fuzzing."""
    context = Context()
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        await asyncio.sleep(0.01)

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def run() -> None:
        outflow = Outflow(LargeAnswers(Server()), gone)
        stream = EventStream(send, context, outflow=outflow, ping_seconds=60)
        stream.open(stream_format(b""))
        sending = asyncio.create_task(stream.send(b"data"))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        await stream.fail(NotFound("late"))
        stream.close()

    asyncio.run(run())
    assert sent == ["http.response.start", "http.response.body"]
