"""What a replica has to say: gathered, and sent in one frame when there is a moment."""

import os
import signal
import socket
import threading
from collections import deque
from queue import SimpleQueue
from typing import NoReturn

from kitfox.models.replicas.failures import failure_of
from kitfox.models.replicas.frames import Chunks, pack, pack_together, send_all
from kitfox.models.replicas.messages import ERROR, Message

__all__ = ["Outbox", "end_at_once"]

_KEPT_FRAMES = 64


class Outbox:
    """Messages on their way to the server; to be used from any thread.

    Args:
        line: The socket.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._waiting: deque[Message] = deque()
        self._sending = threading.Lock()
        # READY was the first, and was sent without this.
        self._frames = 1
        # What the server cannot read in one piece, it asks for again in single messages.
        self._sent: deque[tuple[int, list[Message]]] = deque(maxlen=_KEPT_FRAMES)
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        threading.Thread(target=self._flush_when_told, name="outbox", daemon=True).start()

    @property
    def is_empty(self) -> bool:
        """Whether everything was sent, or is being sent."""
        return not self._waiting

    def add(self, message: Message) -> None:
        """Takes a message; it is sent by the next flush."""
        self._waiting.append(message)

    def add_soon(self, message: Message) -> None:
        """Takes a message, and has another thread send it as soon as that gets to run."""
        self._waiting.append(message)
        self.flush_soon()

    def flush(self) -> None:
        """Sends all that waits; returns at once if another thread is about it."""
        while self._waiting and self._sending.acquire(blocking=False):
            try:
                self._send([self._waiting.popleft() for _ in range(len(self._waiting))])
            finally:
                self._sending.release()

    def flush_soon(self) -> None:
        """Has another thread send what waits, as soon as that gets to run."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def repeat(self, frame: int) -> None:
        """Sends the messages of an earlier frame one by one."""
        with self._sending:
            for number, batch in self._sent:
                if number == frame:
                    for message in batch:
                        self._send_one(message)
                    return
        os.write(2, b"a frame that the server could not read is gone\n")
        end_at_once()  # so that its calls get an answer

    def _flush_when_told(self) -> None:
        while True:
            self._bell.get()
            self._rung = False
            self.flush()

    def _send(self, batch: list[Message]) -> None:
        chunks = pack_together(batch)
        if chunks is None:
            for message in batch:
                self._send_one(message)
            return
        self._sent.append((self._frames, batch))
        self._put(chunks)

    def _send_one(self, message: Message) -> None:
        number = message[1] if len(message) > 1 and isinstance(message[1], int) else 0
        try:
            chunks = pack([message], call=number)
        except Exception as err:  # noqa: BLE001 -- objects of any class
            error = TypeError(f"the result cannot be sent from its replica: {err}")
            error.__cause__ = err
            failure = failure_of(error) | {"kind": "other", "name": "TypeError"}
            chunks = pack([(ERROR, number, failure)], call=number)
        self._put(chunks)

    def _put(self, chunks: Chunks) -> None:
        self._frames += 1
        try:
            send_all(self._line, chunks)
        except OSError:  # the server is gone
            end_at_once()


def end_at_once() -> NoReturn:
    """Ends this process and those that it started, if they are still of its group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
