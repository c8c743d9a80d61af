"""The codec of a class: bytes, messages and JSON to objects and back.

The functions inside are written and compiled when they are first used and kept; `codec_of` gives
each class its one codec. Whoever serves a class asks for its codec at start-up.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

import msgspec
from google.protobuf.message import DecodeError, EncodeError, Message

from kitfox.data.annotations import FieldDraft, read_fields
from kitfox.data.explain import explain_object, locate_message_error
from kitfox.data.json_reader import JsonReader
from kitfox.data.json_structs import FAILURES, StructReader, make_struct_reader
from kitfox.data.json_text import parse_json
from kitfox.data.json_writer import Plain, make_plain_writer, plain_of_dict
from kitfox.data.protobuf_codec import (
    Fill,
    Read,
    ReadFields,
    make_field_reader,
    make_filler,
    make_reader,
)
from kitfox.data.schema import Field, Kind, Schema, Shape, is_overridden, schema_of
from kitfox.data.wire import locate_wire_error
from kitfox.errors import ValidationError

__all__ = ["Codec", "codec_of", "convert_json_value"]

T = TypeVar("T")

_READING_ERRORS = (DecodeError, TypeError, ValueError, RecursionError)
_WRITING_ERRORS = (
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    EncodeError,
)
_encode_json = msgspec.json.Encoder().encode


class Codec(Generic[T]):
    """Converts the objects of one class.

    Args:
        schema: Of the class.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._message: Any = schema.cls.get_proto_class()
        self._parse: Callable[[bytes], Any] = self._message.FromString

    @property
    def message_class(self) -> type[Message]:
        """The protobuf class."""
        message: type[Message] = self._message
        return message

    # Functions that raise plain errors, which tell nothing of where. `read`, `fill` and `plain` are
    # an author's own `from_proto`, `fill_proto` and `to_dict` where there are such.

    @cached_property
    def compiled_read(self) -> Read:
        """Makes an object of a message."""
        return make_reader(self.schema, lambda cls: codec_of(cls).read)

    @cached_property
    def read(self) -> Read:
        """Makes an object of a message, in the author's way if there is one."""
        cls: Any = self.schema.cls
        return cls.from_proto if is_overridden(cls, "from_proto") else self.compiled_read

    @cached_property
    def compiled_fill(self) -> Fill:
        """Writes an object into an empty message."""
        return make_filler(self.schema, lambda cls: codec_of(cls).fill)

    @cached_property
    def fill(self) -> Fill:
        """Writes an object into an empty message, in the author's way if there is one."""
        cls = self.schema.cls
        if is_overridden(cls, "to_proto"):
            return lambda value, message: message.CopyFrom(value.to_proto())
        if is_overridden(cls, "fill_proto"):
            return lambda value, message: value.fill_proto(message)
        return self.compiled_fill

    @cached_property
    def plain(self) -> Plain:
        """Makes of an object what msgspec writes, in the author's way if there is one."""
        if is_overridden(self.schema.cls, "to_dict"):
            return plain_of_dict
        return make_plain_writer(self.schema, lambda cls: codec_of(cls).plain)

    @cached_property
    def request_struct(self) -> StructReader:
        """Reads ordinary JSON by the rules of requests; raises for what it leaves to others."""
        return make_struct_reader(
            self.schema, lambda cls: codec_of(cls).request_struct, protobuf=False
        )

    @cached_property
    def protobuf_struct(self) -> StructReader:
        """Reads ordinary JSON by protobuf's rules; raises for what it leaves to others."""
        return make_struct_reader(
            self.schema, lambda cls: codec_of(cls).protobuf_struct, protobuf=True
        )

    @cached_property
    def lenient_struct(self) -> StructReader:
        """As `protobuf_struct`, but it passes over names that the class does not have."""
        return make_struct_reader(
            self.schema,
            lambda cls: codec_of(cls).lenient_struct,
            protobuf=True,
            ignore_unknown=True,
        )

    @cached_property
    def _read_fields(self) -> ReadFields:
        return make_field_reader(self.schema, lambda cls: codec_of(cls).read)

    def decode(self, data: bytes) -> T:
        """The object that protobuf bytes stand for.

        Raises:
            ValidationError: They are no such message, or a value in it cannot be accepted.
        """
        try:
            return self.read(self._parse(data))  # type: ignore[no-any-return] # of the class
        except _READING_ERRORS as error:
            raise self._locate(data, error) from error

    def decode_fields(self, data: bytes) -> dict[str, Any]:
        """Those fields of protobuf bytes that a caller set, by name.

        Plain scalars are always there; `optional` ones, messages and unions when they are
        present; lists and maps when they are not empty.

        Raises:
            ValidationError: They are no such message, or a value in it cannot be accepted.
        """
        try:
            return self._read_fields(self._parse(data))
        except _READING_ERRORS as error:
            raise self._locate(data, error) from error

    def from_message(self, message: Any) -> T:
        """The object that a message stands for, made by the compiled code.

        Raises:
            ValidationError: A value in it cannot be accepted.
        """
        try:
            return self.compiled_read(message)  # type: ignore[no-any-return] # of the class
        except _READING_ERRORS as error:
            raise locate_message_error(self.schema, message, error) from error

    def encode(self, value: T) -> bytes:
        """The protobuf bytes of an object.

        Raises:
            FieldValueError: A `TypeError` that names the field with a value of a wrong type.
        """
        message = self._message()
        try:
            self.fill(value, message)
            data: bytes = message.SerializeToString()
        except _WRITING_ERRORS as error:
            raise explain_object(self.schema, value, error) from error
        return data

    def fill_message(self, value: T, message: Message) -> None:
        """Write an object into an empty message by the compiled code.

        Raises:
            FieldValueError: A `TypeError` that names the field with a value of a wrong type.
        """
        try:
            self.compiled_fill(value, message)
        except _WRITING_ERRORS as error:
            raise explain_object(self.schema, value, error) from error

    def decode_json(self, data: bytes | str) -> T:
        """The object that JSON stands for, by the rules of requests.

        Raises:
            ValidationError: With every field that cannot be accepted.
        """
        try:
            result: T = self.request_struct.read(data)
        except FAILURES:
            return JsonReader().read(self.schema, parse_json(data))  # type: ignore[no-any-return] # of the class
        return result

    def convert_json(self, value: Any) -> T:
        """As `decode_json`, of JSON that is parsed already."""
        try:
            result: T = self.request_struct.convert(value)
        except FAILURES:
            return JsonReader().read(self.schema, value)  # type: ignore[no-any-return] # of the class
        return result

    def decode_protobuf_json(self, data: bytes | str, *, ignore_unknown: bool = False) -> T:
        """The object that JSON stands for, by the rules of protobuf's JSON.

        Raises:
            ValidationError: With every field that cannot be accepted.
        """
        try:
            reader = self.lenient_struct if ignore_unknown else self.protobuf_struct
            result: T = reader.read(data)
        except FAILURES:
            return self._read_exactly(parse_json(data), ignore_unknown=ignore_unknown)
        return result

    def convert_protobuf_json(self, value: Any, *, ignore_unknown: bool = False) -> T:
        """As `decode_protobuf_json`, of JSON that is parsed already."""
        try:
            reader = self.lenient_struct if ignore_unknown else self.protobuf_struct
            result: T = reader.convert(value)
        except FAILURES:
            return self._read_exactly(value, ignore_unknown=ignore_unknown)
        return result

    def _read_exactly(self, value: Any, *, ignore_unknown: bool) -> T:
        reader = JsonReader(protobuf=True, ignore_unknown=ignore_unknown)
        result: T = reader.read(self.schema, value)
        return result

    def encode_json(self, value: T) -> bytes:
        """The JSON of an object, UTF-8, with every field.

        Raises:
            FieldValueError: A `TypeError` that names the field with a value of a wrong type.
        """
        try:
            return _encode_json(self.plain(value))
        except _WRITING_ERRORS as error:
            raise explain_object(self.schema, value, error) from error

    def _locate(self, data: bytes, error: Exception) -> ValidationError:
        """The error that tells where bytes are at fault."""
        try:
            message = self._parse(data)
        except (DecodeError, TypeError) as refused:
            return locate_wire_error(self._message.DESCRIPTOR, data, str(refused))
        return locate_message_error(self.schema, message, error)


def codec_of(cls: type[T]) -> Codec[T]:
    """The codec of a data object class; always the same for one class.

    Raises:
        TypeError: The class is no data object.
    """
    codec: Codec[T] | None = getattr(cls, "_codec", None)
    if codec is not None and codec.schema.cls is cls:
        return codec
    schema = schema_of(cls)
    if schema is None:
        name = getattr(cls, "__name__", cls)
        raise TypeError(f"{name} is no data object class; put @dataobject above it")
    if schema.cls is not cls:  # a subclass without a decorator of its own
        schema = Schema(cls=cls, package=schema.package, name=schema.name, fields=schema.fields)
    codec = Codec(schema)
    attributes: Any = cls
    attributes._codec = codec
    return codec


def convert_json_value(annotation: Any, value: Any) -> Any:
    """The Python value of any field annotation for parsed JSON, by the rules of requests.

    Args:
        annotation: What could stand behind the colon in a data object.
        value: Parsed JSON.

    Raises:
        ValidationError: The value cannot be accepted.
        TypeError: The annotation is no field type.
    """
    field = _field_of(annotation)
    if field.shape is Shape.ONE and field.value.kind is Kind.MESSAGE and value is not None:
        return codec_of(field.value.python or object).convert_json(value)
    return JsonReader().read_field(field, value)


@lru_cache(maxsize=1024)
def _field_of(annotation: Any) -> Field:
    (field,) = read_fields(
        "a value",
        [FieldDraft(name="value", annotation=annotation)],
        namespaces=({}, {}),
        reserved=frozenset(),
        shared_sequences={},
        optional=None,
    )
    return field
