"""Calls that do without the event loop have the answers that the others have."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.models.queues_server import QueuesServer, queues_server
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PATH = "/api/v1/task/say"
METHOD = "/caikit.runtime.Queues.QueuesService/SayTaskPredict"
# Whoever sets a time limit is answered by the event loop.
LIMIT = {"request-timeout": "60"}
MODEL = "fox"
THREADS = 2
"""Of the model. Without a number it would be given more of them when its calls only wait."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuesServer]:
    settings = {MODEL: {"threads": THREADS}}
    with queues_server(tmp_path_factory.mktemp("quick"), settings=settings) as made:
        made.add(MODEL)
        for model in (MODEL, "selfish"):
            assert made.say(model).status == 200
        yield made


def body(text: Any, model: str = MODEL) -> dict[str, Any]:
    return {"model_id": model, "inputs": text}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(body("hello"), id="well"),
        pytest.param(body("x" * 1200), id="worth compressing"),
        pytest.param(body("x" * 60_000), id="larger"),
        pytest.param(body("x" * 2_000_000), id="large"),
        pytest.param(body("refuse"), id="an error of the model's"),
        pytest.param(body("tire 2"), id="a refusal of the model's"),
        pytest.param(body("hello", "nobody"), id="no such model"),
        pytest.param(body(7), id="wrong type"),
        pytest.param({"model_id": MODEL}, id="no inputs"),
        pytest.param({}, id="nothing said"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[" * 1000, id="deep"),
    ],
)
def test_over_rest(server: QueuesServer, sent: Any) -> None:
    quick = server.http("POST", PATH, sent, {"x-request-id": "mine"})
    other = server.http("POST", PATH, sent, {"x-request-id": "mine"} | LIMIT)
    assert quick.status == other.status
    assert {**quick.json, "where": 0} == {**other.json, "where": 0}
    assert quick.headers.keys() == other.headers.keys()
    assert quick.headers["x-request-id"] == "mine"
    wait_until_idle(server)


@pytest.mark.parametrize(
    ("message", "model"),
    [
        pytest.param(b"\x0a\x05hello", MODEL, id="well"),
        pytest.param(b"\x0a\xe0\xd4\x03" + b"x" * 60_000, MODEL, id="larger"),
        pytest.param(b"\x0a\x06refuse", MODEL, id="an error of the model's"),
        pytest.param(b"\x0a\x06tire 2", MODEL, id="a refusal of the model's"),
        pytest.param(b"\x0a\x05hello", "nobody", id="no such model"),
        pytest.param(b"\x0a\x05hello", "", id="no model"),
        pytest.param(b"", MODEL, id="no inputs"),
        pytest.param(b"\x0a\x7fx", MODEL, id="no message"),
    ],
)
def test_over_grpc(server: QueuesServer, message: bytes, model: str) -> None:
    with server.channel() as channel:
        quick, other = (outcome(channel, message, model, seconds) for seconds in (None, 60))
    assert quick == other
    wait_until_idle(server)


def wait_until_idle(server: QueuesServer) -> None:
    """Waits until no call counts: one ends a little after its answer is sent."""
    wait_for(lambda: server.show(MODEL).json["in_flight"] == 0, what="all calls to end")


def outcome(channel: grpc.Channel, message: bytes, model: str, seconds: float | None) -> Any:
    """What a call comes to: the answer up to where it ran, or the status and all its details."""
    method: Any = channel.unary_unary(METHOD)
    metadata = [("mm-model-id", model), ("x-request-id", "mine")]
    try:
        answer: bytes = method(message, metadata=metadata, timeout=seconds)
    except grpc.RpcError as error:
        failed: Any = error
        return failed.code(), failed.details(), sorted(failed.trailing_metadata())
    return answer[: len(message)]


def test_an_event_loop_that_is_kept_holds_up_none(server: QueuesServer, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    with ThreadPoolExecutor(1) as pool, server.channel() as channel:
        selfish = pool.submit(server.say, "selfish", f"hold {gate} {begun}")
        wait_for(begun.exists)
        try:
            for number in range(20):
                assert server.say(MODEL, f"word {number}").json["text"] == f"word {number}"
                assert outcome(channel, b"\x0a\x05hello", MODEL, None) == b"\x0a\x05hello"
        finally:
            gate.touch()
        assert selfish.result().status == 200


def test_a_call_that_is_given_up_while_it_waits_is_not_run(
    server: QueuesServer, tmp_path: Path
) -> None:
    gate, begun, never = tmp_path / "gate", tmp_path / "begun", tmp_path / "never"
    calls = 64

    def are_held() -> bool:
        now = server.show(MODEL).json
        return (now["in_flight"], now["queue_length"]) == (calls, calls - THREADS)

    with ThreadPoolExecutor(calls) as pool, server.channel() as channel:
        held = [pool.submit(server.say, MODEL, f"hold {gate} {begun}") for _ in range(calls)]
        wait_for(are_held, what="all threads of the model to be taken")
        text = f"hold {gate} {never}".encode()
        message = b"\x0a" + bytes([len(text) & 127 | 128, len(text) >> 7]) + text
        method: Any = channel.unary_unary(METHOD)
        waiting = method.future(message, metadata=[("mm-model-id", MODEL)])
        wait_for(lambda: server.show(MODEL).json["in_flight"] == calls + 1)
        waiting.cancel()
        wait_for(lambda: server.show(MODEL).json["in_flight"] == calls)
        gate.touch()
        assert all(call.result().status == 200 for call in held)
    assert not never.exists()
    wait_until_idle(server)
