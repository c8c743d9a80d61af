"""Clients that know nothing of Python: two gRPC implementations of Node's."""

from typing import Any

import pytest

from tests.conformance.node import Node
from tests.conftest import Server

NOT_FOUND = {"code": "NOT_FOUND", "details": True}
GRPC_JS: dict[str, Any] = {
    "unary": {"text": "hello", "number": 0},
    "unary, asynchronous": {"text": "a", "number": 0},
    "server stream": [{"text": "w", "number": number} for number in range(3)],
    "server stream, asynchronous": [{"text": "w", "number": number} for number in range(2)],
    "client stream": {"text": "a-b", "number": 2},
    "client stream, asynchronous": {"text": "a", "number": 1},
    "bidirectional": [{"text": text, "number": number} for number, text in enumerate("ABC")],
    "bidirectional, asynchronous": [
        {"text": text, "number": number} for number, text in enumerate("AB")
    ],
    "unknown model": NOT_FOUND,
    "no model": {"code": "INVALID_ARGUMENT", "details": True},
    "failure in a stream": {
        "words": [{"text": "w", "number": 0}],
        "code": "INVALID_ARGUMENT",
        "details": True,
    },
    "deadline": {"code": "DEADLINE_EXCEEDED", "details": True},
    "deadline in a stream": {"code": "DEADLINE_EXCEEDED", "some": True},
    "cancellation": {"code": "CANCELLED", "words": 2},
    "metadata": {"text": "blue", "number": 0},
    "binary metadata": {"text": "AAH+/w==", "number": 0},
    "compression": {"length": 5000},
    "too large": {"code": "RESOURCE_EXHAUSTED", "details": True},
    "unknown method": {"code": "UNIMPLEMENTED", "details": True},
    "many at a time": True,
}
CONNECT: dict[str, Any] = {
    "unary": {"text": "hello", "number": 0},
    "server stream": [{"text": "w", "number": 0}, {"text": "w", "number": 1}],
    "client stream": {"text": "a b", "number": 2},
    "bidirectional": [{"text": "A", "number": 0}, {"text": "B", "number": 1}],
    "unknown model": "NotFound",
    "failure in a stream": {"words": [{"text": "w", "number": 0}], "code": "InvalidArgument"},
    "deadline": "DeadlineExceeded",
    "cancellation": "Canceled",
    "compression": {"text": "z", "number": 0},
    "gRPC-Web": {"text": "hello", "number": 0},
    "gRPC-Web, server stream": [{"text": "w", "number": 0}, {"text": "w", "number": 1}],
    "gRPC-Web, unknown model": "NotFound",
}


@pytest.fixture(scope="module")
def grpc_js(node: Node, shapes: Server) -> Any:
    return node.run("grpc_js.cjs", shapes.address, str(node.protos))


@pytest.fixture(scope="module")
def connect_node(node: Node, shapes: Server) -> Any:
    return node.run("connect_node.cjs", shapes.address)


@pytest.mark.parametrize("call", GRPC_JS)
def test_stubs_that_grpc_js_makes_of_our_files(grpc_js: dict[str, Any], call: str) -> None:
    assert grpc_js[call] == GRPC_JS[call]


@pytest.mark.parametrize("call", CONNECT)
def test_stubs_that_were_generated_for_connect(connect_node: dict[str, Any], call: str) -> None:
    assert connect_node[call] == CONNECT[call]
