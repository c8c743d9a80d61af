"""A real server process on free ports, made from the template or from a project of the test's."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template" / "caikit_template"


# A machine that has other work takes its time.
hypothesis.settings.register_profile("kitfox", deadline=None)
hypothesis.settings.load_profile("kitfox")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what takes a minute by itself, so that the other process has work meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_soak.py")


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _ports() -> Iterator[int]:
    """The ports of this process of a run, again and again."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(10_000 + process % 16, 30_000, 16))
    # Not the source that hypothesis sets, or several runs would choose alike.
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


_PORTS = _ports()


def hold_port() -> socket.socket:
    """A socket with a free port, none of those that the system gives to outgoing connections.

    It is let go before a server takes it. So no other process of the same run draws from these, and
    none is drawn again soon.
    """
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))


def is_free(port: int) -> bool:
    """Whether a server could have a port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@dataclass
class Server:
    """A server process and how to talk to it."""

    project: Path
    """The copy of the template's package."""
    environment: dict[str, str] = field(default_factory=dict)
    script: str = "server/start_runtime.py"
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        sockets = [hold_port() for _ in range(3)]
        self.grpc_port, self.http_port, self.metrics_port = (
            int(item.getsockname()[1]) for item in sockets
        )
        for item in sockets:
            item.close()
        self.log_file = self.project / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def config(self) -> Path:
        return self.project / "server" / "config.yml"

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "RUNTIME_GRPC_PORT": str(self.grpc_port),
            "RUNTIME_HTTP_PORT": str(self.http_port),
            "RUNTIME_METRICS_PORT": str(self.metrics_port),
            "SERVER_ADDRESS": "127.0.0.1",
            **self.environment,
        }

    def launch(self) -> "subprocess.Popen[bytes]":
        """Starts the process without waiting for it, in a working directory of no meaning."""
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(self.project / self.script)],
                cwd="/",
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process

    def start(self) -> "Server":
        process = self.launch()
        wait_for(lambda: process.poll() is not None or self.healthy(), what="the server's start")
        assert process.poll() is None, self.log
        return self

    def wait_for_models(self) -> None:
        """Waits until all of the models folder is loaded: a start does not wait for long."""
        wait_for(
            lambda: all(
                model["loaded"] for model in self.http("GET", "/info/models").json["models"]
            ),
            what="the models",
        )

    def healthy(self) -> bool:
        try:
            return self.http("GET", "/health").status == 200
        except OSError:
            return False

    def http(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One HTTP request; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=data,
            headers={"content-type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                return Answer(found.status, dict(found.headers), found.read())
        except urllib.error.HTTPError as err:
            with err:
                return Answer(err.code, dict(err.headers), err.read())

    def metric(self, name: str) -> int:
        """A figure that has no labels."""
        for line in self.metrics().splitlines():
            if line.startswith(f"{name} "):
                return int(float(line.split()[1]))
        raise AssertionError(f"no such metric: {name}")

    def metrics(self) -> str:
        """What Prometheus is told."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Runs a script or module with this server's ports in its environment."""
        return subprocess.run(
            [sys.executable, *command],
            cwd="/",
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kitfox(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs the command line with this server's configuration."""
        return self.run("-m", "kitfox.cli", *arguments, "--config", str(self.config))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server and gives its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(60)

    def kill(self) -> None:
        """Ends the server's processes without warning, as a crash of the machine would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        # Its child is killed by the system a little later.
        ports = (self.grpc_port, self.http_port, self.metrics_port)
        wait_for(lambda: all(map(is_free, ports)), what="the end of the server's processes")


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers of copies of the template; what still runs at the end is killed."""
    made: list[Server] = []

    def make(name: str = "project", **environment: str) -> Server:
        project = tmp_path / name / TEMPLATE.name
        if not project.exists():
            copy_template(project)
        server = Server(project, environment)
        made.append(server)
        return server

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One running server of the unchanged template, shared by tests that leave it as it is."""
    yield from _shared(tmp_path_factory, {})


@pytest.fixture(scope="session", params=["envoy", "hypercorn"])
def each_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The same on each engine: for tests of what holds for both."""
    yield from _shared(tmp_path_factory, {"SERVER_ENGINE": request.param})


def _shared(factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Server]:
    project = factory.mktemp("shared") / TEMPLATE.name
    copy_template(project)
    running = Server(project, environment).start()
    running.wait_for_models()
    yield running
    status = running.stop()
    assert status == 0, running.log


def copy_template(project: Path) -> None:
    """A fresh copy of the template's package."""
    ignore = shutil.ignore_patterns("training_output", "__pycache__")
    shutil.copytree(TEMPLATE, project, ignore=ignore)
