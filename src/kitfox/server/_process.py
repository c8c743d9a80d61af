"""One Envoy process: started, listened to, told to stop.

Its standard output is ours: what the application logs there costs nobody anything. On its error
output Envoy's own records, each between a mark and a line's end, come among what the application
writes, which is passed on as it is.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from kitfox.errors import FailedPrecondition
from kitfox.server._status import VARIABLE, Channel
from kitfox.server.envoy import LOG_MARK, LOG_SEPARATOR, bootstrap, command
from kitfox.server.options import Options

__all__ = ["EnvoyProcess", "Record", "split_output"]

Record = tuple[str, str, str]
"""Level, logger and message of one of Envoy's log records."""

_MARK = LOG_MARK.encode()
_PR_SET_PDEATHSIG = 1


class EnvoyProcess:
    """A running Envoy and the pipes to it."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", channel: Channel, admin_pipe: int
    ) -> None:
        self._process = process
        self._admin_pipe = admin_pipe
        self._rest = b""
        self.channel = channel
        """What the application says and is told."""
        self.is_silent = False
        """Whether the end of its error output was read.

        That may be long after its own end: child processes of the application inherit the pipe.
        """

    @classmethod
    def start(cls, options: Options, environment: Mapping[str, str]) -> "EnvoyProcess":
        """Starts Envoy.

        Args:
            options: What it is to do.
            environment: As `envoy.environment` makes it.

        Raises:
            FailedPrecondition: The operating system cannot run it.
        """
        channel = Channel()
        admin_pipe, admin_end = os.pipe()
        theirs = channel.theirs.fileno()
        # Envoy reads files below /dev/fd, by its own rule, so no file lies about after a crash.
        with _nameless_file() as config:
            config.write(json.dumps(bootstrap(options)).encode())
            config.flush()
            config.seek(0)
            words = command(
                options, config=f"/dev/fd/{config.fileno()}", admin=f"/dev/fd/{admin_end}"
            )
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env={**environment, VARIABLE: str(theirs)},
                    pass_fds=(config.fileno(), admin_end, theirs),
                    # Ctrl-C at a terminal is for the supervisor, which then drains.
                    process_group=0,
                    # Safe: the supervisor has no threads.
                    preexec_fn=_die_with_parent(),
                )
            except OSError as error:
                channel.close()
                os.close(admin_pipe)
                raise FailedPrecondition(f"Envoy cannot be started: {error}") from error
            finally:
                os.close(admin_end)
        channel.theirs.close()
        assert process.stderr is not None  # noqa: S101 - for the type checker: it is a pipe
        os.set_blocking(process.stderr.fileno(), False)
        os.set_blocking(admin_pipe, False)
        return cls(process, channel, admin_pipe)

    @property
    def output(self) -> int:
        """The pipe of its error output, for a selector."""
        assert self._process.stderr is not None  # noqa: S101 - as above
        return self._process.stderr.fileno()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return (self._process.returncode or 0) < 0

    def ending(self) -> str:
        """How it ended, in words."""
        status = self._process.returncode
        if status is not None and status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with exit status {status}"

    def admin_address(self) -> str | None:
        """Where its administration interface is; None before it is known. Told once."""
        try:
            return os.read(self._admin_pipe, 256).decode() or None
        except BlockingIOError:
            return None

    def read_output(self) -> tuple[bytes, list[Record]] | None:
        """What the application wrote and what Envoy logged; None if there is nothing now."""
        try:
            data = os.read(self.output, 65536)
        except BlockingIOError:
            return None
        self.is_silent = not data
        passed, records, self._rest = split_output(self._rest + data)
        return passed, records

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        if not self.has_ended():
            self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Closes the pipes, after its end."""
        self.channel.close()
        os.close(self._admin_pipe)
        if self._process.stderr is not None:
            self._process.stderr.close()


def _nameless_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("envoy.json"), "w+b")
    import tempfile  # a megabyte, for as long as the server runs

    return tempfile.TemporaryFile()


def split_output(data: bytes) -> tuple[bytes, list[Record], bytes]:
    """Parts the application's output from Envoy's records.

    Returns:
        The application's bytes, the complete records, and an incomplete rest to be put before the
        next data.
    """
    passed = bytearray()
    records: list[Record] = []
    while True:
        before, mark, after = data.partition(_MARK)
        if not mark:
            keep = _overlap(data)
            cut = len(data) - keep
            return bytes(passed + data[:cut]), records, data[cut:]
        passed += before
        line, end, data = after.partition(b"\n")
        if not end:
            return bytes(passed), records, mark + line
        level, _, rest = line.decode(errors="replace").partition(LOG_SEPARATOR)
        logger, _, message = rest.partition(LOG_SEPARATOR)
        records.append((level, logger, _unescape(message)))


def _overlap(data: bytes) -> int:
    """How much of the end of `data` may be the beginning of a mark."""
    longest = min(len(data), len(_MARK) - 1)
    return next((size for size in range(longest, 0, -1) if data.endswith(_MARK[:size])), 0)


def _unescape(message: str) -> str:
    try:
        text: Any = json.loads(f'"{message}"')
    except ValueError:
        return message
    return str(text)


def _die_with_parent() -> Callable[[], None] | None:
    """Has the kernel kill Envoy when the supervisor dies, however that happens.

    The kernel means the thread that starts the child, not its process: the supervisor's main
    thread.
    """
    if sys.platform != "linux":
        # There the end of the status stream tells the application: see `_status.on_drain`.
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arrange
