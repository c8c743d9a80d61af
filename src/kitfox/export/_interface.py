"""Descriptors as a comparison needs them: messages, enums and services by full name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from kitfox.export._proto_text import is_foreign, scalar_name

__all__ = ["Enumeration", "Field", "Interface", "Message", "Rpc", "Service"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    number: int
    type: str
    """In words: `int64`, `message a.Point`, `map<string, int64>`."""
    repeated: bool = False
    is_map: bool = False
    union: str = ""
    """The oneof that it is a member of."""
    message: str = ""
    """The full name of its message type."""
    enum: str = ""
    """The full name of its enum type."""
    needed: bool = field(default=False, compare=False)
    """Whether it is a single value without proto3's `optional`, and in no union."""
    optional: bool = field(default=False, compare=False)
    """Whether it is one with it."""

    @property
    def words(self) -> str:
        """Type and label."""
        return f"a list of {self.type}" if self.repeated else self.type


@dataclass(frozen=True, kw_only=True, slots=True)
class Rpc:
    """One method of a service."""

    request: str
    response: str
    client_streaming: bool
    server_streaming: bool


Message: TypeAlias = dict[str, Field]
"""Fields by name."""
Enumeration: TypeAlias = dict[str, int]
"""Numbers by name."""
Service: TypeAlias = dict[str, Rpc]
"""Methods by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """All definitions of a set of files but google's."""

    messages: dict[str, Message] = field(default_factory=dict)
    enums: dict[str, Enumeration] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)

    @classmethod
    def of(cls, files: FileDescriptorSet) -> "Interface":
        """The definitions of a set of files."""
        result = cls()
        for file in files.file:
            if is_foreign(file):
                continue
            prefix = f"{file.package}." if file.package else ""
            for message in file.message_type:
                result._add_message(message, prefix)
            for enum in file.enum_type:
                result.enums[prefix + enum.name] = _enumeration(enum)
            for service in file.service:
                result.services[prefix + service.name] = _service(service)
        return result

    @property
    def inference_requests(self) -> set[str]:
        """The messages that are made from the parameters of modules' methods."""
        return {
            rpc.request
            for methods in self.services.values()
            for name, rpc in methods.items()
            if name.endswith("Predict")
        }

    def _add_message(self, message: DescriptorProto, prefix: str) -> None:
        name = prefix + message.name
        maps = {item.name: item for item in message.nested_type if item.options.map_entry}
        self.messages[name] = {item.name: _field(item, message, maps) for item in message.field}
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = _enumeration(enum)
        for nested in message.nested_type:
            if nested.name not in maps:
                self._add_message(nested, f"{name}.")


def _enumeration(enum: EnumDescriptorProto) -> Enumeration:
    return {value.name: value.number for value in enum.value}


def _service(service: ServiceDescriptorProto) -> Service:
    return {
        method.name: Rpc(
            request=method.input_type.removeprefix("."),
            response=method.output_type.removeprefix("."),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
        )
        for method in service.method
    }


def _field(
    proto: FieldDescriptorProto, message: DescriptorProto, maps: dict[str, DescriptorProto]
) -> Field:
    simple = proto.type_name.rpartition(".")[2]
    entry = maps.get(simple) if proto.type_name.endswith(f"{message.name}.{simple}") else None
    repeated = proto.label == FieldDescriptorProto.LABEL_REPEATED and entry is None
    union = _union(proto, message)
    named = proto.type_name.removeprefix(".")
    is_message = proto.type == FieldDescriptorProto.TYPE_MESSAGE
    return Field(
        name=proto.name,
        number=proto.number,
        type=_words(proto) if entry is None else f"map<{', '.join(_entry_types(entry))}>",
        repeated=repeated,
        is_map=entry is not None,
        union=union,
        message=named if is_message and entry is None else "",
        enum=named if proto.type == FieldDescriptorProto.TYPE_ENUM else "",
        optional=proto.HasField("oneof_index") and not union,
        needed=not (repeated or entry is not None or proto.HasField("oneof_index")),
    )


def _entry_types(entry: DescriptorProto) -> Iterator[str]:
    return (_words(item) for item in entry.field)


def _words(proto: FieldDescriptorProto) -> str:
    kind = "enum" if proto.type == FieldDescriptorProto.TYPE_ENUM else "message"
    return scalar_name(proto) or f"{kind} {proto.type_name.removeprefix('.')}"


def _union(proto: FieldDescriptorProto, message: DescriptorProto) -> str:
    """The oneof of a field; not the one that stands for `optional`, marked as such or not."""
    if not proto.HasField("oneof_index") or proto.proto3_optional:
        return ""
    name = message.oneof_decl[proto.oneof_index].name
    return "" if name.lstrip("X") == f"_{proto.name}" else name
