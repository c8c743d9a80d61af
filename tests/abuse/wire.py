"""Clients that say whatever they are told to: HTTP/1 as bytes, HTTP/2 frame by frame."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

__all__ = ["Answer", "Http1", "Http2", "frame", "frames", "http2_frame"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 30.0
"""For how many seconds an answer is waited for."""


@dataclass
class Answer:
    """What came back for one request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    """Its body, as it came."""
    reset: int | None = None
    """HTTP/2's error code, if the stream was reset."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        """The words of a refusal, over gRPC or REST."""
        if "grpc-message" in self.headers:
            return unquote(self.headers["grpc-message"])
        with contextlib.suppress(ValueError):
            content = json.loads(self.body)
            return str(content.get("details") or content.get("detail"))
        return self.body.decode("utf-8", "replace")

    @property
    def grpc_status(self) -> int:
        return int(self.headers["grpc-status"])


def connected(port: int, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection, of which the kernel keeps as little as it can if so wished."""
    made = socket.socket()
    if receive_buffer is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.settimeout(PATIENCE)
    made.connect(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Http1:
    """A connection that carries bytes."""

    def __init__(self, port: int) -> None:
        self.socket = connected(port)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends, and tells whether the other side still takes it."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, *, is_head: bool = False) -> Answer | None:
        """The next answer; None when the connection is closed instead.

        Args:
            is_head: Whether it is one without a body, whatever its headers say.
        """
        data = self._rest
        try:
            while b"\r\n\r\n" not in data:
                if not (more := self.socket.recv(65536)):
                    return None
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
            }
            size = 0 if is_head else int(headers.get("content-length", 0))
            while len(body) < size:
                if not (more := self.socket.recv(65536)):
                    return None
                body += more
        except ConnectionError:
            return None
        self._rest = body[size:]
        return Answer(int(first.split()[1]), headers, [body[:size]])

    def is_closed(self) -> bool:
        """Whether the server ends the connection; what it still sends does not matter."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True


class Http2:
    """A connection that keeps to the protocol, or does not if it is told so.

    Args:
        port: Of the server.
        window: How much the server may send on a stream without being asked.
        receive_buffer: What the kernel keeps of it.
    """

    def __init__(
        self, port: int, *, window: int = 1 << 20, receive_buffer: int | None = None
    ) -> None:
        self.socket = connected(port, receive_buffer=receive_buffer)
        config = h2.config.H2Configuration(
            client_side=True,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            header_encoding=None,
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self.connection.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.ended: set[int] = set()
        self.goaway: int | None = None
        self.is_closed = False
        self.flush()
        self.wait(lambda: self.connection.remote_settings.max_frame_size and self._greeted)

    _greeted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # Sending.

    def flush(self) -> bool:
        return self.send(self.connection.data_to_send())

    def send(self, data: bytes) -> bool:
        """Sends bytes as they are, and tells whether the other side still takes them."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True
        return not self.is_closed

    def open(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        body: bytes | None = None,
        end: bool = True,
        verb: str = "POST",
    ) -> int:
        """Begins a request; gives its stream."""
        stream = self.connection.get_next_available_stream_id()
        pseudo = [(":method", verb), (":scheme", "http"), (":path", path), (":authority", "x")]
        self.connection.send_headers(stream, [*pseudo, *headers], end_stream=body is None and end)
        self.answers[stream] = Answer()
        self.flush()
        if body is not None:
            self.write(stream, body, end=end)
        return stream

    def reserve(self) -> int:
        """A stream whose request is sent frame by frame; this side takes it for complete."""
        self.flush()
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, [(":method", "POST")], end_stream=True)
        self.connection.clear_outbound_data_buffer()
        self.answers[stream] = Answer()
        return stream

    def write(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Sends a body as the windows allow; in vain once the answer is there."""
        try:
            start = 0
            while start < len(body):
                room = self.connection.local_flow_control_window(stream)
                size = min(room, self.connection.max_outbound_frame_size, len(body) - start)
                if not size:
                    if stream in self.ended or not self.read():
                        return
                    continue
                self.connection.send_data(stream, body[start : start + size])
                start += size
                self.flush()
            if end:
                self.connection.end_stream(stream)
                self.flush()
        except h2.exceptions.ProtocolError:
            return

    def reset(self, stream: int, code: int = 8) -> None:
        self.connection.reset_stream(stream, code)
        self.flush()

    # Receiving.

    def read(self, seconds: float = PATIENCE, *, acknowledge: bool = True) -> bool:
        """Takes what comes next; false when nothing does any more."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE)
        if not data:
            self.is_closed = True
            return False
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            # What it answers to nonsense need not make sense to `h2`.
            self.goaway = self.goaway if self.goaway is not None else _goaway(data)
            return True
        for event in events:
            self._note(event, acknowledge=acknowledge)
        self.flush()
        return True

    def wait(self, condition: Any, seconds: float = PATIENCE) -> bool:
        """Reads until something is so; false when the time or the connection ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not self.read(left):
                return bool(condition())
        return True

    def answer(self, stream: int, seconds: float = PATIENCE) -> Answer:
        """The whole answer to a request."""
        self.wait(lambda: stream in self.ended, seconds)
        assert stream in self.ended, f"no answer; goaway {self.goaway}, closed {self.is_closed}"
        return self.answers[stream]

    def call(self, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """One request and its answer."""
        return self.answer(self.open(path, headers, body=body))

    @property
    def is_gone(self) -> bool:
        """Whether the server has ended the connection, as far as it was read."""
        return self.is_closed or self.goaway is not None

    def is_turned_away(self, seconds: float = PATIENCE) -> bool:
        """Whether the server ends the connection."""
        return self.wait(lambda: self.is_gone, seconds)

    def _note(self, event: h2.events.Event, *, acknowledge: bool) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self._greeted = True
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                answer = self.answers.setdefault(event.stream_id or 0, Answer())
                for name, value in event.headers or []:
                    answer.headers[bytes(name).decode()] = bytes(value).decode("latin-1")
                answer.status = int(answer.headers.get(":status", 0))
            case h2.events.DataReceived():
                self.answers[event.stream_id or 0].pieces.append(event.data or b"")
                if acknowledge and event.flow_controlled_length:
                    with contextlib.suppress(h2.exceptions.ProtocolError):
                        self.connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id or 0
                        )
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id or 0)
            case h2.events.StreamReset():
                self.answers.setdefault(event.stream_id or 0, Answer()).reset = int(
                    event.error_code or 0
                )
                self.ended.add(event.stream_id or 0)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code or 0)


def _goaway(data: bytes) -> int | None:
    """The error code of a frame that ends the connection, if there is one."""
    for kind, content in frames(data):
        if kind == 7 and len(content) >= 8:
            return int.from_bytes(content[4:8], "big")
    return None


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kinds and contents of the HTTP/2 frames that came whole."""
    place = 0
    while place + 9 <= len(data):
        size = int.from_bytes(data[place : place + 3], "big")
        yield data[place + 3], data[place + 9 : place + 9 + size]
        place += 9 + size


def http2_frame(kind: int, content: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """An HTTP/2 frame of any kind."""
    return (
        struct.pack(">I", len(content))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + content
    )


def frame(message: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """A gRPC message with its head, which may lie."""
    return struct.pack(">BI", flag, len(message) if size is None else size) + message
