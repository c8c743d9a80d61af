"""A supervisor in a process of its own, with a small ASGI application in its Envoy."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.waiting import wait_for

APP = """
import asyncio, os, sys
from pathlib import Path
from kitfox.server import _status

drained = asyncio.Event()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    path = scope["path"]
    headers = dict(scope["headers"])
    if path == "/slow":
        print("slow began", file=sys.stderr)
        await asyncio.sleep(1)
    elif path == "/endless":
        print("endless began", file=sys.stderr)
        await asyncio.sleep(3600)
    elif path == "/until-drain":
        print("waits for drain", file=sys.stderr)
        await drained.wait()
    elif path == "/noise":
        sys.stdout.write("noise on stdout\\n")
        sys.stderr.write("noise on stderr\\nand no end of line")
    body = b"x" * 20_000_000 if path == "/big" else b"hello " + scope["http_version"].encode()
    if headers.get(b"content-type", b"").startswith(b"application/grpc"):
        await answer_grpc(send, body)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def answer_grpc(send, body):
    start = {"type": "http.response.start", "status": 200, "trailers": True}
    await send({**start, "headers": [(b"content-type", b"application/grpc")]})
    frame = b"\\0" + len(body).to_bytes(4, "big") + body
    await send({"type": "http.response.body", "body": frame})
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})


async def live(receive, send):
    await receive()
    _status.on_drain(drained.set)
    start()
    _status.report_ready({"pid": os.getpid()})
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


def start():
    pass


async def stop():
    print("lifespan ended", file=sys.stderr)
"""

LAUNCHER = """
import json, sys
from kitfox.server.envoy import EnvoyOptions, Listener, Tls
from kitfox.server.supervisor import Supervisor

def say(**words):
    print(json.dumps(words), flush=True)

settings = json.loads(sys.argv[1])
listeners = tuple(Listener(**item) for item in settings.pop("listeners"))
tls = Tls(**settings.pop("tls")) if "tls" in settings else None
supervisor = Supervisor(
    EnvoyOptions(app="small:app", listeners=listeners, tls=tls),
    log=lambda level, message: say(level=level, message=message),
    on_ready=lambda real, details: say(ports=[item.port for item in real], **details),
    **settings,
)
sys.exit(supervisor.run())
"""


def accepts(port: int) -> bool:
    """Whether anybody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Supervised:
    """A supervisor's process: what it says, what it is told."""

    def __init__(self, folder: Path, settings: dict[str, Any], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "launch.py"), json.dumps(settings)],
            cwd=folder,
            env=environ or None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.outputs: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self.outputs]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        stream = getattr(self.process, name)
        while data := stream.read1():
            self.outputs[name] += data

    @property
    def said(self) -> list[dict[str, Any]]:
        """What the launcher printed."""
        lines = self.outputs["stdout"].decode().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def errors(self) -> list[str]:
        """The sentences logged as errors."""
        return [item["message"] for item in self.said if item.get("level") == "error"]

    def starts(self) -> list[dict[str, Any]]:
        """What was said each time that Envoy was ready."""
        return [item for item in self.said if "ports" in item]

    def ready(self, count: int = 1) -> dict[str, Any]:
        """Waits until Envoy was ready so many times."""
        wait_for(lambda: len(self.starts()) >= count or self.process.poll() is not None)
        assert len(self.starts()) >= count, self.outputs
        return self.starts()[count - 1]

    def heard(self, text: str) -> None:
        """Waits until the application wrote something on its error output."""
        wait_for(lambda: text.encode() in self.outputs["stderr"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Waits for the end and for the last of the output."""
        status = self.process.wait(30)
        for reader in self._readers:
            reader.join(30)
        return status


class Start(Protocol):
    """Starts a supervisor; see `start`."""

    def __call__(
        self,
        *,
        app: str = "",
        ports: tuple[int, ...] = (0, 0),
        environ: dict[str, str] | None = None,
        **settings: Any,
    ) -> Supervised: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor with listeners `grpc` and `http`; `app` is appended to the small one."""
    started: list[Supervised] = []

    def launch(
        *,
        app: str = "",
        ports: tuple[int, ...] = (0, 0),
        environ: dict[str, str] | None = None,
        **settings: Any,
    ) -> Supervised:
        (tmp_path / "small.py").write_text(APP + app)
        (tmp_path / "launch.py").write_text(LAUNCHER)
        listeners = [
            {"name": name, "address": "127.0.0.1", "port": port, "setting": f"{name}.port"}
            for name, port in zip(("grpc", "http"), ports, strict=True)
        ]
        words = {"listeners": listeners, "drain_seconds": 20, "pause_seconds": 0.01, **settings}
        started.append(Supervised(tmp_path, words, environ or {}))
        return started[-1]

    yield launch
    for item in started:
        # The kernel ends Envoy along with it; the pipes' ends show that all have gone.
        with suppress(ProcessLookupError):
            item.process.kill()
        item.end()
        for stream in (item.process.stdout, item.process.stderr):
            if stream is not None:
                stream.close()
