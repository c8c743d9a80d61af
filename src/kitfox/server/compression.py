"""gzip, both ways, within limits; large pieces of work are done in a thread."""

import asyncio
import zlib

from kitfox.errors import InvalidArgument
from kitfox.server.asgi import BodyTooLarge
from kitfox.server.conversions import QUICK, QUICK_TO_UNPACK

__all__ = ["WORTH_COMPRESSING", "accepts_gzip", "gunzip", "gzipped"]

WORTH_COMPRESSING = 1024
"""Smaller bodies are sent as they are."""

_LEVEL = 1
_GZIP = 31  # zlib's number for gzip's head and tail around the data


async def gzipped(body: bytes) -> bytes:
    """The body, compressed."""
    if len(body) <= QUICK:
        return _pack(body)
    return await asyncio.to_thread(_pack, body)


async def gunzip(body: bytes, limit: int) -> bytes:
    """What a body of gzip data holds.

    Args:
        body: The data, of one member.
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


def _unpack(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as err:
        raise InvalidArgument(f"the request's body is not valid gzip: {err}") from err
    if len(plain) > limit:
        raise BodyTooLarge("the decompressed request", limit, "server.max_decompressed_size")
    if not unpacker.eof:
        raise InvalidArgument("the request's body is not valid gzip: it ends too early")
    if unpacker.unused_data:
        raise InvalidArgument("the request's body is not valid gzip: more follows after its end")
    return plain
