"""Cases as they travel: the bytes of requests over HTTP/1.1 and HTTP/2, right and wrong."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import hpack

from tests.abuse.wire import PREFACE, frames, http2_frame
from tests.fuzz.cases import Case
from tests.fuzz.mutations import mutate_bytes

__all__ = ["Told", "http1_bytes", "http2_bytes", "is_proper", "speak", "target_of", "wrong_bytes"]

_VERBS = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "POST")
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_FRAME = 16_384
_OTHERS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\0" * 50,
    b"GET / HTTP/0.9\r\n\r\n",
)
_SILENCE_SECONDS = 0.25
"""For so long is a server listened to that may want to hear more, or never answer."""


def target_of(case: Case) -> bytes:
    """What is asked for: the path and the query."""
    path = case.path.encode("utf-8", "surrogateescape")
    return path + b"?" + case.query if case.query else path


def is_proper(case: Case) -> bool:
    """Whether the case keeps to HTTP, so that its answer is the application's own."""
    target = target_of(case)
    values = [value for _, value in case.headers]
    lengths = [value for name, value in case.headers if name == b"content-length"]
    size = len(b"".join(case.pieces))
    kinds = [value for name, value in case.headers if name == b"content-type"]
    is_grpc = any(value.startswith(b"application/grpc") for value in kinds)
    return (
        case.verb in _VERBS
        and target[:1] == b"/"
        and _is_printable(target, b" #")
        and all(_is_printable(value) and value == value.strip() for value in values)
        and lengths in ([], [b"%d" % size])
        # Without it nobody needs to send the trailers, which hold a call's status.
        and (not is_grpc or (b"te", b"trailers") in case.headers)
    )


def _is_printable(text: bytes, without: bytes = b"") -> bool:
    return all(0x20 <= byte < 0x7F and byte not in without for byte in text)


def http1_bytes(case: Case) -> Iterator[bytes]:
    """A request over HTTP/1.1, in pieces."""
    lines = [b"%b: %b" % item for item in case.headers]
    pieces = [piece for piece in case.pieces if piece]
    is_chunked = bool(pieces) and not any(name == b"content-length" for name, _ in case.headers)
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    elif not pieces and case.verb in ("POST", "PUT", "PATCH"):
        lines.append(b"content-length: 0")
    first = b"%b %b HTTP/1.1" % (case.verb.encode(), target_of(case))
    yield b"\r\n".join([first, b"host: fuzz", *lines, b"", b""])
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
    if is_chunked and not case.leaves:
        yield b"0\r\n\r\n"


def http2_headers(case: Case) -> list[tuple[bytes, bytes]]:
    """The headers of a request over HTTP/2."""
    return [
        (b":method", case.verb.encode()),
        (b":scheme", b"http"),
        (b":path", target_of(case)),
        (b":authority", b"fuzz"),
        *case.headers,
    ]


def http2_bytes(case: Case) -> Iterator[bytes]:
    """A request as all that is ever sent on an HTTP/2 connection, whatever the windows are."""
    yield PREFACE + http2_frame(_SETTINGS)
    block = hpack.Encoder().encode(http2_headers(case))
    for start in range(0, max(1, len(block)), _FRAME):
        kind = _HEADERS if start == 0 else 9
        flags = _END_HEADERS if start + _FRAME >= len(block) else 0
        yield http2_frame(kind, block[start : start + _FRAME], flags=flags, stream=1)
    for piece in case.pieces:
        for start in range(0, len(piece), _FRAME):
            yield http2_frame(_DATA, piece[start : start + _FRAME], stream=1)
    if not case.leaves:
        yield http2_frame(_DATA, b"", flags=_END_STREAM, stream=1)


def wrong_bytes(data: bytes, chance: random.Random) -> bytes:
    """What a connection carries, when it is not what it should be; or something else."""
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.choice((1, 10, 100, 1000, 20_000)))
        case 1:
            return chance.choice(_OTHERS) + data[: chance.choice((0, 20, len(data)))]
        case 2:
            return PREFACE + http2_frame(_SETTINGS) + b"".join(_random_frames(chance))
        case 3:
            place = chance.randint(0, len(data))
            return data[:place] + b"".join(_random_frames(chance)) + data[place:]
        case _:
            return mutate_bytes(data, chance, PREFACE)


def _random_frames(chance: random.Random) -> Iterator[bytes]:
    """Frames of all kinds and flags, of their true length or not."""
    for _ in range(chance.choice((1, 2, 20))):
        content = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 30)))
        kind, flags = chance.randrange(12), chance.choice((0, 1, 4, 5, 8, 32, 255))
        made = http2_frame(kind, content, flags=flags, stream=chance.choice((0, 1, 1, 2, 3, 2**31)))
        yield made if chance.random() < 0.8 else chance.randbytes(3) + made[3:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a server said to something that need not be a request."""

    statuses: tuple[int, ...]
    """HTTP's."""
    codes: tuple[int, ...]
    """gRPC's."""
    is_closed: bool
    """Whether it ended the connection."""


async def speak(port: int, pieces: list[bytes], *, abruptly: bool, is_http2: bool) -> Told:
    """Sends bytes on a connection of their own, and listens for as long as there is an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    heard = bytearray()
    is_closed = False
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    data = await reader.read(1 << 16)
                if not data:
                    is_closed = True
                    break
                heard += data
        except TimeoutError:
            pass
        except ConnectionError:
            is_closed = True
    finally:
        place = writer.get_extra_info("socket")
        if abruptly and place is not None:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    statuses, codes = _http2_told(bytes(heard)) if is_http2 else _http1_told(bytes(heard))
    return Told(statuses=statuses, codes=codes, is_closed=is_closed)


def _http1_told(heard: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The status of the first answer; what follows it may be anything."""
    first = heard.partition(b"\r\n")[0].split()
    if len(first) < 2 or not first[0].startswith(b"HTTP/1") or not first[1].isdigit():
        return (), ()
    return (int(first[1]),), ()


def _http2_told(heard: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    statuses, codes = [], []
    decoder = hpack.Decoder()
    with contextlib.suppress(hpack.HPACKError):
        for kind, content in frames(heard):
            if kind != _HEADERS:
                continue
            for item in decoder.decode(content, raw=True):
                name, value = item[0], item[1]
                if name == b":status":
                    statuses.append(int(value))
                elif name == b"grpc-status":
                    codes.append(int(value))
    return tuple(statuses), tuple(codes)
