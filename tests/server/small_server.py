"""A server in a process of its own, with a small ASGI application, on either engine."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from tests.waiting import wait_for

__all__ = [
    *("SmallServer", "accepts", "call", "everything", "get", "in_background", "raw", "refusal"),
]

APP = """
import asyncio, json, os, sys
from pathlib import Path
from kitfox.server import _status
from kitfox.server.reply import takes_any_thread

drained = asyncio.Event()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    path = scope["path"]
    if path == "/slow":
        print("slow began", file=sys.stderr)
        await asyncio.sleep(1)
    elif path == "/held":
        print("held began", file=sys.stderr)
        while not Path(__file__).with_name("go").exists():
            await asyncio.sleep(0.01)
    elif path == "/endless":
        print("endless began", file=sys.stderr)
        await asyncio.sleep(3600)
    elif path == "/until-drain":
        print("waits for drain", file=sys.stderr)
        await drained.wait()
    elif path == "/noise":
        sys.stdout.write("noise on stdout\\n")
        sys.stderr.write("noise on stderr\\nand no end of line")
    elif path in ODD:
        await ODD[path](scope, receive, send)
        return
    body = b"x" * 20_000_000 if path == "/big" else b"hello " + scope["http_version"].encode()
    await answer(scope, send, body)


async def answer_grpc(send, body):
    start = {"type": "http.response.start", "status": 200, "trailers": True}
    await send({**start, "headers": [(b"content-type", b"application/grpc")]})
    frame = b"\\0" + len(body).to_bytes(4, "big") + body
    await send({"type": "http.response.body", "body": frame})
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})


async def count(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await answer(scope, send, b"%d" % size)


async def count_when_told(scope, receive, send):
    await counting.wait()
    await count(scope, receive, send)


async def let_count(scope, receive, send):
    counting.set()
    await answer(scope, send, b"")


async def refuse(scope, receive, send):
    # The status in the only header block, and the request unread.
    headers = [(b"content-type", b"application/grpc"), (b"grpc-status", b"5")]
    headers += [(b"grpc-message", b"there is none"), (b"mine", b"value")]
    status = 200 if b"te" in dict(scope["headers"]) else 404
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def refuse_late(scope, receive, send):
    start = {"type": "http.response.start", "status": 200, "trailers": True}
    await send({**start, "headers": [(b"content-type", b"application/grpc")]})
    await send({"type": "http.response.body", "body": b""})
    trailers = [(b"grpc-status", b"7"), (b"grpc-message", b"not you")]
    await send({"type": "http.response.trailers", "headers": trailers})


async def flood(scope, receive, send):
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            flooded[0] += 65536
            await asyncio.sleep(0)
    finally:
        left.append(scope["path"])


async def wait_until_left(scope, receive, send):
    print("waits for its client to leave", file=sys.stderr)
    await receive()
    try:
        while True:
            await asyncio.sleep(0.01)
            # On Envoy it answers at once as long as the client is there.
            if (await receive())["type"] == "http.disconnect":
                break
    finally:
        left.append(scope["path"])


async def tell(scope, receive, send):
    await answer(scope, send, json.dumps({"left": left, "flooded": flooded[0]}).encode())


async def answer_from_a_thread(scope, receive, send):
    def work():
        send({"type": "http.response.start", "status": 200, "headers": []})
        send({"type": "http.response.body", "body": b"from a thread"})

    if takes_any_thread(send):
        await asyncio.to_thread(work)
    else:
        await answer(scope, send, b"from the loop")


async def fail(scope, receive, send):
    raise LookupError("a secret")


ODD = {
    "/count": count, "/count-when-told": count_when_told, "/let-count": let_count,
    "/refuse": refuse, "/refuse-late": refuse_late, "/flood": flood,
    "/wait-until-left": wait_until_left, "/tell": tell, "/fail": fail,
    "/from-a-thread": answer_from_a_thread,
}
counting, left, flooded = asyncio.Event(), [], [0]


async def answer(scope, send, body):
    if dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/grpc"):
        await answer_grpc(send, body)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


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
from kitfox.server.options import Listener, Options, Tls

def say(**words):
    print(json.dumps(words), flush=True)

settings = json.loads(sys.argv[1])
listeners = tuple(Listener(**item) for item in settings.pop("listeners"))
tls = Tls(**settings.pop("tls")) if "tls" in settings else None
limits = settings.pop("limits")
if settings.pop("engine") == "envoy":
    from kitfox.server.supervisor import Supervisor as Server
else:
    from kitfox.server.hypercorn_engine import HypercornServer as Server
server = Server(
    Options(app="small:app", listeners=listeners, tls=tls, **limits),
    log=lambda level, message: say(level=level, message=message),
    on_ready=lambda real, details: say(ports=[item.port for item in real], **details),
    **settings,
)
sys.exit(server.run())
"""


def accepts(port: int) -> bool:
    """Whether anybody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class SmallServer:
    """A server's process: what it says, what it is told.

    Args:
        folder: Where its application is written.
        engine: `envoy` or `hypercorn`.
        app: Put after the small application's code.
        ports: Of its two listeners, `grpc` and `http`; 0 for free ones.
        limits: Fields of `Options`.
        settings: What the engine's class is made with.
    """

    def __init__(
        self,
        folder: Path,
        engine: str,
        *,
        app: str = "",
        ports: tuple[int, ...] = (0, 0),
        limits: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        (folder / "small.py").write_text(APP + app)
        (folder / "launch.py").write_text(LAUNCHER)
        listeners = [
            {"name": name, "address": "127.0.0.1", "port": port, "setting": f"{name}.port"}
            for name, port in zip(("grpc", "http"), ports, strict=True)
        ]
        words = {"listeners": listeners, "engine": engine, "limits": limits or {}, **settings}
        words.setdefault("drain_seconds", 20)
        if engine == "envoy":
            words.setdefault("pause_seconds", 0.01)
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "launch.py"), json.dumps(words)],
            cwd=folder,
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

    def close(self) -> None:
        """Ends it without warning."""
        with suppress(ProcessLookupError):
            self.process.kill()
        # The kernel ends Envoy along with it; the pipes' ends show that all have gone.
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def get(port: int, path: str = "/") -> bytes:
    """The body of the answer to one request over HTTP/1.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def call(channel: grpc.Channel, path: str = "/", message: bytes = b"") -> bytes:
    """The answer to one gRPC call."""
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
    method = channel.unary_unary(path, bytes, bytes)
    return method(message, timeout=60)


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Starts some work; the function that is returned waits for its result."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except (OSError, http.client.HTTPException) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(30)
        return results[0]

    return result


def raw(port: int, data: bytes) -> socket.socket:
    """A connection over which some bytes were sent."""
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.sendall(data)
    return client


def everything(client: socket.socket) -> bytes:
    """What is received until the other side closes."""
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def refusal(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of the answer that comes over HTTP/1.1."""
    with client:
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.getheader("content-type") == "application/json"
        return answer.status, json.loads(answer.read())
