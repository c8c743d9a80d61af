"""gzip, both ways, within limits; large pieces of work are done in a thread."""

import asyncio
import zlib

from kitfox.errors import InvalidArgument
from kitfox.server.asgi import BodyTooLarge
from kitfox.server.conversions import QUICK, QUICK_TO_UNPACK

__all__ = ["WORTH_COMPRESSING", "GzipError", "accepts_gzip", "gunzip", "gzipped", "unpack"]

WORTH_COMPRESSING = 1024
"""Smaller bodies are sent as they are."""

_LEVEL = 1
_GZIP = 31  # zlib's number for gzip's head and tail around the data
# One member is what a client sends; programs that pack in parallel make some dozens.
_MOST_MEMBERS = 1000
_PIECE = 64 * 1024


class GzipError(ValueError):
    """Data is no gzip data, or not all of it; the text says what is wrong."""


async def gzipped(body: bytes) -> bytes:
    """The body, compressed."""
    if len(body) <= QUICK:
        return _pack(body)
    return await asyncio.to_thread(_pack, body)


async def gunzip(body: bytes, limit: int) -> bytes:
    """What a body of gzip data holds.

    Args:
        body: The data.
        limit: The most bytes of what it holds.

    Raises:
        InvalidArgument: It is no gzip data, or not all of it.
        BodyTooLarge: It holds more than `limit` bytes.
    """
    if len(body) <= QUICK_TO_UNPACK:
        return _unpack(body, limit)
    return await asyncio.to_thread(_unpack, body, limit)


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether a client takes gzip, by its header `accept-encoding`."""
    if b"gzip" not in accept_encoding and b"*" not in accept_encoding:
        return False
    if b";" not in accept_encoding:
        return True
    weights = {}
    for item in accept_encoding.lower().split(b","):
        name, _, parameters = item.partition(b";")
        weights[name.strip()] = _weight(parameters)
    return weights.get(b"gzip", weights.get(b"*", 0.0)) > 0


def _weight(parameters: bytes) -> float:
    for item in parameters.split(b";"):
        name, _, value = item.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return packer.compress(body) + packer.flush()


def unpack(data: bytes, limit: int) -> bytes:
    """What gzip data holds: the contents of its members, one after the other (RFC 1952).

    Args:
        data: All of it.
        limit: The most bytes that are wanted.

    Returns:
        At most one byte more than `limit`; with that one there is more than was wanted.

    Raises:
        GzipError: It is no gzip data, it is not complete, or of too many members.
    """
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = unpacker.decompress(data, limit + 1)
    except zlib.error as err:
        raise GzipError(str(err)) from err
    if len(plain) > limit:
        return plain
    if not unpacker.eof:
        raise GzipError("it ends too early")
    if unpacker.unused_data:
        return plain + _unpack_further(unpacker.unused_data, limit - len(plain))
    return plain


def _unpack_further(data: bytes, limit: int) -> bytes:
    """As `unpack`, of the members behind the first."""
    view, parts, at, room = memoryview(data), [], 0, limit + 1
    for _ in range(1, _MOST_MEMBERS):
        unpacker = zlib.decompressobj(wbits=_GZIP)
        while not unpacker.eof:
            # In pieces: at its end each member gives what is left of one, as a copy.
            piece = view[at : at + _PIECE]
            if not piece:
                raise GzipError("more follows after its end, which ends too early")
            try:
                parts.append(unpacker.decompress(piece, room))
            except zlib.error as err:
                raise GzipError(f"more follows after its end: {err}") from err
            room -= len(parts[-1])
            if not room:
                return b"".join(parts)
            at += len(piece) - len(unpacker.unused_data)
        if at == len(view):
            return b"".join(parts)
    raise GzipError(f"it has more than {_MOST_MEMBERS} members")


def _unpack(body: bytes, limit: int) -> bytes:
    try:
        plain = unpack(body, limit)
    except GzipError as err:
        raise InvalidArgument(f"the request's body is not valid gzip: {err}") from err
    if len(plain) > limit:
        raise BodyTooLarge("the decompressed request", limit, "server.max_decompressed_size")
    return plain
