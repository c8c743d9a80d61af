"""The code of a data object that exits fails its own request, and no other."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.conftest import Server

pytestmark = pytest.mark.slow

PATH = "/api/v1/task/hello-world"
METHOD = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
EXITS = """
    name: str

    def __post_init__(self) -> None:
        if self.name == "exit":
            raise SystemExit(3)
        if self.name == "stop":
            raise KeyboardInterrupt
"""


@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_others_are_answered(make_server: Callable[..., Server], engine: str) -> None:
    server = make_server(SERVER_ENGINE=engine)
    file = server.project / "example" / "data_model" / "hello_world.py"
    file.write_text(file.read_text().replace("\n    name: str\n", EXITS, 1))
    server.start()

    def greet(name: str, **headers: str) -> int:
        body = {"model_id": "example", "inputs": {"name": name}}
        return server.http("POST", PATH, body, headers).status

    # A time limit, or the first call of all, is for the event loop; the others are quick calls.
    for headers in ({}, {}, {"request-timeout": "60"}):
        assert greet("World", **headers) == 200
        assert greet("exit", **headers) == 500
        assert greet("stop", **headers) == 500
    with server.channel() as channel:
        method: Any = channel.unary_unary(METHOD)
        metadata = (("mm-model-id", "example"),)
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as failed:
                method(b"\x0a\x06\x0a\x04exit", metadata=metadata)
            error: Any = failed.value
            assert error.code() is grpc.StatusCode.INTERNAL
            assert b"World" in method(b"\x0a\x07\x0a\x05World", metadata=metadata)
