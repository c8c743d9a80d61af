"""Headers past a limit are refused in the caller's own protocol, which says which limit it was."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.server.shapes import ShapesServer, model, request

TOO_LARGE = (
    "the request's headers take more than 8192 bytes together (setting server.max_header_size)"
)
TOO_MANY = "the request has more than 50 headers (setting server.max_headers)"
CASES = pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"a": "x" * 9000}, TOO_LARGE),
        ({f"a{number}": "x" for number in range(60)}, TOO_MANY),
    ],
)


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShapesServer]:
    made = ShapesServer.make(
        tmp_path_factory.mktemp("shapes"),
        SERVER_ENGINE=request.param,
        SERVER_MAX_HEADER_SIZE="8192",
        SERVER_MAX_HEADERS="50",
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log


def request_id(error: Any) -> str | None:
    """What the refusal of a gRPC call says of its id."""
    metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
    return dict(metadata).get("x-request-id")


def test_a_method_that_is_not_there_is_refused_under_the_id_of_the_request(
    server: ShapesServer,
) -> None:
    with server.channel() as opened:
        channel: Any = opened
        for path in ("/no.such.Service/Method", "/grpc.health.v1.Health/Nonsense"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", metadata=(("x-request-id", "mine"),), timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert request_id(caught.value) == "mine"
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", timeout=60)
            assert request_id(caught.value) is None


@CASES
def test_over_grpc(server: ShapesServer, headers: dict[str, str], sentence: str) -> None:
    with server.channel() as channel:
        one = server.method(channel, "one")
        sent = model("plain", ("x-request-id", "mine"), *headers.items())
        with pytest.raises(grpc.RpcError) as caught:
            one(request("one", text="fox"), metadata=sent, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == sentence
        assert request_id(caught.value) == "mine"
        fits = model("plain", ("a", "x" * 7000))
        assert one(request("one", text="fox"), metadata=fits, timeout=60).text == "fox"


@CASES
def test_over_rest(server: ShapesServer, headers: dict[str, str], sentence: str) -> None:
    answer = server.http("GET", "/info/version", headers=headers)
    assert (answer.status, answer.json["details"]) == (431, sentence)
    names = {name.lower(): value for name, value in answer.headers.items()}
    assert names["x-request-id"] == answer.json["id"]
    assert server.http("GET", "/info/version", headers={"a": "x" * 7000}).status == 200
