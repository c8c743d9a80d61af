"""A library of the tests' own, its method table, and what protoc makes of exported files."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from kitfox.services import MethodTable, Names, build_table, import_library

LIBRARY = Path(__file__).resolve().parent / "library"
GOLDEN = Path(__file__).resolve().parents[1] / "golden"

Compile = Callable[[Iterable[Path]], FileDescriptorSet]


@pytest.fixture(scope="session")
def table() -> MethodTable:
    """The method table of `exportlab`."""
    if str(LIBRARY) not in sys.path:
        sys.path.append(str(LIBRARY))
    import_library("exportlab")
    return build_table("exportlab", names=Names.of("exportlab"))


def compiled(files: Iterable[Path]) -> FileDescriptorSet:
    """What protoc makes of files that lie in one folder."""
    files = sorted(files)
    target = files[0].parent / "compiled.binpb"
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        *(f"-I{files[0].parent}", "--include_imports", f"--descriptor_set_out={target}"),
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    return FileDescriptorSet.FromString(target.read_bytes())


def comparable(file: FileDescriptorProto) -> FileDescriptorProto:
    """A copy without differences that mean nothing.

    protoc fills in the JSON names and has the fields in the order of the text; a recording lacks
    the flag of `optional` fields, whose oneofs it has, and says what is false.
    """
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("options")
    for message in copy.message_type:
        _normalize(message)
    for enum in copy.enum_type:
        if not enum.options.allow_alias:
            enum.ClearField("options")
    for service in copy.service:
        for method in service.method:
            method.ClearField("options")
            if not method.client_streaming:
                method.ClearField("client_streaming")
            if not method.server_streaming:
                method.ClearField("server_streaming")
    return copy


def _normalize(message: DescriptorProto) -> None:
    message.field.sort(key=lambda field: field.number)
    for field in message.field:
        field.ClearField("json_name")
        field.ClearField("proto3_optional")
    message.nested_type.sort(key=lambda nested: nested.name)
    for nested in message.nested_type:
        _normalize(nested)


def by_name(files: Iterable[FileDescriptorProto]) -> dict[str, FileDescriptorProto]:
    """Comparable files by name, without google's."""
    return {
        file.name: comparable(file) for file in files if not file.name.startswith("google/protobuf")
    }
