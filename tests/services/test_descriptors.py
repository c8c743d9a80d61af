"""The method table as descriptors."""

from collections.abc import Iterable

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from kitfox.data import DataObjectBase, make_dataobject
from kitfox.services import Method, MethodTable, Purpose
from kitfox.services.descriptors import descriptor_set, service_files
from kitfox.services.fixed import fixed_methods


@pytest.fixture(scope="module")
def table() -> MethodTable:
    return MethodTable([*fixed_methods(), method("Ask"), method("Listen", gives=True)])


def method(
    name: str, service: str = "made.AskService", *, takes: bool = False, gives: bool = False
) -> Method:
    return Method(
        service=service,
        name=name,
        request=message("Question"),
        response=message("Answer"),
        purpose=Purpose.INFERENCE,
        input_streaming=takes,
        output_streaming=gives,
    )


def message(name: str) -> type[DataObjectBase]:
    return make_dataobject(name=name, annotations={"text": str}, package="made.data")


def names(files: Iterable[object]) -> list[str]:
    return [getattr(file, "name") for file in files]  # noqa: B009 -- of protobuf messages


def test_each_service_has_a_file_named_after_it(table: MethodTable) -> None:
    assert names(service_files(table)) == [
        "infoservice.proto",
        "modelmanagement.proto",
        "trainingmanagement.proto",
        "askservice.proto",
    ]


def test_a_service_imports_the_files_of_its_messages_sorted(table: MethodTable) -> None:
    (file,) = [file for file in service_files(table) if file.name == "askservice.proto"]
    assert list(file.dependency) == ["made.data.answer.proto", "made.data.question.proto"]
    assert file.package == "made"
    assert file.syntax == "proto3"


@pytest.mark.parametrize("takes", [False, True])
@pytest.mark.parametrize("gives", [False, True])
def test_streams_are_marked(*, takes: bool, gives: bool) -> None:
    (file,) = service_files(MethodTable([method("Do", takes=takes, gives=gives)]))
    (rpc,) = file.service[0].method
    assert (rpc.client_streaming, rpc.server_streaming) == (takes, gives)
    assert (rpc.input_type, rpc.output_type) == (".made.data.Question", ".made.data.Answer")


def test_services_of_one_name_have_different_files() -> None:
    """A library named `info` has an `InfoService` of its own."""
    table = MethodTable([*fixed_methods(), method("Ask", "caikit.runtime.Info.InfoService")])
    assert names(service_files(table))[-1] == "caikit.runtime.Info.infoservice.proto"


def test_every_file_comes_after_those_that_it_needs(table: MethodTable) -> None:
    pool = DescriptorPool()
    for file in descriptor_set(table).file:
        pool.AddSerializedFile(file.SerializeToString())  # refuses what is not there yet
    service = pool.FindServiceByName("caikit.runtime.info.InfoService")
    assert names(service.methods) == ["GetRuntimeInfo", "GetModelsInfo"]
    assert names([pool.FindFileByName("google/protobuf/struct.proto")])


def test_no_file_is_there_twice_and_the_order_is_always_the_same(table: MethodTable) -> None:
    files = descriptor_set(table)
    assert len(set(names(files.file))) == len(files.file)
    again: FileDescriptorSet = descriptor_set(table)
    assert again == files
