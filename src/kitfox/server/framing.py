"""gRPC's framing: messages out of a request's body, frames around results.

Written from the protocol's own description (`PROTOCOL-HTTP2.md` of grpc): each message is a
five-byte head (compressed flag, length) and its bytes, wherever the transport cuts them.
"""

import asyncio
import gzip
import struct
from collections.abc import AsyncGenerator, Callable

from kitfox.config import Server
from kitfox.errors import Cancelled, Code, InvalidArgument, KitfoxError, ResourceExhausted
from kitfox.server.asgi import BodyRoom, Receive
from kitfox.server.compression import GzipError, unpack
from kitfox.server.conversions import QUICK_TO_UNPACK
from kitfox.server.pieces import Pieces

__all__ = ["FRAME_HEAD", "FRAME_HEAD_SIZE", "frame", "frame_compressed", "read_messages", "unframe"]

FRAME_HEAD = struct.Struct(">BI")
"""What stands before a message: whether it is compressed, and its size."""
FRAME_HEAD_SIZE = FRAME_HEAD.size
# Below this, compressing costs more than it saves.
_WORTH_COMPRESSING = 1024


def frame(payload: bytes) -> bytes:
    """A message with its head."""
    return FRAME_HEAD.pack(0, len(payload)) + payload


def frame_compressed(payload: bytes) -> bytes:
    """A message with its head, compressed by gzip if that is worth the time."""
    if len(payload) < _WORTH_COMPRESSING:
        return frame(payload)
    packed = gzip.compress(payload, compresslevel=1, mtime=0)
    return FRAME_HEAD.pack(1, len(packed)) + packed


def unframe(body: bytes, encoding: bytes, settings: Server) -> bytes:
    """The only message of a body.

    Args:
        body: The whole body.
        encoding: The value of the header `grpc-encoding`.
        settings: Where the limits are.

    Raises:
        InvalidArgument: There is no message, more than one, the gzip data is broken, or it is not
            said that it is gzip.
        ResourceExhausted: The message is too large.
        KitfoxError: UNIMPLEMENTED: a compression other than gzip.
    """
    if len(body) < FRAME_HEAD_SIZE:
        raise InvalidArgument(
            f"the request has {len(body)} bytes: expected one gRPC message with its 5-byte head"
        )
    compressed, size = FRAME_HEAD.unpack_from(body)
    if size > settings.max_message_size:
        raise _too_large(size, settings)
    if size != len(body) - FRAME_HEAD_SIZE:
        raise InvalidArgument(
            f"the message's head announces {size} bytes, but "
            f"{len(body) - FRAME_HEAD_SIZE} follow: expected exactly one message"
        )
    message = body[FRAME_HEAD_SIZE:]
    return _unpack(message, compressed, encoding, settings) if compressed else message


async def read_messages(
    receive: Receive,
    *,
    encoding: bytes,
    settings: Server,
    on_end: Callable[[], object],
    room: BodyRoom | None = None,
) -> AsyncGenerator[bytes, None]:
    """The messages of a stream of requests, as they come.

    Args:
        receive: ASGI's.
        encoding: The value of the header `grpc-encoding`.
        settings: Where the limits are.
        on_end: Called when the client has sent its last message.
        room: Where the beginnings of messages are counted.

    Raises:
        InvalidArgument: A head that cannot be, or an end in the middle of a message.
        ResourceExhausted: A message is too large, or there is no room for it.
        Cancelled: The client went away.
    """
    pieces = Pieces()
    needed, held = FRAME_HEAD_SIZE, 0
    room = room or BodyRoom(settings.max_buffered_size)
    more = True
    try:
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Cancelled("the client went away while it sent its requests")
            pieces.add(event.get("body", b""))
            more = event.get("more_body", False)
            if not more:
                on_end()
            if pieces.size >= needed:
                data, start, needed = pieces.take(), 0, FRAME_HEAD_SIZE
                while len(data) - start >= FRAME_HEAD_SIZE:
                    compressed, size = FRAME_HEAD.unpack_from(data, start)
                    if size > settings.max_message_size:
                        raise _too_large(size, settings)
                    end = start + FRAME_HEAD_SIZE + size
                    if len(data) < end:
                        needed = end - start
                        break
                    message = data[start + FRAME_HEAD_SIZE : end]
                    start = end
                    if compressed:
                        message = await _unpacked(message, compressed, encoding, settings)
                    yield message
                pieces.add(data[start:])
            if pieces.size != held:
                room.take(pieces.size - held)
                held = pieces.size
    finally:
        room.give_back(held)
    if pieces.size:
        raise InvalidArgument(
            f"the stream ended in the middle of a message: {pieces.size} bytes of it came"
        )


async def _unpacked(message: bytes, compressed: int, encoding: bytes, settings: Server) -> bytes:
    if len(message) <= QUICK_TO_UNPACK:
        return _unpack(message, compressed, encoding, settings)
    return await asyncio.to_thread(_unpack, message, compressed, encoding, settings)


def _unpack(message: bytes, compressed: int, encoding: bytes, settings: Server) -> bytes:
    if compressed != 1:
        raise InvalidArgument(f"compressed flag {compressed}: expected 0 or 1")
    if encoding in (b"", b"identity"):
        raise InvalidArgument(
            "the message is marked as compressed, and grpc-encoding does not say how: expected gzip"
        )
    if encoding != b"gzip":
        name = encoding.decode("latin-1")
        raise KitfoxError(
            f"message compression {name!r} is not supported: expected gzip or identity",
            code=Code.UNIMPLEMENTED,
        )
    limit = settings.max_decompressed_size
    try:
        plain = unpack(message, limit)
    except GzipError as err:
        raise InvalidArgument(f"the message is not valid gzip: {err}") from err
    if len(plain) > limit:
        raise ResourceExhausted(
            f"the message has more than {limit} bytes when decompressed "
            "(setting server.max_decompressed_size)"
        )
    return plain


def _too_large(size: int, settings: Server) -> ResourceExhausted:
    return ResourceExhausted(
        f"the message has {size} bytes, and at most {settings.max_message_size} are accepted "
        "(setting server.max_message_size)"
    )
