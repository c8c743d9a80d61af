"""Reflection, asked directly and by the stock client over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # it has no types
    reflection_pb2,
    reflection_pb2_grpc,
)
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped] # as above
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import given
from hypothesis import strategies as st

from kitfox.data import codec_of
from kitfox.errors import DeadlineExceeded, ValidationError
from kitfox.modules import RequestContext
from kitfox.services import MethodTable
from kitfox.services.fixed import fixed_methods
from kitfox.services.protocols import health_methods, reflection_methods
from kitfox.services.reflection import Descriptions, Reflection
from tests.conftest import ROOT, Server

V1, V1ALPHA = reflection_methods()
TABLE = MethodTable([*fixed_methods(), *health_methods(), V1, V1ALPHA])
DESCRIPTIONS = Descriptions(TABLE)
NOT_FOUND, INVALID_ARGUMENT = 5, 3


async def ask_all(requests: list[bytes]) -> list[bytes]:
    async def stream() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    codecs = codec_of(V1ALPHA.request), codec_of(V1ALPHA.response)
    answers = Reflection(V1ALPHA, DESCRIPTIONS)(
        stream(), RequestContext(), decode=codecs[0].decode_fields, encode=codecs[1].encode
    )
    return [item async for batch in answers for item in batch]


def ask(**question: Any) -> Any:
    """The answer to one question, as the stock client reads it."""
    request = reflection_pb2.ServerReflectionRequest(**question).SerializeToString()
    (answer,) = asyncio.run(ask_all([request]))
    return reflection_pb2.ServerReflectionResponse.FromString(answer)


def files(answer: Any) -> dict[str, FileDescriptorProto]:
    made = [
        FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert len({file.name for file in made}) == len(made)
    return {file.name: file for file in made}


@pytest.mark.parametrize(
    ("symbol", "home"),
    [
        ("caikit.runtime.info.InfoService", "infoservice.proto"),
        ("caikit.runtime.info.InfoService.GetModelsInfo", "infoservice.proto"),
        (
            "caikit_data_model.common.runtime.ModelInfo",
            "caikit_data_model.common.runtime.modelinfo.proto",
        ),
        (
            "caikit_data_model.common.runtime.ModelInfo.name",
            "caikit_data_model.common.runtime.modelinfo.proto",
        ),
        ("caikit_data_model.common.JobStatus", "caikit_data_model.common.jobstatus.proto"),
        ("caikit_data_model.common.COMPLETED", "caikit_data_model.common.jobstatus.proto"),
        ("grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
        ("grpc.health.v1.HealthListResponse.StatusesEntry", "grpc/health/v1/health.proto"),
        (
            "grpc.reflection.v1.ServerReflectionRequest.message_request",
            "grpc/reflection/v1/reflection.proto",
        ),
        ("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"),
        ("mmesh.RuntimeStatusResponse.Status", "model-runtime.proto"),
        ("processproto.Process.Run", "process.proto"),
        ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
    ],
)
def test_what_has_a_name_is_found_in_its_file(symbol: str, home: str) -> None:
    answer = ask(file_containing_symbol=symbol)
    assert next(iter(files(answer))) == home
    assert answer.original_request.file_containing_symbol == symbol


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "caikit.runtime.info",
        "caikit.runtime.info.InfoService.No",
        "caikit.runtime.info.InfoService.GetModelsInfo.x",
        "caikit_data_model.common.runtime.ModelInfo.no",
        "grpc.health.v1.HealthCheckResponse.ServingStatus.no",
        "Ünbekannt\0",
    ],
)
def test_what_is_not_there_is_an_answer_and_no_failure(name: str) -> None:
    for question in ("file_containing_symbol", "file_by_filename", "all_extension_numbers_of_type"):
        answer = ask(**{question: name})
        assert answer.error_response.error_code == NOT_FOUND
        assert name in answer.error_response.error_message or not name.isprintable()


def test_a_file_comes_with_all_that_it_needs() -> None:
    found = files(ask(file_by_filename="infoservice.proto"))
    pool = DescriptorPool()

    def add(file: FileDescriptorProto) -> None:
        for name in file.dependency:
            add(found[name])
        pool.AddSerializedFile(file.SerializeToString())

    for file in found.values():
        add(file)
    service = pool.FindServiceByName("caikit.runtime.info.InfoService")
    assert [method.name for method in service.methods] == ["GetRuntimeInfo", "GetModelsInfo"]


def test_there_are_no_extensions() -> None:
    answer = ask(all_extension_numbers_of_type="mmesh.ModelSizeRequest")
    assert answer.all_extension_numbers_response.base_type_name == "mmesh.ModelSizeRequest"
    assert not answer.all_extension_numbers_response.extension_number
    for message in ("mmesh.ModelSizeRequest", "mmesh.Nothing"):
        question = reflection_pb2.ExtensionRequest(containing_type=message, extension_number=7)
        answer = ask(file_containing_extension=question)
        assert answer.error_response.error_code == NOT_FOUND
        assert message in answer.error_response.error_message


def test_a_request_for_nothing_leaves_the_stream_going() -> None:
    requests = [b"", reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()]
    first, second = map(
        reflection_pb2.ServerReflectionResponse.FromString, asyncio.run(ask_all(requests))
    )
    assert first.error_response.error_code == INVALID_ARGUMENT
    assert second.list_services_response.service


def test_the_host_and_the_question_come_back() -> None:
    question = {"host": "here.example", "list_services": "*"}
    answer = ask(**question)
    assert answer.valid_host == "here.example"
    assert answer.original_request == reflection_pb2.ServerReflectionRequest(**question)


def test_the_newer_version_lists_everything_and_the_older_what_caikit_does() -> None:
    every = DESCRIPTIONS.services()
    assert every == sorted(TABLE.services())
    ours = {
        *("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"),
        *("kitfox.models.Models", "kitfox.trainings.Trainings", "processproto.Process"),
    }
    assert set(DESCRIPTIONS.services_of_caikit()) == set(every) - ours


@pytest.mark.parametrize("method", [V1, V1ALPHA])
def test_the_messages_are_those_of_the_generated_code(method: Any) -> None:
    known = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].methods[0]
    package = method.service.rpartition(".")[0]
    for cls, message in ((method.request, known.input_type), (method.response, known.output_type)):
        assert cls.full_name == f"{package}.{message.name}"
        assert cls.fields == tuple(field.name for field in message.fields)
    made, theirs = FileDescriptorProto(), FileDescriptorProto()
    method.request.get_proto_class().DESCRIPTOR.file.CopyToProto(made)
    reflection_pb2.DESCRIPTOR.CopyToProto(theirs)
    text = str(theirs.message_type).replace("v1alpha", package.rpartition(".")[2])
    assert str(made.message_type) == text


def test_a_client_that_asks_nothing_is_not_waited_for() -> None:
    """It has had its first answer; tools open a new stream for their next question."""
    answered = []

    async def stream() -> AsyncIterator[bytes]:
        yield reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        await asyncio.Event().wait()

    async def run() -> None:
        codecs = codec_of(V1.request), codec_of(V1.response)
        reflection = Reflection(V1, DESCRIPTIONS, idle_seconds=0.05)
        answers = reflection(
            stream(), RequestContext(), decode=codecs[0].decode_fields, encode=codecs[1].encode
        )
        async for batch in answers:
            answered.extend(batch)

    with pytest.raises(DeadlineExceeded, match=r"no question came for 0\.05 s"):
        asyncio.run(asyncio.wait_for(run(), 30))
    assert len(answered) == 1


@given(st.binary(max_size=40))
def test_whatever_bytes_come_the_answer_is_an_answer_or_a_refusal(data: bytes) -> None:
    try:
        answers = asyncio.run(ask_all([data]))
    except ValidationError:
        return
    for answer in answers:
        reflection_pb2.ServerReflectionResponse.FromString(answer)


# -- over the wire


@pytest.fixture(scope="module")
def channel(each_server: Server) -> Iterator[grpc.Channel]:
    with each_server.channel() as made:
        yield made


def list_services(channel: grpc.Channel, version: str) -> list[str]:
    """The stock client's messages, which both versions share on the wire."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=60)
    (answer,) = call
    return [item.name for item in answer.list_services_response.service]


def recorded_services() -> list[str]:
    path = ROOT / "tests" / "golden" / "example" / "golden" / "exchanges.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        exchange = json.loads(line)
        if exchange["id"] == "grpc-reflection-services":
            data = bytes.fromhex(exchange["response"]["messages"][0]["hex"])
            answer = reflection_pb2.ServerReflectionResponse.FromString(data)
            return [item.name for item in answer.list_services_response.service]
    raise AssertionError(path)


def test_the_older_version_lists_what_was_recorded(channel: grpc.Channel) -> None:
    assert list_services(channel, "v1alpha") == recorded_services()


def test_the_newer_version_lists_everything(channel: grpc.Channel) -> None:
    assert list_services(channel, "v1") == sorted(
        [
            *recorded_services(),
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "kitfox.models.Models",
            "kitfox.trainings.Trainings",
            "processproto.Process",
        ]
    )


def test_reflection_has_no_metadata_of_inference(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]), timeout=60)
    list(call)
    assert "acknowledgement" not in dict(call.initial_metadata())


def test_the_stock_client_calls_a_method_it_has_only_heard_of(channel: grpc.Channel) -> None:
    """The walk of tools such as grpcurl: list, describe, make a message, call."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "caikit.runtime.Example.ExampleService" in database.get_services()
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("caikit.runtime.Example.ExampleService")
    method = service.FindMethodByName("HelloWorldTaskPredict")
    request, response = (GetMessageClass(item) for item in (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    answer: Any = call(
        request(text_input={"name": "Reflection"}),
        metadata=(("mm-model-id", "example"),),
        timeout=60,
    )
    assert answer.greeting == "Hello Reflection"


@pytest.mark.parametrize("message", ["", "HealthListResponse"])
def test_the_stock_client_finds_the_files_of_health(message: str, channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    if message:
        found: Any = pool.FindMessageTypeByName(f"grpc.health.v1.{message}")
    else:
        found = pool.FindServiceByName("grpc.health.v1.Health")
    assert found.file.name == "grpc/health/v1/health.proto"
