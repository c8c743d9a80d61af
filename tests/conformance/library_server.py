"""A server process of a library that was written for caikit."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Server

__all__ = ["ENGINES", "LibraryServer", "running"]

ENGINES = ("envoy", "hypercorn")
"""What the same application is served by."""


@dataclass
class LibraryServer(Server):
    """Serves a library's folder as its recording was made: started in it, by a script of it."""

    package: str = ""
    """The Python package to serve."""

    @property
    def config(self) -> Path:
        return self.project / "config.yml"

    def launch(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "kitfox.caikit", "../tools/serve.py", self.package]
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.project,
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Starts a server and ends it, which it must do in good order."""
    try:
        yield server.start()
        assert server.stop() == 0, server.log
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
