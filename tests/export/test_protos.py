"""`.proto` files: protoc accepts them and makes of them what they were written from."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from kitfox.errors import InvalidArgument
from kitfox.export import package_files, proto_text, write_protos
from kitfox.services import MethodTable
from kitfox.services.descriptors import descriptor_set
from tests.export.conftest import by_name, compiled


def written(files: Iterable[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Those that an export writes: not what others publish."""
    return [file for file in files if file.package not in ("mmesh", "processproto")]


def test_protoc_makes_of_the_files_what_they_were_written_from(
    table: MethodTable, tmp_path: Path
) -> None:
    made = compiled(write_protos(table, tmp_path))
    assert by_name(made.file) == by_name(written(descriptor_set(table).file))


def test_protoc_accepts_the_files_of_packages(table: MethodTable, tmp_path: Path) -> None:
    files = write_protos(table, tmp_path, per_package=True)
    assert "exportlab_data_model.proto" in [file.name for file in files]
    made = by_name(compiled(files).file)
    assert made == by_name(written(package_files(descriptor_set(table).file)))


def test_a_package_has_all_its_definitions_in_one_file(table: MethodTable) -> None:
    before = [file for file in descriptor_set(table).file if file.package == "exportlab.data_model"]
    (after,) = [
        file
        for file in package_files(descriptor_set(table).file)
        if file.package == "exportlab.data_model"
    ]
    names = sorted(message.name for file in before for message in file.message_type)
    assert [message.name for message in after.message_type] == names
    assert list(after.dependency) == [
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
    ]


def test_docstrings_are_comments(table: MethodTable, tmp_path: Path) -> None:
    write_protos(table, tmp_path)
    point = (tmp_path / "exportlab.data_model.point.proto").read_text()
    assert "// A place.\nmessage Point {" in point
    service = (tmp_path / "exportlabservice.proto").read_text()
    assert "  // Draws a shape.\n  //\n  // With care.\n  rpc SketchTaskPredict(" in service


def test_files_of_an_earlier_export_go_and_others_stay(table: MethodTable, tmp_path: Path) -> None:
    write_protos(table, tmp_path, per_package=True)
    (tmp_path / "mine.proto").write_text('syntax = "proto3";\n')
    names = [file.name for file in write_protos(table, tmp_path)]
    assert {file.name for file in tmp_path.glob("*.proto")} == {*names, "mine.proto"}


def message(package: str, name: str, *uses: str) -> FileDescriptorProto:
    """A file with one message that has a field of each named message."""
    file = FileDescriptorProto(
        name=f"{package}.{name.lower()}.proto", package=package, syntax="proto3"
    )
    made = file.message_type.add(name=name)
    for number, used in enumerate(uses, start=1):
        made.field.add(
            name=f"f{number}",
            number=number,
            type=FieldDescriptorProto.TYPE_MESSAGE,
            type_name=f".{used}",
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
        home, _, simple = used.rpartition(".")
        file.dependency.append(f"{home}.{simple.lower()}.proto")
    return file


def test_packages_that_use_each_other_are_refused_with_their_names() -> None:
    files = [message("a", "One"), message("b", "Two", "a.One"), message("a", "Three", "b.Two")]
    with pytest.raises(InvalidArgument, match=r"use each other.*: (a -> b -> a|b -> a -> b); "):
        package_files(files)


def test_packages_that_would_have_one_file_are_refused_with_their_names() -> None:
    with pytest.raises(InvalidArgument, match=r"'a\.b' and 'a_b' would both be written to a_b"):
        package_files([message("a.b", "One"), message("a_b", "Two")])


@pytest.mark.parametrize(
    ("package", "name"),
    [
        pytest.param("x.first", "Two", id="a package inside has the first name of another"),
        pytest.param("x", "first", id="a message has the name of a package"),
        pytest.param("stream.first", "Two", id="a package begins with a word of the language"),
        pytest.param("string", "Two", id="a package is the name of a type"),
        pytest.param("message", "Two", id="a package is the name of a statement"),
    ],
)
def test_names_that_protoc_would_look_up_elsewhere_are_written_in_full(
    package: str, name: str, tmp_path: Path
) -> None:
    files = [
        message("first", "One"),
        message(package, name, "first.One"),
        message("last", "Three", f"{package}.{name}"),
    ]
    files[2].service.add(name="Ask").method.add(
        name="Do", input_type=f".{package}.{name}", output_type=".first.One"
    )
    files[2].dependency.append("first.one.proto")
    for file, text in proto_text(files).items():
        (tmp_path / file).write_text(text)
    made = by_name(compiled(tmp_path.glob("*.proto")).file)
    assert made == by_name(files)


def test_an_enum_value_that_the_language_cannot_have_is_refused() -> None:
    file = FileDescriptorProto(name="e.proto", package="e", syntax="proto3")
    file.enum_type.add(name="Kind").value.add(name="option", number=0)
    with pytest.raises(InvalidArgument, match=r"e\.Kind\.option: .*rename it"):
        proto_text([file])
