"""The messages of the recorded library are, byte for byte, what was recorded."""

from functools import cache
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from kitfox.data import (
    BoolSequence,
    DataObjectBase,
    Directory,
    File,
    FileReference,
    FloatSequence,
    IntSequence,
    JsonDict,
    ListOfFileReferences,
    S3Base,
    S3Files,
    S3Path,
    StrSequence,
    make_dataobject,
)
from tests.data.conftest import KINDS

NAMES = [
    "Base",
    "ChoiceLists",
    "Choices",
    "Defaults",
    "Derived",
    "Empty",
    "EnumList",
    "Lists",
    "Maps",
    "Named",
    "NoPackage",
    "Numbered",
    "Optionals",
    "Outer",
    "Point",
    "Scalars",
    "Seen",
]


@cache
def recorded() -> dict[str, FileDescriptorProto]:
    """The recorded files by name."""
    files = FileDescriptorSet.FromString((KINDS / "descriptors.binpb").read_bytes())
    return {file.name: file for file in files.file}


def described(descriptor: Any) -> FileDescriptorProto:
    """The file of a descriptor as the recording has it.

    The recording lacks the flag of `optional` fields and JSON names, which do not change a byte on
    the wire; its `.proto` files do say `optional`.
    """
    file = FileDescriptorProto()
    descriptor.file.CopyToProto(file)
    for message in file.message_type:
        for owner in (message, *message.nested_type):
            for field in owner.field:
                field.ClearField("proto3_optional")
                field.ClearField("json_name")
    return file


def recorded_file(name: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    file.CopyFrom(recorded()[name])
    return file


def assert_recorded(cls: type[DataObjectBase]) -> None:
    made = described(cls.get_proto_class().DESCRIPTOR)
    assert made == recorded_file(made.name)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_object_has_the_recorded_message(kinds: ModuleType, name: str) -> None:
    assert_recorded(getattr(kinds, name))


def test_a_nested_class_is_a_message_of_its_package(kinds: ModuleType) -> None:
    assert_recorded(kinds.Outer.Inner)


@pytest.mark.parametrize("name", ["Color", "Level"])
def test_an_enum_has_the_recorded_enum(kinds: ModuleType, name: str) -> None:
    made = described(getattr(kinds, name).get_proto_class())
    assert made == recorded_file(made.name)


@pytest.mark.parametrize(
    "cls",
    [
        BoolSequence,
        Directory,
        File,
        FileReference,
        FloatSequence,
        IntSequence,
        ListOfFileReferences,
        S3Base,
        S3Files,
        S3Path,
        StrSequence,
    ],
)
def test_a_shared_message_is_the_recorded_one(cls: type[DataObjectBase]) -> None:
    assert_recorded(cls)


def test_a_request_message_can_be_made_from_the_parameters_of_a_method(kinds: ModuleType) -> None:
    """Parameters with a default are `optional`; lists in unions use the shared sequences."""
    annotations = {
        "name": str,
        "text": str,
        "whole": int,
        "real": float,
        "flag": bool,
        "raw": bytes,
        "texts": list[str],
        "wholes": list[int],
        "table": dict[str, int],
        "anything": JsonDict,
        "maybe": str,
        "either": int | str,
        "point": kinds.Point | None,
        "either_list": list[str] | list[int],
        "untyped": str,
    }
    request = make_dataobject(
        name="DescribeTaskRequest",
        annotations=annotations,
        package="caikit.runtime.Kinds",
        optional=set(annotations) - {"name"},
        shared_sequences=True,
    )
    assert_recorded(request)


def test_a_required_parameter_is_plain_even_if_it_may_be_none() -> None:
    request = make_dataobject(
        name="PlainRequest", annotations={"text": str | None}, package="plain", optional=set()
    )
    (field,) = request.get_proto_class().DESCRIPTOR.fields
    assert not field.has_presence
