"""Messages come out of a body as they went in, wherever the transport cuts it."""

import asyncio
import gzip
import itertools
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.config import Server
from kitfox.errors import Cancelled, Code, InvalidArgument, KitfoxError, ResourceExhausted
from kitfox.server.framing import frame, frame_compressed, read_messages, unframe

SETTINGS = Server(max_message_size=2048, max_decompressed_size=4096)
messages = st.lists(st.binary(max_size=200), max_size=12)
cuts = st.lists(st.integers(min_value=0, max_value=3000), max_size=20)


def body_of(parts: Sequence[bytes]) -> Any:
    """ASGI's `receive` of a request that comes in these pieces."""
    events = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
        for index, part in enumerate(parts)
    ]
    waiting = iter(events or [{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(waiting, {"type": "http.disconnect"})

    return receive


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def read(parts: Sequence[bytes], encoding: bytes = b"gzip") -> tuple[list[bytes], int]:
    """The messages, and how often the end was told."""
    ends = 0

    def ended() -> None:
        nonlocal ends
        ends += 1

    async def run() -> list[bytes]:
        found: AsyncIterator[bytes] = read_messages(
            body_of(parts), encoding=encoding, settings=SETTINGS, on_end=ended
        )
        return [message async for message in found]

    return asyncio.run(run()), ends


@given(messages, cuts, st.data())
def test_messages_survive_any_cut(sent: list[bytes], places: list[int], data: Any) -> None:
    framed = [
        struct.pack(">BI", 1, len(packed)) + packed if data.draw(st.booleans()) else frame(item)
        for item in sent
        for packed in [gzip.compress(item)]
    ]
    assert read(cut(b"".join(framed), places)) == (sent, 1)


@given(st.binary(max_size=4000), cuts)
def test_garbage_is_messages_or_a_refusal(body: bytes, places: list[int]) -> None:
    code = Code.OK
    try:
        read(cut(body, places))
    except KitfoxError as err:
        code = err.code
    assert code in (
        Code.OK,
        Code.INVALID_ARGUMENT,
        Code.RESOURCE_EXHAUSTED,
        Code.UNIMPLEMENTED,
    )


def marked(packed: bytes) -> bytes:
    """The frame of a message that is said to be compressed."""
    return struct.pack(">BI", 1, len(packed)) + packed


@given(st.binary(max_size=2048))
def test_one_message_comes_back(message: bytes) -> None:
    assert unframe(frame(message), b"", SETTINGS) == message
    assert unframe(frame_compressed(message), b"gzip", SETTINGS) == message


@pytest.mark.parametrize(
    ("body", "encoding", "kind", "words"),
    [
        (b"", b"", InvalidArgument, "0 bytes: expected one gRPC message"),
        (b"\0\0\0", b"", InvalidArgument, "3 bytes"),
        (frame(b"a") + frame(b"b"), b"", InvalidArgument, "announces 1 bytes, but 7 follow"),
        (b"\0\xff\xff\xff\xff", b"", ResourceExhausted, "4294967295 bytes.*max_message_size"),
        (frame(b"a" * 2049), b"", ResourceExhausted, "at most 2048.*server.max_message_size"),
        (b"\2\0\0\0\1a", b"gzip", InvalidArgument, "compressed flag 2"),
        (b"\1\0\0\0\1a", b"snappy", KitfoxError, "'snappy' is not supported: expected gzip"),
        (b"\1\0\0\0\1a", b"", InvalidArgument, "grpc-encoding does not say how"),
        (b"\1\0\0\0\1a", b"identity", InvalidArgument, "grpc-encoding does not say how"),
        (b"\1\0\0\0\4fail", b"gzip", InvalidArgument, "not valid gzip"),
        (marked(gzip.compress(b"fox", mtime=0) + b"fox"), b"gzip", InvalidArgument, "more follows"),
    ],
)
def test_refusals_of_one_message(
    body: bytes, encoding: bytes, kind: type[KitfoxError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        unframe(body, encoding, SETTINGS)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))[:2000]
    packed = gzip.compress(bytes(5000))
    for body in (bomb, packed):
        with pytest.raises(ResourceExhausted, match=r"more than 4096.*max_decompressed_size"):
            unframe(marked(body), b"gzip", SETTINGS)


def test_gzip_that_ends_early_is_refused() -> None:
    packed = gzip.compress(b"fox" * 100)[:-4]
    with pytest.raises(InvalidArgument, match="ends too early"):
        unframe(marked(packed), b"gzip", SETTINGS)


def test_a_stream_that_ends_in_a_message_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="in the middle of a message: 3 bytes"):
        read([b"\0\0\0"])


def test_a_client_that_goes_away_is_told_from_one_that_ends() -> None:
    async def gone() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async for _ in read_messages(receive, encoding=b"", settings=SETTINGS, on_end=lambda: None):
            raise AssertionError("no message was sent")

    with pytest.raises(Cancelled):
        asyncio.run(gone())
