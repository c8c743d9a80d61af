"""Runs commands of `kitfox models`."""

import json
from typing import Any

from tests.conftest import Server

__all__ = ["run"]

# Many commands in one process: starting Python takes longer than what they do.
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from kitfox.cli.commands import app
from kitfox.errors import KitfoxError
for line in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, ["models", *line])
    error = done.exception.message if isinstance(done.exception, KitfoxError) else ""
    print(json.dumps([done.exit_code, done.output + error]))
"""


def run(server: Server, *lines: str) -> list[tuple[int, str]]:
    """Exit status and output of each command line."""
    commands = [[*line.split(), "--config", str(server.config)] for line in lines]
    done = server.run("-c", SCRIPT, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    found: list[Any] = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "["]
    return [(status, text) for status, text in found]
