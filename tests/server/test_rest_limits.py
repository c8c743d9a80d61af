"""What REST takes of a client, and what it says to one that sends more."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from kitfox import DataObjectBase, dataobject
from kitfox.config import Server
from kitfox.server.calls import Calls
from kitfox.services.methods import BodyStyle, Context
from tests.server.rest_calls import JSON, LINES, Answer, Client, Endpoint, call, endpoint_of

LIMIT = 2048


@dataobject("test.limits")
class Text(DataObjectBase):
    text: str


@dataobject("test.limits")
class Pair(DataObjectBase):
    a: Text
    b: str
    first: str
    second: int


async def echo(fields: dict[str, Any], context: Context) -> Text:
    return Text(text=str(len(fields["text"])))


def make(**settings: Any) -> Endpoint:
    settings = {"max_message_size": LIMIT, **settings}
    return endpoint_of(Text, Text, echo, inputs=["text"], annotations={"text": str}, **settings)


def body_of(size: int) -> bytes:
    """A body of so many bytes."""
    frame = b'{"inputs": "%s", "model_id": "m"}'
    return frame % (b"x" * (size - len(frame) + 2))


@pytest.mark.parametrize("pieces", [1, 7, 500])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 3, 413)])
def test_a_body_at_the_limit_and_one_byte_over(pieces: int, size: int, status: int) -> None:
    body = body_of(size)
    step = -(-size // pieces)
    answer = call(make(), [body[start : start + step] for start in range(0, size, step)])
    assert answer.status == status
    if status == 413:
        assert (
            f"larger than {LIMIT} bytes (setting server.max_message_size)"
            in (answer.json["details"])
        )


@pytest.mark.parametrize(
    ("length", "status"),
    [("2049", 413), ("9" * 30, 413), ("1e99", 400), ("-1024", 400), ("20480x", 400), ("48", 200)],
)
def test_a_body_is_refused_by_its_announced_length(length: str, status: int) -> None:
    headers = {"content-type": JSON, "content-length": length}
    endpoint = make()

    async def run() -> Answer:
        # Of a refused one not a byte is read.
        pieces = [body_of(48)] if status == 200 else []
        client = Client(endpoint, pieces, headers=headers)
        return await asyncio.wait_for(client.run(), 30)

    assert asyncio.run(run()).status == status


def test_a_hundred_thousand_tiny_pieces_make_one_body() -> None:
    body = body_of(2000)
    pieces = [body[index : index + 1] for index in range(len(body))]
    empty = [b""] * 100_000
    answer = call(make(), [*pieces[:1000], *empty, *pieces[1000:]])
    assert answer.status == 200


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (packed(body_of(2048)), 200, ""),
        (packed(body_of(4096)), 200, ""),
        (packed(body_of(4097)), 413, "4096 bytes (setting server.max_decompressed_size)"),
        (packed(b"x" * 1_000_000), 413, "setting server.max_decompressed_size"),
        (packed(body_of(2048))[:-1], 400, "ends too early"),
        (packed(body_of(2048)) + b"x", 400, "more follows"),
        (packed(body_of(2048)) + b"garbage", 400, "more follows"),
        (packed(body_of(2048)[:9]) + packed(body_of(2048)[9:]), 200, ""),
        (packed(body_of(2048)) + packed(b" " * 3000), 413, "setting server.max_decompressed_size"),
        (b"", 400, "ends too early"),
        (body_of(60), 400, "not valid gzip"),
    ],
    ids=range(11),
)
def test_compressed_bodies(body: bytes, status: int, words: str) -> None:
    headers = {"content-type": JSON, "content-encoding": "GZip"}
    answer = call(make(max_decompressed_size=4096), body, headers=headers)
    assert answer.status == status
    assert words in answer.json.get("details", "")


def test_a_large_bomb_is_unpacked_in_a_thread_and_refused() -> None:
    bomb = gzip.compress(b"\0" * 30_000_000)
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    answer = call(make(max_message_size=1 << 20), bomb, headers=headers)
    assert answer.status == 413 or len(bomb) < 1 << 20
    answer = call(make(max_message_size=1 << 20, max_decompressed_size=4096), bomb, headers=headers)
    assert answer.status == 413


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip"])
def test_other_codings_are_refused(coding: str) -> None:
    headers = {"content-type": JSON, "content-encoding": coding}
    answer = call(make(), body_of(60), headers=headers)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, identity")
    assert coding in answer.json["detail"]


def test_identity_is_no_coding() -> None:
    headers = {"content-type": JSON, "content-encoding": "identity"}
    assert call(make(), body_of(60), headers=headers).status == 200


def test_a_slow_body_is_given_up() -> None:
    async def run() -> Answer:
        pieces: list[Any] = [b'{"inputs"', asyncio.Event(), b"never sent"]
        client = Client(make(request_seconds=0.05), pieces, headers={"content-type": JSON})
        return await asyncio.wait_for(client.run(), 30)

    answer = asyncio.run(run())
    assert answer.status == 408
    assert "0.05 s (setting server.request_seconds)" in answer.json["details"]


def test_a_client_that_leaves_in_the_middle_of_its_body() -> None:
    calls = Calls(Server())
    endpoint = endpoint_of(
        Text, Text, echo, inputs=["text"], annotations={"text": str}, calls=calls
    )
    answer = call(endpoint, [b'{"inputs": "a'], leaves=True)
    assert answer.status in (0, 499)
    assert len(calls) == 0


def test_the_room_for_bodies_is_shared_and_given_back() -> None:
    settings = Server(max_buffered_size=3000)
    calls = Calls(settings)
    endpoint = endpoint_of(
        Text, Text, echo, inputs=["text"], annotations={"text": str}, calls=calls
    )
    body = body_of(2000)

    async def run() -> tuple[Answer, Answer]:
        going_on = asyncio.Event()
        headers = {"content-type": JSON}
        first = Client(endpoint, [body[:1900], going_on, body[1900:]], headers=headers)
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0)
        second = await Client(endpoint, [body[:1000], body[1000:]], headers=headers).run()
        going_on.set()
        return await task, second

    first, second = asyncio.run(run())
    assert first.status == 200
    assert (second.status, second.headers["retry-after"]) == (429, "1")
    assert "3000 bytes" in second.json["details"]
    assert "server.max_buffered_size" in second.json["details"]
    # A body in one piece is not collected; and the room is there again for one that is.
    assert call(endpoint, [body[:1900], body[1900:]]).status == 200


def test_too_many_calls_at_once_are_refused() -> None:
    calls = Calls(Server(max_concurrent_requests=1))
    began, release = asyncio.Event(), asyncio.Event()

    async def wait(fields: dict[str, Any], context: Context) -> Text:
        began.set()
        await release.wait()
        return Text(text="late")

    endpoint = endpoint_of(
        Text, Text, wait, inputs=["text"], annotations={"text": str}, calls=calls
    )

    async def run() -> tuple[Answer, Answer]:
        headers = {"content-type": JSON}
        task = asyncio.create_task(Client(endpoint, [body_of(60)], headers=headers).run())
        await began.wait()
        second = await Client(endpoint, [body_of(60)], headers=headers).run()
        release.set()
        return await task, second

    first, second = asyncio.run(run())
    assert first.status == 200
    assert (second.status, second.headers["retry-after"]) == (429, "1")
    assert "server.max_concurrent_requests" in second.json["details"]


@pytest.mark.parametrize("count", [50, 1000, 100_000])
@pytest.mark.parametrize("part", ["parameters", "inputs", "inputs.a"])
def test_what_is_told_of_many_faults_is_little(part: str, count: int) -> None:
    """However many names of a body are unknown, and however long they are."""

    async def no_handler(fields: dict[str, Any], context: Context) -> Text:
        raise AssertionError

    endpoint = endpoint_of(
        Pair,
        Text,
        no_handler,
        inputs=["a", "b"],
        options=["first", "second"],
        annotations={"a": Text, "b": str, "first": str, "second": int},
    )
    wrong: Any = {f"x{number}": number for number in range(count - 1)} | {"y" * 100_000: 1}
    body = {
        "parameters": {"parameters": wrong},
        "inputs": {"inputs": wrong},
        "inputs.a": {"inputs": {"a": wrong}},
    }[part]
    answer = call(endpoint, {**body, "model_id": "m"})
    assert answer.status == 422
    assert 1 <= len(answer.json["additional_info"]) <= 100
    assert len(answer.body) < 64 * 1024
    assert "x0" in answer.json["details"]


def test_a_line_has_the_limit_of_a_message_and_a_stream_has_none() -> None:
    async def count(requests: Any, context: Context, *, decode: Any, encode: Any) -> Any:
        total = 0
        async for line in requests:
            total += len(decode(line)["text"])
        yield [encode(Text(text=str(total)))]

    calls = Calls(Server(max_buffered_size=3000))
    endpoint = endpoint_of(
        Text,
        Text,
        count,
        inputs=["text"],
        annotations={"text": str},
        style=BodyStyle.STREAM,
        input_streaming=True,
        calls=calls,
        max_message_size=LIMIT,
    )
    headers = {"content-type": LINES}
    line = json.dumps({"inputs": "x" * 1000, "model_id": "m"}).encode() + b"\n"
    answer = call(endpoint, [line[:500], line[500:] + line * 9], headers=headers)
    assert answer.json == {"text": "10000"}
    for pieces in (
        [line + b"x" * 2049],
        [line, b"x" * 2000, b"x" * 49],
        [line, b"x" * 2000, b"x" * 49],  # the room for it has been given back
        [line, b"x" * 2049 + b"\n"],
    ):
        answer = call(endpoint, pieces, headers=headers)
        assert answer.status == 413
        assert f"line 2 is larger than {LIMIT} bytes" in answer.json["details"]
