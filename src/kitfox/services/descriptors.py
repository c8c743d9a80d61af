"""The method table as protobuf descriptors: one file a service, and the closed set of all files.

Reflection, `.proto` files and the comparison of two versions of a library are made from these.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from kitfox.data import DataObjectBase
from kitfox.services.foreign import foreign_files
from kitfox.services.methods import Method, MethodTable

__all__ = ["descriptor_set", "service_files"]


def service_files(table: MethodTable) -> list[FileDescriptorProto]:
    """The files of the table's services, in the table's order.

    A file is named after its service, as caikit's clients know it: `exampleservice.proto`. Where
    two services would share a name, the later one's file has its package in front. Services that
    others define are in the files of their messages.
    """
    messages = {_file_of(cls).name for cls in _classes(table)}
    files: list[FileDescriptorProto] = []
    taken = set(messages)
    for service in table.services():
        methods = [method for method in table if method.service == service]
        package, _, simple = service.rpartition(".")
        if (defined := _defining_file(service, methods)) is not None:
            files.append(defined)
            continue
        name = f"{simple.lower()}.proto"
        if name in taken:
            name = f"{package}.{name}"
        taken.add(name)
        files.append(_service_file(name, package, simple, methods))
    return files


def descriptor_set(table: MethodTable) -> FileDescriptorSet:
    """All that a client needs to call the table's methods.

    Every file comes after those that it depends on: before each service those of its messages,
    and google's own where messages use them.
    """
    result = FileDescriptorSet()
    seen: set[str] = set()
    for file in service_files(table):
        methods = [method for method in table if method.service == _service_name(file)]
        for method in methods:
            for cls in (method.request, method.response):
                _add_with_dependencies(_file_of(cls), result, seen)
        if file.name not in seen:
            result.file.append(file)
    for cls in table.messages:
        _add_with_dependencies(_file_of(cls), result, seen)
    result.file.extend(file for file in foreign_files() if file.name not in seen)
    return result


def _classes(table: MethodTable) -> list[type[DataObjectBase]]:
    return [cls for method in table for cls in (method.request, method.response)]


def _file_of(cls: type[DataObjectBase]) -> FileDescriptor:
    file: Any = cls.get_proto_class().DESCRIPTOR.file  # of upb's class or of Python's
    found: FileDescriptor = file
    return found


def _defining_file(service: str, methods: Iterable[Method]) -> FileDescriptorProto | None:
    """The file of a service's messages, if it defines the service as well."""
    for method in methods:
        file = _file_of(method.request)
        if service in [item.full_name for item in file.services_by_name.values()]:
            defined = FileDescriptorProto()
            file.CopyToProto(defined)
            return defined
    return None


def _service_name(file: FileDescriptorProto) -> str:
    name = file.service[0].name
    return f"{file.package}.{name}" if file.package else name


def _service_file(
    name: str, package: str, simple: str, methods: Iterable[Method]
) -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    service = file.service.add(name=simple)
    dependencies: set[str] = set()
    for method in methods:
        # Set where it is true only, as protoc does.
        streams = {}
        if method.input_streaming:
            streams["client_streaming"] = True
        if method.output_streaming:
            streams["server_streaming"] = True
        service.method.add(
            name=method.name,
            input_type=_type_name(method.request),
            output_type=_type_name(method.response),
            **streams,
        )
        dependencies |= {_file_of(method.request).name, _file_of(method.response).name}
    file.dependency.extend(sorted(dependencies))
    return file


def _type_name(cls: type[DataObjectBase]) -> str:
    return f".{cls.get_proto_class().DESCRIPTOR.full_name}"


def _add_with_dependencies(file: FileDescriptor, result: FileDescriptorSet, seen: set[str]) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for dependency in file.dependencies:
        _add_with_dependencies(dependency, result, seen)
    file.CopyToProto(result.file.add())
