"""caikit's own remote client gets from us what it gets from caikit's own server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.library_server import ENGINES, LibraryServer, running
from tests.conformance.recorded import GOLDEN
from tests.conftest import Server

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "caikit_project"
FAILING_OVER_HTTP = {
    "server stream": "TypeError",
    "client stream": "TypeError",
    "bidirectional": "TypeError",
}
"""What the client itself cannot do over HTTP: it fails at the answers of caikit as well."""


@dataclass
class CaikitServer(LibraryServer):
    """The same, served by caikit itself."""

    python: Path = Path(sys.executable)

    def launch(self) -> "subprocess.Popen[bytes]":
        command = [str(self.python), "-W", "ignore", "../tools/serve.py", self.package]
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


def copied(place: Path) -> Path:
    """A copy of the project with what starts its server beside it."""
    project = place / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(GOLDEN / "tools", place / "tools")
    return project


def outcomes(python: Path, server: Server, protocol: str) -> dict[str, Any]:
    port = server.grpc_port if protocol == "grpc" else server.http_port
    done = subprocess.run(
        [
            *(str(python), "-W", "ignore", str(HERE / "caikit_client.py")),
            *(str(server.project / "library"), protocol, "127.0.0.1", str(port)),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def caikits_own(
    caikit_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """What the client gets from caikit's own server."""
    project = copied(tmp_path_factory.mktemp("caikit"))
    made = CaikitServer(project, package="chorus", python=caikit_python)
    with running(made) as server:
        yield {name: outcomes(caikit_python, server, name) for name in ("grpc", "http")}


@pytest.fixture(scope="module", params=ENGINES)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    project = copied(tmp_path_factory.mktemp(request.param))
    made = LibraryServer(project, {"SERVER_ENGINE": request.param}, package="chorus")
    with running(made) as server:
        yield server


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_client_gets_the_same_from_both_servers(
    caikit_python: Path,
    caikits_own: dict[str, dict[str, Any]],
    served: Server,
    protocol: str,
) -> None:
    found = outcomes(caikit_python, served, protocol)
    assert found == caikits_own[protocol]
    failing = FAILING_OVER_HTTP if protocol == "http" else {}
    assert {name: what for name, what in found.items() if what == "TypeError"} == failing
    assert found["training"]["text"] == "RERERE"
