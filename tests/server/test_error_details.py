"""The details of a failure, as the stock libraries read them."""

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import (  # type: ignore[import-untyped] # it has no types
    error_details_pb2,
    status_pb2,
)
from grpc_health.v1 import (  # type: ignore[import-untyped] # as above
    health_pb2,
    health_pb2_grpc,
)
from grpc_status import rpc_status  # type: ignore[import-untyped] # as above
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import (
    Code,
    FieldError,
    Internal,
    InvalidArgument,
    KitfoxError,
    ModelNotFound,
    ResourceExhausted,
    ValidationError,
)
from kitfox.server.answers import send_failure
from kitfox.server.error_details import status_details
from tests.conftest import Server

PREDICT = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"

texts = st.text(max_size=30)
paths = st.lists(st.text("abc", min_size=1) | st.integers(0, 99), max_size=4).map(tuple)
field_errors = st.builds(FieldError, path=paths, message=texts, kind=st.just("type"))


def read(data: bytes) -> tuple[status_pb2.Status, list[Any]]:
    """The status and its details, with the messages that Google made for them."""
    status = status_pb2.Status.FromString(data)
    details: list[Any] = []
    for item in status.details:
        found = error_details_pb2.BadRequest() if not details else error_details_pb2.RequestInfo()
        assert item.Unpack(found)
        details.append(found)
    return status, details


@given(st.lists(field_errors, min_size=1, max_size=5))
def test_each_field_at_fault_is_a_violation(fields: list[FieldError]) -> None:
    failure = ValidationError(fields)
    data = status_details(failure, "a1b2")
    wanted = [(item.where, item.message, "TYPE") for item in fields if item.path]
    if data is None:
        assert not wanted
        return
    status, (request, info) = read(data)
    assert status.code == Code.INVALID_ARGUMENT
    assert status.message == failure.message
    found = [(item.field, item.description, item.reason) for item in request.field_violations]
    assert found == wanted
    assert info.request_id == "a1b2"


@pytest.mark.parametrize(
    "failure",
    [
        InvalidArgument("wrong"),
        Internal("a defect"),
        ResourceExhausted("the message is too large"),
        ModelNotFound("fox"),
        KitfoxError("odd", code=Code.ABORTED),
        ValidationError.at((), "no message at all"),
    ],
)
def test_other_failures_have_none(failure: KitfoxError) -> None:
    assert status_details(failure, "a1b2") is None


@pytest.mark.parametrize("seconds", [0.25, 1.0, 90.5])
def test_who_reached_a_limit_learns_when_to_try_again(seconds: float) -> None:
    """Over both protocols, in their own words."""
    failure = ResourceExhausted("the queue is full", seconds)
    status = status_pb2.Status.FromString(status_details(failure, "a1b2"))
    assert (status.code, status.message) == (Code.RESOURCE_EXHAUSTED, "the queue is full")
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
    assert status.details[0].Unpack(retry)
    assert status.details[1].Unpack(info)
    assert retry.retry_delay.ToMilliseconds() == seconds * 1000
    assert info.request_id == "a1b2"

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_failure(send, failure, "a1b2"))
    assert sent[0]["status"] == 429
    assert dict(sent[0]["headers"])[b"retry-after"] == b"%d" % max(1, math.ceil(seconds))


@pytest.mark.parametrize("count", [1, 10, 30, 100, 10_000])
def test_they_never_outgrow_a_trailer(count: int) -> None:
    """A client drops a call with too large headers: better fewer details, or none."""
    failure = ValidationError(
        [FieldError(path=("values", index), message="expected an int") for index in range(count)]
    )
    data = status_details(failure, "a1b2")
    if data is None:
        assert len(failure.message) > 1000
        return
    assert len(data) <= 3072
    _, (request, _) = read(data)
    fields = [item.field for item in request.field_violations]
    assert fields == [f"values[{index}]" for index in range(len(fields))]


@pytest.fixture(scope="module")
def channel(each_server: Server) -> Iterator[grpc.Channel]:
    with each_server.channel() as made:
        yield made


def fail(channel: grpc.Channel, data: bytes) -> Any:
    call: Any = channel.unary_unary(PREDICT)
    metadata = (("mm-model-id", "example"), ("x-request-id", "a1b2"))
    with pytest.raises(grpc.RpcError) as caught:
        call(data, metadata=metadata, timeout=60)
    return caught.value


def test_the_stock_client_reads_them(channel: grpc.Channel) -> None:
    status = rpc_status.from_call(fail(channel, b"\x0a\x03\x0a\x01\xff"))
    request, info = error_details_pb2.BadRequest(), error_details_pb2.RequestInfo()
    assert status.details[0].Unpack(request)
    assert status.details[1].Unpack(info)
    (violation,) = request.field_violations
    assert (violation.field, violation.reason) == ("text_input.name", "UTF8")
    assert info.request_id == "a1b2"


@pytest.mark.parametrize("letter", ["x", "%", "é", "🦊"])
@pytest.mark.parametrize("length", [100, 1000, 3000, 100_000])
def test_a_long_message_is_shortened_for_its_trailer(
    letter: str, length: int, channel: grpc.Channel
) -> None:
    name = letter * length
    call = health_pb2_grpc.HealthStub(channel).Check
    with pytest.raises(grpc.RpcError) as caught:
        call(health_pb2.HealthCheckRequest(service=name), timeout=60)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    details = caught.value.details() or ""
    assert details.startswith("'" + letter * 100)
    whole = f"'{name}'" in details and details.endswith("model:<id>")
    assert whole != details.endswith(" [...]")


def test_a_plain_failure_has_no_such_trailer(channel: grpc.Channel) -> None:
    failure = fail(channel, b"")
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert rpc_status.from_call(failure) is None
