"""`server.max_engine_size` counts the answers that clients do not take, and nothing else."""

import http.client
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from kitfox.server._admin import AdminError
from kitfox.server._engine_size import EngineSize
from tests.conftest import Server

slow = pytest.mark.slow

LIMIT = 4 << 20
PATH = "/api/v1/task/hello-world"
LARGE = f"""
        self.weights = b"w" * {16 * LIMIT}
"""


def greet(server: Server, name: str) -> int:
    return server.http("POST", PATH, {"model_id": "example", "inputs": {"name": name}}).status


@slow
@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_a_model_may_be_larger(make_server: Callable[..., Server], engine: str) -> None:
    server = make_server(SERVER_ENGINE=engine, SERVER_MAX_ENGINE_SIZE=str(LIMIT))
    file = server.project / "example" / "runtime_model" / "hello_world.py"
    begins = "\n        super().__init__()\n"
    assert begins in file.read_text()
    file.write_text(file.read_text().replace(begins, begins + LARGE))
    server.start()
    # Engines look at what they hold now and then.
    for _ in range(15):
        assert greet(server, "World") == 200
        time.sleep(0.1)


@slow
@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_connections_may_idle_after_large_requests(
    make_server: Callable[..., Server], engine: str
) -> None:
    server = make_server(SERVER_ENGINE=engine, SERVER_MAX_ENGINE_SIZE=str(LIMIT)).start()
    body = b'{"model_id": "example", "inputs": {"name": "%b"}}' % (b"x" * 1_000_000)
    headers = {"content-type": "application/json"}
    with ExitStack() as stack:
        for _ in range(3 * LIMIT // len(body)):
            connection = http.client.HTTPConnection(server.address, timeout=60)
            stack.enter_context(closing(connection))
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            assert answer.status == 200
            assert len(answer.read()) > 1_000_000
        for _ in range(15):
            assert greet(server, "World") == 200
            time.sleep(0.1)


class Reluctant:
    """An administration interface that does what it is told, and sometimes does not say so."""

    def __init__(self) -> None:
        self.holds = 0
        self.answers = True
        self.told: list[int] = []

    def held(self, prefix: str) -> int:
        return self.holds

    def set(self, key: str, value: int) -> None:
        self.told.append(value)
        if not self.answers:
            raise AdminError("timed out")


def test_what_was_told_without_an_answer_is_told_again() -> None:
    admin, log = Reluctant(), []
    size = EngineSize(admin, LIMIT, lambda level, text: log.append((level, text)))  # type: ignore[arg-type] # as much as is needed of it

    def look() -> None:
        time.sleep(size.look())
        size.look()

    look()
    assert admin.told == []
    admin.holds, admin.answers = LIMIT + 1, False
    look()
    admin.holds, admin.answers = 0, True
    look()
    assert admin.told[0] == 100
    assert admin.told[-1] == 0
    told = len(admin.told)
    look()
    assert len(admin.told) == told
    assert {level for level, _ in log} == {"debug"}


def test_who_looks_after_it_is_told_once() -> None:
    admin, log = Reluctant(), []
    size = EngineSize(admin, LIMIT, lambda level, text: log.append((level, text)))  # type: ignore[arg-type] # as much as is needed of it
    for holds in (LIMIT + 1, 0, LIMIT + 1, 0):
        admin.holds = holds
        time.sleep(size.look())
        size.look()
    assert admin.told == [100, 0, 100, 0]
    assert [level for level, _ in log] == ["warning"]
    assert "server.max_engine_size" in log[0][1]
