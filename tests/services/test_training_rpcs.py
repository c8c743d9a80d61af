"""The calls that look after trainings over gRPC, by a client that knows nothing but reflection."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped] # it has no types
    ProtoReflectionDescriptorDatabase,
)

from tests.services.courses import CoursesServer, Hold, courses

pytestmark = pytest.mark.slow


class StockClient:
    """Calls what a server's reflection describes."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        found = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(found)
        (training,) = (name for name in found.get_services() if name.endswith("TrainingService"))
        self._methods = {
            method.name: method
            for name in (training, "kitfox.trainings.Trainings")
            for method in pool.FindServiceByName(name).methods
        }

    def call(self, rpc: str, metadata: dict[str, str] | None = None, /, **fields: Any) -> Any:
        """The answer to one call."""
        method = self._methods[rpc]
        request = ParseDict(fields, GetMessageClass(method.input_type)())
        perform = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return perform(request, metadata=tuple((metadata or {}).items()), timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    with courses(tmp_path_factory.mktemp("courses")) as running:
        yield running


@pytest.fixture
def client(server: CoursesServer) -> Iterator[StockClient]:
    with server.channel() as channel:
        yield StockClient(channel)


def train(client: StockClient, metadata: dict[str, str] | None = None, **parameters: Any) -> str:
    lines = {"jsondata": {"data": [{"text": "one"}]}}
    answer = client.call(
        "ReciteTaskPupilTrain",
        metadata,
        model_name="m",
        parameters={"lines": lines, **parameters},
    )
    return str(answer.training_id)


def refusal(client: StockClient, rpc: str, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        client.call(rpc, **fields)
    return caught.value.code(), caught.value.details() or ""


def test_a_failed_training_is_taken_up_again(server: CoursesServer, client: StockClient) -> None:
    failed = train(client, end="fail")
    server.ended(failed, "ERRORED")
    again = client.call("Retry", training_id=failed)
    assert again.retry_of == failed
    assert server.ended(again.training_id, "ERRORED")["parameters"]["end"] == "fail"
    code, details = refusal(client, "Retry", training_id="nope")
    assert (code, details) == (grpc.StatusCode.NOT_FOUND, "Unknown training_id: nope")


def test_a_training_is_repeated_with_changes(server: CoursesServer, client: StockClient) -> None:
    first = train(client)
    server.ended(first)
    changes = {"training_id": first, "model_name": "other", "parameters": {"steps": 1}}
    again = client.call("Repeat", {"kitfox-priority": "-3"}, **changes)
    assert (again.again_of, again.model_name, again.priority) == (first, "other", -3)
    assert server.ended(again.training_id)["parameters"]["steps"] == 1
    code, details = refusal(client, "Repeat", **{**changes, "parameters": {"pace": 1}})
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "pace" in details
    code, details = refusal(client, "Retry", training_id=first)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "repeat it" in details


def test_a_training_is_pinned_read_and_deleted(server: CoursesServer, client: StockClient) -> None:
    training = train(client, steps=3)
    server.ended(training)
    assert client.call("Pin", training_id=training, pinned=True).pinned is True
    code, details = refusal(client, "Delete", training_id=training)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "pinned" in details
    assert client.call("Pin", training_id=training, pinned=False).pinned is False
    whole = client.call("Log", training_id=training)
    assert "step 3\n" in whole.text
    rest = client.call("Log", training_id=training, offset=whole.next_offset - 7, limit=100)
    assert (rest.text, rest.next_offset) == (whole.text[-7:], whole.next_offset)
    place = Path(server.show(training)["path"])
    client.call("Delete", training_id=training)
    assert not place.exists()
    for rpc in ("Show", "Log", "Delete"):
        assert refusal(client, rpc, training_id=training)[0] is grpc.StatusCode.NOT_FOUND


def test_options_come_in_metadata(
    server: CoursesServer, client: StockClient, tmp_path: Path
) -> None:
    options = {"kitfox-priority": "-5", "kitfox-retries": "1", "kitfox-promote": "false"}
    shown = server.ended(train(client, options, end="die"), "ERRORED")
    assert (shown["priority"], shown["retries"], shown["attempt"]) == (-5, 1, 2)
    assert shown["promotion"] is None
    hold = Hold(tmp_path / "hold")
    wanted = train(client, {"kitfox-promote": "true"}, hold=str(hold))
    assert server.show(wanted)["promotion"] == "wanted"
    hold.release()
    server.ended(wanted)
    for name, value in (("kitfox-priority", "high"), ("kitfox-retries", "-1")):
        with pytest.raises(grpc.RpcError) as caught:
            train(client, {name: value})
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        details = caught.value.details() or ""
        assert name in details
        assert repr(value) in details
