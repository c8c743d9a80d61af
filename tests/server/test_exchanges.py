"""What a request meets is the same on either engine: bodies, trailers, clients that misbehave."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.waiting import wait_for

from .small_server import SmallServer, call, everything, get, in_background, raw, refusal

MUCH = 20_000_000


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SmallServer]:
    running = SmallServer(tmp_path_factory.mktemp(request.param), request.param)
    running.ready()
    yield running
    status = running.stop()
    running.close()
    assert status == 0, running.outputs


@pytest.fixture
def port(server: SmallServer) -> int:
    return int(server.ready()["ports"][0])


@pytest.fixture
def channel(port: int) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as found:
        yield found


def told(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "/tell"))
    return found


def test_nothing_is_said_about_the_server(server: SmallServer, port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read() == b"hello 1.1"
    names = {name.lower() for name in answer.headers}
    connection.close()
    # Envoy adds the date after all that can be configured.
    assert names - {"date"} <= {"transfer-encoding", "content-length"}


def test_a_failure_in_the_only_header_block_reaches_the_caller(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        call(channel, "/refuse")
    assert (failure.value.code(), failure.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "there is none",
    )
    metadata: Any = failure.value.trailing_metadata()
    assert ("mine", "value") in metadata


def test_a_failure_after_an_empty_body_reaches_the_caller(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        call(channel, "/refuse-late")
    assert (failure.value.code(), failure.value.details()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "not you",
    )


def test_large_messages_pass_in_both_directions(channel: grpc.Channel, port: int) -> None:
    assert call(channel, "/count", bytes(MUCH)) == b"%d" % (MUCH + 5)
    assert len(get(port, "/big")) == MUCH
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for chunked in (False, True):
        body = iter([bytes(MUCH // 100)] * 100) if chunked else bytes(MUCH)
        connection.request("POST", "/count", body, encode_chunked=chunked)
        assert connection.getresponse().read() == b"%d" % MUCH
    connection.close()


def test_an_early_answer_leaves_the_other_calls_of_its_connection_alone(
    channel: grpc.Channel,
) -> None:
    others = in_background(lambda: [call(channel, "/slow"), call(channel, "/count", bytes(MUCH))])
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as failure:
            call(channel, "/refuse", bytes(MUCH))
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert others() == [b"hello 2", b"%d" % (MUCH + 5)]


def test_an_early_answer_is_read_by_a_client_that_is_still_sending(port: int) -> None:
    head = b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n"
    with raw(port, head + bytes(2_000_000)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_call_whose_request_nobody_reads_holds_up_no_other(
    channel: grpc.Channel, port: int
) -> None:
    unread = in_background(lambda: call(channel, "/count-when-told", bytes(4_000_000)))
    for _ in range(20):
        assert call(channel) == b"hello 2"
    get(port, "/let-count")
    assert unread() == b"4000005"


def test_the_application_learns_that_a_client_left(
    server: SmallServer, channel: grpc.Channel, port: int
) -> None:
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
    method = channel.unary_unary("/wait-until-left", bytes, bytes)
    waiting = method.future(b"")
    client = raw(port, b"GET /wait-until-left HTTP/1.1\r\nhost: x\r\n\r\n")
    wait_for(lambda: server.outputs["stderr"].count(b"waits for its client") == 2)
    assert told(port)["left"] == []
    waiting.cancel()
    wait_for(lambda: told(port)["left"] == ["/wait-until-left"])
    client.close()
    wait_for(lambda: told(port)["left"] == ["/wait-until-left"] * 2)


def test_a_client_that_never_reads_is_sent_no_more_than_it_has_room_for(port: int) -> None:
    client = raw(port, b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
    client.recv(10)

    def stands_still() -> bool:
        before = told(port)["flooded"]
        time.sleep(0.1)
        return bool(told(port)["flooded"] == before)

    wait_for(stands_still)
    # The kernel's buffers of both sides, and ours.
    assert 0 < told(port)["flooded"] < 30_000_000
    client.close()
    wait_for(lambda: "/flood" in told(port)["left"])


def test_a_defect_of_the_application_is_kept_from_the_caller(
    port: int, channel: grpc.Channel
) -> None:
    answer = everything(raw(port, b"GET /fail HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    with pytest.raises(grpc.RpcError) as failure:
        call(channel, "/fail")
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("request_bytes", "answers"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 1),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2 + b"GET / HTTP/1.0\r\n\r\n", 3),
        (
            b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            1,
        ),
    ],
)
def test_older_and_hastier_clients_are_answered(
    port: int, request_bytes: bytes, answers: int
) -> None:
    assert everything(raw(port, request_bytes)).count(b" 200 OK\r\n") == answers


def test_a_client_may_ask_before_it_sends_its_body(port: int) -> None:
    head = b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n"
    client = raw(port, head + b"connection: close\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
    client.sendall(b"abc")
    assert everything(client).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "nonsense",
    [b"NONSENSE\r\n\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"],
)
def test_what_is_not_http_is_refused_in_json(port: int, nonsense: bytes) -> None:
    status, answer = refusal(raw(port, nonsense))
    assert answer.pop("id")
    assert status == 400
    assert answer == {"details": "the request is not valid HTTP", "code": 400}
