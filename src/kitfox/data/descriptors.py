"""Schema -> protobuf: one file per message or enum in protobuf's default pool, and its class."""

from typing import Any

from google.protobuf import any_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message

from kitfox.data.schema import (
    EnumSchema,
    Field,
    Kind,
    Member,
    Schema,
    Shape,
    ValueType,
    enum_schema_of,
    schema_of,
)

__all__ = ["enum_descriptor", "message_class", "owner_of_enum_value", "sequence_name"]

_WELL_KNOWN = {
    Kind.TIME: timestamp_pb2.Timestamp.DESCRIPTOR,
    Kind.STRUCT: struct_pb2.Struct.DESCRIPTOR,
    Kind.ANY: any_pb2.Any.DESCRIPTOR,
}


def message_class(schema: Schema) -> type[Message]:
    """Put the message of a data object class into the pool and return its protobuf class.

    Raises:
        TypeError: A message of that name exists and is different, or protobuf refuses it.
    """
    file = FileDescriptorProto(
        name=_file_name(schema.package, schema.name), package=schema.package, syntax="proto3"
    )
    message = file.message_type.add(name=schema.name)
    dependencies: set[str] = set()
    for field in schema.fields:
        _add_field(message, schema, field, dependencies)
    for proto in message.field:
        if proto.proto3_optional:
            proto.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=_synthetic_name(message, proto.name))
    dependencies.discard(file.name)
    file.dependency.extend(sorted(dependencies))
    _add_file(file, schema.full_name)
    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.full_name))


def enum_descriptor(schema: EnumSchema) -> EnumDescriptor:
    """Put the enum of an enum class into the pool and return its descriptor.

    Raises:
        TypeError: An enum of that name exists and is different, or protobuf refuses it.
    """
    file = FileDescriptorProto(
        name=_file_name(schema.package, schema.name), package=schema.package, syntax="proto3"
    )
    proto: EnumDescriptorProto = file.enum_type.add(name=schema.name)
    for name, number in schema.numbers.items():
        proto.value.add(name=name, number=number)
    proto.options.allow_alias = len(set(schema.numbers.values())) < len(schema.numbers)
    _add_file(file, schema.full_name)
    return descriptor_pool.Default().FindEnumTypeByName(schema.full_name)


def owner_of_enum_value(package: str, name: str) -> str:
    """The enum of a package that has a value of a name already; empty: none.

    In protobuf the values of all enums of a package share one space of names.
    """
    symbol = f"{package}.{name}" if package else name
    try:
        file = descriptor_pool.Default().FindFileContainingSymbol(symbol)
    except KeyError:
        return ""
    return next(iter([*file.enum_types_by_name, *file.message_types_by_name]), "")


def sequence_name(field: str, member: Member) -> str:
    """The name of the nested message of a list in a union: `ItemsIntSequence`."""
    element = member.value.name
    return f"{_camel(field)}{element[:1].upper()}{element[1:]}Sequence"


def _file_name(package: str, name: str) -> str:
    return f"{package}.{name.lower()}.proto" if package else f"{name.lower()}.proto"


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _synthetic_name(message: DescriptorProto, field: str) -> str:
    """The oneof that stands for `optional`: an underscore before the name, more if it is taken."""
    taken = {item.name for item in message.oneof_decl} | {item.name for item in message.field}
    name = f"_{field}"
    while name in taken:
        name = f"X{name}"
    return name


def _add_field(
    message: DescriptorProto, schema: Schema, field: Field, dependencies: set[str]
) -> None:
    if field.shape is Shape.UNION:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=field.name)
        for member in field.members:
            proto = message.field.add(name=member.name, number=member.number, oneof_index=index)
            proto.label = FieldDescriptorProto.LABEL_OPTIONAL
            if member.repeated:
                _set_sequence(message, schema, field, member, proto, dependencies)
            else:
                _set_type(proto, member.value, dependencies)
        return
    proto = message.field.add(name=field.name, number=field.number)
    if field.shape is Shape.MAP:
        entry = _add_map_entry(message, field, dependencies)
        proto.label = FieldDescriptorProto.LABEL_REPEATED
        proto.type = FieldDescriptorProto.TYPE_MESSAGE
        proto.type_name = f".{schema.full_name}.{entry}"
        return
    _set_type(proto, field.value, dependencies)
    repeated = field.shape is not Shape.ONE
    proto.label = (
        FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    )
    if field.presence:
        proto.proto3_optional = True


def _set_type(proto: FieldDescriptorProto, value: ValueType, dependencies: set[str]) -> None:
    proto.type = value.proto  # type: ignore[assignment] # the stubs give the numbers a NewType
    if value.kind in _WELL_KNOWN:
        descriptor = _WELL_KNOWN[value.kind]
        proto.type_name = f".{descriptor.full_name}"
        dependencies.add(descriptor.file.name)
    elif value.kind in (Kind.MESSAGE, Kind.ENUM):
        schema: Any = schema_of(value.python) or enum_schema_of(value.python)
        proto.type_name = f".{schema.full_name}"
        dependencies.add(_file_name(schema.package, schema.name))


def _set_sequence(
    message: DescriptorProto,
    schema: Schema,
    field: Field,
    member: Member,
    proto: FieldDescriptorProto,
    dependencies: set[str],
) -> None:
    proto.type = FieldDescriptorProto.TYPE_MESSAGE
    shared = schema_of(member.wrapper)
    if shared is not None:
        proto.type_name = f".{shared.full_name}"
        dependencies.add(_file_name(shared.package, shared.name))
        return
    nested = message.nested_type.add(name=sequence_name(field.name, member))
    proto.type_name = f".{schema.full_name}.{nested.name}"
    values = nested.field.add(name="values", number=1, label=FieldDescriptorProto.LABEL_REPEATED)
    _set_type(values, member.value, dependencies)


def _add_map_entry(message: DescriptorProto, field: Field, dependencies: set[str]) -> str:
    nested = message.nested_type.add(name=f"{_camel(field.name)}Entry")
    nested.options.map_entry = True
    for name, number, value in (("key", 1, field.key), ("value", 2, field.value)):
        proto = nested.field.add(name=name, number=number)
        proto.label = FieldDescriptorProto.LABEL_OPTIONAL
        _set_type(proto, value, dependencies)
    return nested.name


def _add_file(file: FileDescriptorProto, full_name: str) -> None:
    pool = descriptor_pool.Default()
    try:
        existing = pool.FindFileByName(file.name)
    except KeyError:
        existing = None
    if existing is not None:
        present = FileDescriptorProto()
        existing.CopyToProto(present)
        if _comparable(present) == _comparable(file):
            return
        symbols = [*existing.message_types_by_name, *existing.enum_types_by_name]
        if full_name.rpartition(".")[2] not in symbols:
            raise TypeError(
                f"{full_name} would be in the file {file.name}, which is that of {symbols[0]}: "
                "names in one package must differ in more than upper and lower case"
            )
        raise TypeError(
            f"{full_name} is defined already, in another shape; two different messages cannot "
            "have one name: rename the class or give it another package"
        )
    try:
        pool.AddSerializedFile(file.SerializeToString())
    except TypeError as error:
        raise TypeError(f"{full_name}: protobuf refuses this definition: {error}") from None


def _comparable(file: FileDescriptorProto) -> bytes:
    """A file's content without what the pool fills in by itself."""
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    for message in copy.message_type:
        for owner in (message, *message.nested_type):
            for field in owner.field:
                field.ClearField("json_name")
    return copy.SerializeToString(deterministic=True)
