"""The engine is chosen with a reason, and either starts and stops without losing anything."""

import json
import os
import signal
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.errors import FailedPrecondition
from kitfox.server import envoy
from kitfox.server.engine import choose
from tests.conftest import Server
from tests.waiting import wait_for

from .conftest import Start
from .small_server import accepts, call, get, in_background

pytestmark = pytest.mark.slow


@pytest.fixture(params=["envoy", "hypercorn"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_envoy_is_taken_where_it_can_run() -> None:
    chosen = choose("auto")
    assert chosen.name == "envoy"
    assert chosen.sentence.startswith("Serving with Envoy 1.")
    assert choose("envoy") == chosen


def test_hypercorn_is_taken_when_it_is_asked_for() -> None:
    chosen = choose("hypercorn")
    assert (chosen.name, chosen.sentence) == (
        "hypercorn",
        "Serving with hypercorn, as server.engine says",
    )


def without_library(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(envoy, "_libpython_candidates", list)


def without_package(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("importlib.util.find_spec", lambda name: None)


def on_windows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "platform", "win32")


def on_musl(patch: pytest.MonkeyPatch) -> None:
    found = {"SOABI": "cpython-311-x86_64-linux-musl"}
    patch.setattr(sysconfig, "get_config_var", found.get)


@pytest.mark.parametrize(
    ("hindrance", "reason"),
    [
        (without_library, "Python's shared library was not found"),
        (without_package, "the package pyvoy is not installed"),
        (on_windows, "there is no Envoy with Python in it for win32"),
        (on_musl, "there is no Envoy for musl"),
    ],
)
def test_where_envoy_cannot_run_the_reason_is_told(
    hindrance: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hindrance(monkeypatch)
    chosen = choose("auto")
    assert chosen.name == "hypercorn"
    assert chosen.sentence.startswith(f"Serving with hypercorn: {reason}")
    with pytest.raises(FailedPrecondition, match=f"^server.engine is envoy, .*: {reason}"):
        choose("envoy")


def test_each_listener_answers_both_protocols(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listeners = [
        {"name": "grpc", "address": "127.0.0.1"},
        {"name": "http", "address": "127.0.0.1"},
        {"name": "local", "address": path},
    ]
    server = start(
        app="print('imported', file=sys.stderr)\ndef start(): print('started', file=sys.stderr)",
        listeners=listeners,
    )
    ports = server.ready()["ports"][:2]
    for target in (*(f"127.0.0.1:{port}" for port in ports), f"unix:{path}"):
        with grpc.insecure_channel(target) as channel:
            assert call(channel) == b"hello 2"
    assert [get(port) for port in ports] == [b"hello 1.1", b"hello 1.1"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"200 OK" in client.recv(1000)
    assert server.stop() == 0
    for text in (b"imported", b"started", b"lifespan ended"):
        assert server.outputs["stderr"].count(text) == 1


def test_a_taken_port_is_named_with_its_setting_and_holder(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start(ports=(port, 0))
        assert server.end() == 1
    [error] = server.errors
    assert f"Port {port} (grpc.port) is taken by process {os.getpid()} (" in error


def test_a_port_that_is_taken_during_the_start_is_named(start: Start, tmp_path: Path) -> None:
    """Two may have an address as long as neither listens."""
    began, gate = tmp_path / "began", tmp_path / "go"
    app = (
        "import pathlib, time\n"
        "def start():\n"
        f"    pathlib.Path({str(began)!r}).touch()\n"
        f"    while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
    )
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        server = start(app=app, ports=(port, 0))
        wait_for(began.exists, what="the application's start")
        holder.listen()
        gate.touch()
        assert server.end() == 1
    error = server.errors[-1]
    assert str(port) in error
    assert "is taken" in error or "Address already in use" in error  # Envoy's own words


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("raise LookupError('no such\\nthing')", "LookupError: no such thing"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def start(): raise ValueError('too small')", "ValueError: too small"),
        ("def start(): _status.report_failed('Model x is lost.'); 1 / 0", "start: Model x is lost"),
    ],
)
def test_an_application_that_cannot_start_ends_it_with_its_reason(
    start: Start, app: str, sentence: str
) -> None:
    server = start(app=app)
    assert server.end() == 1
    assert server.starts() == []
    assert server.errors[-1].endswith(sentence)
    assert server.errors[-1].startswith("The server cannot start: ")


def test_a_stop_lets_work_finish_and_refuses_new_connections(start: Start) -> None:
    server = start()
    ports = server.ready()["ports"]
    answers = [
        in_background(lambda path=path: get(ports[1], path))  # type: ignore[misc]
        for path in ("/held", "/until-drain")
    ]
    server.heard("held began")
    server.heard("waits for drain")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not any(map(accepts, ports)))
    assert server.process.poll() is None
    (server.folder / "go").touch()
    assert [answer() for answer in answers] == [b"hello 1.1", b"hello 1.1"]
    assert server.end() == 0


def test_a_stop_lets_a_slow_client_read_its_answer(start: Start) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.ready()["ports"][1])) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        read = len(client.recv(1000))
        server.process.send_signal(signal.SIGTERM)
        while data := client.recv(1 << 20):
            read += len(data)
    assert read > 20_000_000
    assert server.end() == 0


def test_work_past_the_drain_time_is_cut_off(start: Start) -> None:
    server = start(drain_seconds=0.2)
    answer = in_background(lambda: get(server.ready()["ports"][1], "/endless"))
    server.heard("endless began")
    assert server.stop() == 0
    assert isinstance(answer(), Exception)
    assert {"level": "warning", "message": "Stopping with 1 requests in flight"} in server.said


def test_a_second_signal_stops_at_once(start: Start) -> None:
    server = start()
    ports = server.ready()["ports"]
    answer = in_background(lambda: get(ports[1], "/endless"))
    server.heard("endless began")
    server.process.send_signal(signal.SIGINT)
    wait_for(lambda: not accepts(ports[0]))
    assert server.stop(signal.SIGINT) == 0
    assert isinstance(answer(), Exception)


def test_a_shutdown_without_end_is_ended(start: Start) -> None:
    server = start(app="async def stop(): await asyncio.sleep(3600)", stop_seconds=0.2)
    server.ready()
    assert server.stop() == 0
    assert [item for item in server.said if "killed" in item.get("message", "")]


def test_during_the_start_nobody_is_heard_and_a_stop_is_obeyed(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    app = "import time\ndef start(): print('long', file=sys.stderr); time.sleep(3600)"
    server = start(app=app, ports=(port, 0))
    server.heard("long")
    assert not accepts(port)
    assert server.stop() == 0


def test_either_says_that_it_lives(each_server: Server) -> None:
    answer = each_server.http("GET", "/livez")
    assert (answer.status, answer.body) == (200, b"OK")


def test_a_project_is_served_by_either(each_server: Server) -> None:
    engine = each_server.environment["SERVER_ENGINE"]
    messages = [json.loads(line)["message"] for line in each_server.log.splitlines()]
    assert any(message.lower().startswith(f"serving with {engine}") for message in messages)
    script = str(each_server.project / "client" / "infer_model.py")
    over_grpc = each_server.run(script, "--address", each_server.address)
    assert over_grpc.stdout == 'RESPONSE: greeting: "Hello World"\n', over_grpc.stderr
    body = {"model_id": "example", "inputs": {"name": "World"}}
    over_rest = each_server.http("POST", "/api/v1/task/hello-world", body)
    assert over_rest.json == {"greeting": "Hello World"}
