"""Envoy is started, replaced and stopped without losing work."""

import http.client
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.server import envoy
from kitfox.server.supervisor import Supervisor
from tests.waiting import wait_for

from .conftest import Start, accepts


def get(port: int, path: str = "/") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def call(channel: grpc.Channel) -> bytes:
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
    method = channel.unary_unary("/test.Service/Method", bytes, bytes)
    return method(b"", timeout=30)


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


def test_each_port_answers_both_protocols(start: Start) -> None:
    server = start()
    for port in server.ready()["ports"]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert call(channel) == b"hello 2"
        assert get(port) == b"hello 1.1"
    assert server.stop() == 0
    assert b"lifespan ended" in server.outputs["stderr"]


def test_one_application_serves_all_ports(start: Start) -> None:
    server = start(
        app="print('imported', file=sys.stderr)\ndef start(): print('started', file=sys.stderr)"
    )
    server.ready()
    server.stop()
    assert server.outputs["stderr"].count(b"imported") == 1
    assert server.outputs["stderr"].count(b"started") == 1


def test_what_the_application_writes_passes_unchanged(start: Start) -> None:
    server = start()
    get(server.ready()["ports"][1], "/noise")
    server.heard("noise on stderr\nand no end of line")
    wait_for(lambda: b"noise on stdout\n" in server.outputs["stdout"])


def test_a_unix_socket_may_be_among_the_listeners(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listeners = [{"name": "local", "address": path}, {"name": "http", "address": "127.0.0.1"}]
    server = start(listeners=listeners)
    server.ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"200 OK" in client.recv(1000)


def test_a_taken_port_is_named_with_its_setting_and_holder(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start(ports=(port, 0))
        assert server.end() == 1
    [error] = server.errors
    assert f"Port {port} (grpc.port) is taken by process {os.getpid()} (" in error


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("raise LookupError('no such\\nthing')", "LookupError: no such thing"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def start(): raise ValueError('too small')", "ValueError: too small"),
        ("def start(): _status.report_failed('Model x is lost.'); 1 / 0", "start: Model x is lost"),
        ("def start(): os.kill(os.getpid(), 11)", "Envoy was killed by SIGSEGV"),
        ("def start(): os._exit(3)", "Envoy ended with exit status 3"),
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


def test_without_a_shared_python_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy, "_libpython_candidates", list)
    said: list[str] = []
    options = envoy.EnvoyOptions(listeners=(envoy.Listener(name="http"),))
    assert Supervisor(options, log=lambda _, message: said.append(message)).run() == 1
    assert len(said) == 1
    assert "needs libpython3" in said[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_work_finish_and_refuses_new_connections(
    start: Start, number: signal.Signals
) -> None:
    server = start()
    ports = server.ready()["ports"]
    answer = in_background(lambda: get(ports[1], "/slow"))
    server.heard("slow began")
    server.process.send_signal(number)
    wait_for(lambda: not accepts(ports[0]))
    assert not accepts(ports[1])
    assert server.process.poll() is None
    assert answer() == b"hello 1.1"
    assert server.end() == 0


def test_the_application_is_told_of_a_stop(start: Start) -> None:
    server = start()
    answer = in_background(lambda: get(server.ready()["ports"][1], "/until-drain"))
    server.heard("waits for drain")
    assert server.stop() == 0
    assert answer() == b"hello 1.1"


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


def test_a_stop_during_the_start_is_obeyed(start: Start) -> None:
    server = start(app="import time\ndef start(): print('long', file=sys.stderr); time.sleep(3600)")
    server.heard("long")
    assert server.stop() == 0


def test_an_envoy_that_dies_is_replaced_on_the_same_ports(start: Start) -> None:
    server = start()
    first = server.ready()
    os.kill(first["pid"], signal.SIGKILL)
    second = server.ready(2)
    assert second["pid"] != first["pid"]
    assert second["ports"] == first["ports"]
    assert get(second["ports"][1]) == b"hello 1.1"
    assert "Envoy was killed by SIGKILL" in server.errors[0]


def test_replacing_is_given_up_when_it_never_succeeds(start: Start) -> None:
    once = """
def start():
    if Path('ran').exists():
        raise ValueError('spent')
    Path('ran').touch()
"""
    server = start(app=once)
    os.kill(server.ready()["pid"], signal.SIGKILL)
    assert server.end() == 1
    assert server.errors[-1] == "The server cannot start: ValueError: spent"


def test_envoy_dies_with_its_supervisor(start: Start) -> None:
    server = start()
    ports = server.ready()["ports"]
    server.process.kill()
    wait_for(lambda: not any(accepts(port) for port in ports))
    again = start(ports=tuple(ports))
    assert again.ready()["ports"] == ports


def test_tls_asks_for_a_client_certificate_when_told_to(start: Start, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words.split(), *names, *files], check=True, capture_output=True)
    tls = {"key": str(key), "certificate": str(certificate), "client_ca": str(certificate)}
    server = start(tls=tls)
    target = f"localhost:{server.ready()['ports'][0]}"
    known = {"root_certificates": certificate.read_bytes()}
    mine = {"private_key": key.read_bytes(), "certificate_chain": certificate.read_bytes()}
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(**known, **mine)) as channel:
        assert call(channel) == b"hello 2"
    with (
        grpc.secure_channel(target, grpc.ssl_channel_credentials(**known)) as channel,
        pytest.raises(grpc.RpcError),
    ):
        call(channel)
