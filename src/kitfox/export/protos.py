"""`.proto` files of a library: a file for each message, enum and service, or one for each package.

The files have the names that the descriptors give them (`example.data_model.sample.proto`), which
are those that caikit writes. `protoc` makes of them the descriptors that they were written from.
"""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from kitfox.errors import InvalidArgument
from kitfox.export._comments import comments_of
from kitfox.export._proto_text import HEADER, ProtoText, is_foreign
from kitfox.services import MethodTable
from kitfox.services.descriptors import descriptor_set

__all__ = ["package_files", "proto_text", "write_protos"]


def write_protos(table: MethodTable, folder: Path, *, per_package: bool = False) -> list[Path]:
    """Writes the `.proto` files of a method table.

    Files of an earlier export that are no longer part of the library are removed; other files are
    left alone.

    Args:
        table: The methods.
        folder: Where; it is made where it is missing.
        per_package: One file for each package, named `example_data_model.proto`, in place of one
            for each message.

    Returns:
        The files, sorted.

    Raises:
        InvalidArgument: The library cannot be written in this form.
    """
    files = list(descriptor_set(table).file)
    if per_package:
        files = package_files(files)
    texts = proto_text(files, comments_of(table))
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.proto"):
        if old.name not in texts and _is_ours(old):
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder / name for name in texts)


def proto_text(
    files: Iterable[FileDescriptorProto], comments: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The text of `.proto` files by name, without google's own.

    Args:
        files: A closed set.
        comments: Texts to put above messages, enums, RPCs and fields, by full name.
    """
    files = list(files)
    writer = ProtoText(files, comments or {})
    return {file.name: writer.text(file) for file in files if not is_foreign(file)}


def package_files(files: Iterable[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The same definitions with one file for each package; google's own files stay as they are.

    Raises:
        InvalidArgument: Packages need each other, or two would have one file.
    """
    files = list(files)
    homes = {file.name: file.name if is_foreign(file) else _package_file(file) for file in files}
    merged: dict[str, FileDescriptorProto] = {}
    needs: dict[str, set[str]] = {}
    for file in files:
        home = homes[file.name]
        into = merged.setdefault(
            home, FileDescriptorProto(name=home, package=file.package, syntax="proto3")
        )
        if into.package != file.package:
            raise InvalidArgument(
                f"the packages {into.package!r} and {file.package!r} would both be written to "
                f"{home}; leave --per-package out, or rename one"
            )
        if is_foreign(file):
            into.CopyFrom(file)
        else:
            into.message_type.extend(file.message_type)
            into.enum_type.extend(file.enum_type)
            into.service.extend(file.service)
        needs.setdefault(home, set()).update(homes[name] for name in file.dependency)
    for home, names in needs.items():
        names.discard(home)
        if not is_foreign(merged[home]):
            merged[home].dependency.extend(sorted(names))
            for items in (merged[home].message_type, merged[home].enum_type, merged[home].service):
                items.sort(key=lambda item: item.name)
    return [merged[home] for home in _ordered(needs)]


def _package_file(file: FileDescriptorProto) -> str:
    return f"{file.package.replace('.', '_') or 'no_package'}.proto"


def _ordered(needs: Mapping[str, set[str]]) -> Iterator[str]:
    try:
        yield from TopologicalSorter(needs).static_order()
    except CycleError as err:
        cycle = " -> ".join(name.removesuffix(".proto") for name in err.args[1])
        raise InvalidArgument(
            f"these packages use each other, which protoc allows between messages but not between "
            f"files: {cycle}; leave --per-package out"
        ) from err


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(HEADER)) == HEADER
