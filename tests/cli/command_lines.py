"""Running commands: many in one process where that will do, each in its own where it matters."""

import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios

from tests.conftest import Server
from tests.waiting import wait_for

__all__ = ["Command", "CommandLines", "Terminal"]

# Starting Python takes longer than what most commands do.
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from kitfox.cli.commands import app
from kitfox.errors import KitfoxError
for line in sys.stdin:
    done = CliRunner().invoke(app, json.loads(line))
    if done.exception and not isinstance(done.exception, (KitfoxError, SystemExit)):
        raise done.exception
    error = done.exception.message if isinstance(done.exception, KitfoxError) else ""
    print(json.dumps([done.exit_code, done.output + error]), flush=True)
"""


class CommandLines:
    """A process that performs one command line after the other.

    Args:
        server: Whose configuration the commands have.
    """

    def __init__(self, server: Server) -> None:
        self._config = str(server.config)
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd="/",
            env=server.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, line: str, status: int = 0) -> str:
        """The output of a command, which must end with this status."""
        code, text = self.try_(line)
        assert code == status, text
        return text

    def try_(self, line: str) -> tuple[int, str]:
        """Exit status and output of a command."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([*line.split(), "--config", self._config]) + "\n")
        stdin.flush()
        while not (answer := stdout.readline()).startswith("["):
            assert answer, "the process has ended"
        code, text = json.loads(answer)
        return code, text

    def try_all(self, *lines: str) -> list[tuple[int, str]]:
        """The same of several commands."""
        return [self.try_(line) for line in lines]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)


class Command:
    """A command that runs in a process of its own, and can be interrupted.

    Args:
        server: Whose configuration it has.
        line: The command line.
    """

    def __init__(self, server: Server, line: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kitfox.cli", *line.split(), "--config", str(server.config)],
            cwd="/",
            env=server.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen = ""

    def says(self, text: str) -> None:
        """Waits for a line of output that has a text in it."""
        stdout = self.process.stdout
        assert stdout is not None

        def is_there() -> bool:
            line = stdout.readline()
            self.seen += line
            if not line:
                assert self.process.stderr is not None
                raise AssertionError(self.seen + self.process.stderr.read())
            return text in line

        wait_for(is_there, what=f"{text!r} in the output")

    def signal(self, number: signal.Signals) -> tuple[int, str, str]:
        """Sends a signal; gives exit status, output and errors."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        """Waits for the end; gives exit status, output and errors."""
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, self.seen + output, errors


class Terminal:
    """A command on a terminal of its own, with 120 columns.

    Args:
        server: Whose configuration it has.
        line: The command line.
    """

    def __init__(self, server: Server, line: str) -> None:
        self._screen, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kitfox.cli", *line.split(), "--config", str(server.config)],
            cwd="/",
            env=server.env | {"TERM": "xterm-256color"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.seen = ""

    def shows(self, pattern: str) -> "re.Match[str]":
        """Waits until something has been written that a pattern fits."""

        def found() -> "re.Match[str] | None":
            if match := re.search(pattern, self.seen):
                return match
            assert self._read(), self.seen
            return None

        match: re.Match[str] = wait_for(found, seconds=60, what=f"{pattern!r} on the terminal")
        return match

    def end(self) -> tuple[int, str]:
        """Waits for the end; gives exit status and all that was written."""
        wait_for(lambda: not self._read(), seconds=60, what="the end of the command")
        os.close(self._screen)
        return self._process.wait(60), self.seen

    def _read(self) -> bool:
        """Takes in what has been written; False when no more will come."""
        if not select.select([self._screen], [], [], 0.1)[0]:
            return True
        data = b""
        with contextlib.suppress(OSError):  # Linux' way of telling that nobody has it open
            data = os.read(self._screen, 65536)
        self.seen += self._decoder.decode(data)
        return bool(data)
