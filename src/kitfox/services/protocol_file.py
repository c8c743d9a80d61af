"""Protocols that others define: their `.proto` files written as Python, and data objects for them.

A message that others define is not a data object of ours: `@dataobject` puts messages into
protobuf's default pool, where they would clash with the generated code of the same protocol that a
library may import (`grpcio-health-checking`, for one). So each file here has a pool of its own, and
its data objects stand in front of the messages of that pool. To all else they are data objects like
any other: with a codec, in rows of the method table.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

from kitfox.data import DataObjectBase, make_dataobject

__all__ = ["add_service", "data_objects", "protocol_file"]

_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}
_PYTHON_TYPES: dict[int, type[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_UINT32: int,
    FieldDescriptor.CPPTYPE_UINT64: int,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_ENUM: int,
}


def protocol_file(
    name: str, package: str, messages: Mapping[str, Mapping[str, str]]
) -> FileDescriptorProto:
    """A file from a short description.

    Args:
        name: Of the file, as it is known in the protocol's own repository.
        package: Of its messages.
        messages: By name, the type and the number of each field by the field's name: `string 1`,
            `repeated bytes 1`, `map string 2` (keys are text), `enum Status 1` (nested in the
            message), `Info 3` (a message nested in this one), `.Info 3` (a message of the file);
            `oneof choice string 4` is a member of the union `choice`.
    """
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    for message, fields in messages.items():
        descriptor = file.message_type.add(name=message)
        for field, text in fields.items():
            _add_field(descriptor, field, text.split(), f".{package}.{message}")
    return file


def add_service(file: FileDescriptorProto, name: str, methods: Mapping[str, str]) -> None:
    """Adds a service.

    Args:
        file: The file to add it to.
        name: Of the service.
        methods: By name, the request and the response, each with `stream` before it if there may
            be many: `CheckRequest stream CheckResponse`.
    """
    service = file.service.add(name=name)
    for method, text in methods.items():
        words = text.split()
        rpc = service.method.add(name=method)
        for side in ("input", "output"):
            if words[0] == "stream":
                setattr(rpc, "client_streaming" if side == "input" else "server_streaming", True)
                del words[0]
            setattr(rpc, f"{side}_type", f".{file.package}.{words.pop(0)}")


def data_objects(file: FileDescriptorProto) -> Mapping[str, type[DataObjectBase]]:
    """A data object class for each message of a file, by name.

    Enums are plain integers, and the members of a union are fields that may be left out.
    """
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindFileByName(file.name)
    made: dict[str, type[DataObjectBase]] = {}
    for name in found.message_types_by_name:
        _add_class(found.message_types_by_name[name], made)
    return made


def _add_class(message: Descriptor, made: dict[str, type[DataObjectBase]]) -> type[DataObjectBase]:
    """Makes the class of a message, and before it those of the messages in it."""
    if message.name not in made:
        made[message.name] = make_dataobject(
            name=message.name,
            annotations={field.name: _annotation(field, made) for field in message.fields},
            attrs={"__doc__": f"The message {message.full_name}."},
            package=message.file.package,
            optional={field.name for field in message.fields if field.containing_oneof},
            message=message_factory.GetMessageClass(message),
        )
    return made[message.name]


def _annotation(field: FieldDescriptor, made: dict[str, type[DataObjectBase]]) -> Any:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        key, value = (inner.fields_by_name[name] for name in ("key", "value"))
        return dict[_annotation(key, made), _annotation(value, made)]  # type: ignore[misc] # made here
    if inner is not None:
        python: Any = _add_class(inner, made)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        python = bytes
    else:
        python = _PYTHON_TYPES[field.cpp_type]
    return list[python] if field.is_repeated else python


def _add_field(message: DescriptorProto, name: str, words: list[str], scope: str) -> None:
    *modifiers, kind, number = words
    field = message.field.add(
        name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    if modifiers[:1] == ["oneof"]:
        field.oneof_index = _oneof(message, modifiers[1])
        del modifiers[:2]
    if modifiers == ["map"]:
        kind = _map_entry(message, name, kind, scope)
    if modifiers in (["map"], ["repeated"]):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if modifiers == ["enum"]:
        field.type = FieldDescriptorProto.TYPE_ENUM
        field.type_name = f"{scope}.{kind}"
    elif kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        home = scope.rpartition(".")[0] if kind.startswith(".") else scope
        field.type_name = f"{home}.{kind.removeprefix('.')}"


def _oneof(message: DescriptorProto, name: str) -> int:
    """The position of a union of a message; it is added where it is new."""
    names = [item.name for item in message.oneof_decl]
    if name not in names:
        message.oneof_decl.add(name=name)
        names.append(name)
    return names.index(name)


def _map_entry(message: DescriptorProto, field: str, kind: str, scope: str) -> str:
    """Adds what a map is on the wire: a nested message of key and value; gives its name."""
    name = "".join(part[:1].upper() + part[1:] for part in field.split("_")) + "Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    _add_field(entry, "key", ["string", "1"], scope)
    _add_field(entry, "value", [kind, "2"], scope)
    return name
