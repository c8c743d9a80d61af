"""Messages as bytes on a socket: a batch in one frame, large buffers beside the pickle.

    head       body size, pickle size, number of buffers, call (of a frame with one message)
    body       size of each buffer, the pickle, the buffers; each part begins at a multiple of 64

Arrays are neither copied by the sender nor by the receiver: they are written from where they lie,
and the receiver's lie in the block of memory into which the frame was read. (Shared memory was
tried: for arrays of up to 16 MiB it takes twice the time, for page faults.)
"""

import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kitfox.models.replicas.messages import Message

__all__ = ["BrokenFrame", "Chunks", "FrameReader", "pack", "pack_together", "send_all", "send_some"]

_HEAD = struct.Struct("<QQQQ")
_ALIGNMENT = 64
_OUT_OF_BAND = 64 * 1024
"""Buffers from this size on are not copied into the pickle."""
_KEPT_SIZE = 1024 * 1024
"""The most bytes of a frame that its sender keeps, to be able to repeat what is in it."""
_READ_SIZE = 256 * 1024
_MOST_PARTS = 512
"""What the system takes in one call is about twice as much."""

Chunks: TypeAlias = list[Any]
"""Things with bytes in them, to be sent one after the other."""


class _Sink:
    """What a pickler writes to: keeps what it is given, large `bytes` objects without a copy."""

    __slots__ = ("parts", "write")

    def __init__(self) -> None:
        self.parts: Chunks = []
        self.write = self.parts.append


def pack(messages: Sequence[Message], *, call: int = 0) -> Chunks:
    """The frame of some messages.

    Args:
        messages: What to send.
        call: The call that a single message is about, so that the receiver knows it even if it
            cannot read the message.

    Raises:
        Exception: Something cannot be pickled.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    sink = _Sink()
    pickle.Pickler(sink, 5, buffer_callback=keep).dump(messages)
    parts = sink.parts
    size = sum(map(len, parts))
    if not buffers:
        return [_HEAD.pack(size, size, 0, call), *parts]
    sizes = struct.pack(f"<{len(buffers)}Q", *(buffer.nbytes for buffer in buffers))
    body: Chunks = [sizes, bytes(_padding(len(sizes))), *parts, bytes(_padding(size))]
    for buffer in buffers:
        body += [buffer, bytes(_padding(buffer.nbytes))]
    return [_HEAD.pack(sum(map(len, body)), size, len(buffers), call), *body]


def pack_together(messages: Sequence[Message]) -> Chunks | None:
    """The frame of some messages; None where they are to be sent one by one.

    That is so when there is only one, when one of them cannot be pickled, which is found out then,
    and when they are too large to be kept.
    """
    if len(messages) == 1:
        return None
    try:
        chunks = pack(messages)
    except Exception:  # noqa: BLE001 -- objects of any class
        return None
    return chunks if sum(map(len, chunks)) <= _KEPT_SIZE else None


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def send_some(line: socket.socket, chunks: "deque[memoryview]") -> None:
    """Sends what the socket takes, and removes it from what is to be sent.

    Raises:
        BlockingIOError: It takes no more now.
        OSError: The other side is gone.
    """
    while chunks:
        head = [chunks[index] for index in range(min(len(chunks), _MOST_PARTS))]
        sent = line.sendmsg(head)
        while chunks and sent >= chunks[0].nbytes:
            sent -= chunks.popleft().nbytes
        if sent:
            chunks[0] = chunks[0][sent:]


def send_all(line: socket.socket, chunks: Chunks) -> None:
    """Sends everything, and waits for the other side to make room."""
    size = sum(map(len, chunks))
    if len(chunks) <= _MOST_PARTS:
        sent = line.sendmsg(chunks)
        if sent == size:
            return
    else:
        sent = 0
    rest = views(chunks)
    while sent and rest and sent >= rest[0].nbytes:
        sent -= rest.popleft().nbytes
    if sent:
        rest[0] = rest[0][sent:]
    send_some(line, rest)


def views(chunks: Chunks) -> "deque[memoryview]":
    """The chunks that are not empty, ready to be cut."""
    return deque(memoryview(chunk).cast("B") for chunk in chunks if len(chunk))


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenFrame:
    """A frame whose messages cannot be unpickled here."""

    frame: int
    """Which of the frames that came, counted from 0."""
    call: int
    """The call that its only message is about; 0 when there are several messages."""
    error: Exception
    """Why."""


class FrameReader:
    """Reads frames from a socket, as they come.

    Args:
        line: The socket. If it blocks, read when there is something to read.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._buffer = bytearray(_READ_SIZE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._large: memoryview | None = None
        self._filled = 0
        self._head = (0, 0, 0, 0)
        self._count = 0

    def read(self) -> list[Message | BrokenFrame]:
        """The messages that are complete after reading what the socket has, up to 256 KiB.

        Raises:
            BlockingIOError: There is nothing to read.
            EOFError: The other side is gone.
        """
        if self._large is not None:
            return self._read_large(self._large)
        got = self._line.recv_into(self._view[self._end :])
        if not got:
            raise EOFError
        self._end += got
        found: list[Message | BrokenFrame] = []
        while self._end - self._start >= _HEAD.size:
            head = _HEAD.unpack_from(self._buffer, self._start)
            begin, size = self._start + _HEAD.size, head[0]
            if begin + size <= self._end:
                self._start = begin + size
                found += self._unpack(head, self._view[begin : begin + size])
            elif _HEAD.size + size > _READ_SIZE:
                self._begin_large(head, begin)
                return found
            else:
                break
        self._make_room()
        return found

    def _make_room(self) -> None:
        rest = self._end - self._start
        if rest and self._start:
            self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start, self._end = 0, rest

    def _begin_large(self, head: tuple[int, int, int, int], begin: int) -> None:
        """A frame that does not fit the buffer gets memory of its own."""
        self._head, self._filled = head, self._end - begin
        self._large = memoryview(bytearray(head[0]))
        self._large[: self._filled] = self._view[begin : self._end]
        self._start = self._end = 0

    def _read_large(self, target: memoryview) -> list[Message | BrokenFrame]:
        got = self._line.recv_into(target[self._filled :])
        if not got:
            raise EOFError
        self._filled += got
        if self._filled < target.nbytes:
            return []
        self._large = None
        return self._unpack(self._head, target, owned=True)

    def _unpack(
        self, head: tuple[int, int, int, int], body: memoryview, *, owned: bool = False
    ) -> list[Message | BrokenFrame]:
        _, size, count, call = head
        frame, self._count = self._count, self._count + 1
        buffers: list[memoryview] = []
        if count:
            # What is made of the buffers lives on; the memory of a small frame is used again.
            body = body if owned else memoryview(bytearray(body))
            sizes = struct.unpack_from(f"<{count}Q", body)
            begin = 8 * count + _padding(8 * count)
            place = begin + size + _padding(size)
            for length in sizes:
                buffers.append(body[place : place + length])
                place += length + _padding(length)
            body = body[begin : begin + size]
        try:
            messages: list[Message] = pickle.loads(body, buffers=buffers)  # noqa: S301 -- our own process
        except Exception as err:  # noqa: BLE001 -- objects of any class are made here
            return [BrokenFrame(frame=frame, call=call, error=err)]
        return [*messages]
