"""What a caikit server that serves text tasks offers, as recorded from one."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "textkit"


@pytest.fixture(scope="session")
def recorded_files() -> dict[str, FileDescriptorProto]:
    """The recorded proto files by name."""
    files = FileDescriptorSet.FromString((GOLDEN / "descriptors.binpb").read_bytes())
    return {file.name: comparable(file) for file in files.file}


@pytest.fixture(scope="session")
def recorded_messages(
    recorded_files: dict[str, FileDescriptorProto],
) -> dict[str, DescriptorProto]:
    """The recorded messages by full name."""
    return {
        f"{file.package}.{message.name}": message
        for file in recorded_files.values()
        for message in file.message_type
    }


def comparable(file: FileDescriptorProto) -> FileDescriptorProto:
    """A copy without what a pool fills in (`json_name`) or a recorder leaves out.

    `proto3_optional` is one that the recording lacks; its oneof `_<field>` is there and compared.
    """
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    for message in copy.message_type:
        for owner in (message, *message.nested_type):
            for field in owner.field:
                field.ClearField("json_name")
                field.ClearField("proto3_optional")
    return copy


def file_of(cls: Any) -> FileDescriptorProto:
    """The proto file of a data object class or enum of ours."""
    proto = cls.get_proto_class()
    descriptor = getattr(proto, "DESCRIPTOR", proto)
    file = FileDescriptorProto()
    descriptor.file.CopyToProto(file)
    return comparable(file)
