"""Envoy is started, replaced and stopped without losing work."""

import os
import signal
import socket
import time

import pytest

from kitfox.server import envoy
from kitfox.server.options import Listener, Options
from kitfox.server.supervisor import Supervisor
from tests.waiting import wait_for

from .conftest import Start
from .small_server import accepts, get


def test_what_the_application_writes_passes_unchanged(start: Start) -> None:
    server = start()
    get(server.ready()["ports"][1], "/noise")
    server.heard("noise on stderr\nand no end of line")
    wait_for(lambda: b"noise on stdout\n" in server.outputs["stdout"])


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("def start(): os.kill(os.getpid(), 11)", "Envoy was killed by SIGSEGV"),
        ("def start(): os._exit(3)", "Envoy ended with exit status 3"),
    ],
)
def test_an_envoy_that_ends_during_the_start_is_not_replaced(
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
    options = Options(listeners=(Listener(name="http"),))
    assert Supervisor(options, log=lambda _, message: said.append(message)).run() == 1
    assert len(said) == 1
    assert "needs libpython3" in said[0]


@pytest.mark.slow
def test_an_envoy_that_is_slow_to_answer_is_drained_as_well(start: Start) -> None:
    server = start()
    ready = server.ready()
    with socket.create_connection(("127.0.0.1", ready["ports"][1])) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        read = len(client.recv(1000))
        os.kill(ready["pid"], signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        os.kill(ready["pid"], signal.SIGCONT)
        while data := client.recv(1 << 20):
            read += len(data)
    assert read > 20_000_000
    assert server.end() == 0
    assert "without draining" not in str(server.said)


def test_an_envoy_that_dies_is_replaced_on_the_same_ports(start: Start) -> None:
    server = start()
    first = server.ready()
    os.kill(first["pid"], signal.SIGKILL)
    second = server.ready(2)
    assert second["pid"] != first["pid"]
    assert second["ports"] == first["ports"]
    assert get(second["ports"][1]) == b"hello 1.1"
    assert "Envoy was killed by SIGKILL" in server.errors[0]


@pytest.mark.slow
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
