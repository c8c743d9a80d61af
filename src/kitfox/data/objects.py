"""The base class of data objects: what each of them can do.

A class body is turned into slots by the metaclass; `definition` then reads the annotations into a
schema, puts the message into protobuf's pool and writes constructor and equality. Codecs are made
when they are first used.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

import msgspec
from google.protobuf.message import Message

from kitfox.data.annotations import FieldDraft
from kitfox.data.class_body import drafts_of_body, slots_for
from kitfox.data.codec import codec_of
from kitfox.data.construction import member_of
from kitfox.data.dictionaries import to_dict
from kitfox.data.oneofs import member_slot, value_slot
from kitfox.data.pickling import reduce_object
from kitfox.data.registry import class_of, resolve
from kitfox.data.schema import Field, Kind, Schema, Shape
from kitfox.data.timestamps import format_datetime
from kitfox.data.values import FieldValueError
from kitfox.errors import ValidationError

__all__ = ["DataObjectBase"]


class DataObjectMeta(type):
    """Makes slots of the annotations in a class body, and notes the defaults."""

    _drafts: dict[str, FieldDraft]

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> "DataObjectMeta":
        """Called for the body of each class."""
        if not bases:
            return super().__new__(mcs, name, bases, namespace, **kwargs)
        drafts = drafts_of_body(name, namespace)
        namespace["__slots__"] = slots_for(bases, namespace, drafts)
        namespace["_drafts"] = drafts
        return super().__new__(mcs, name, bases, namespace, **kwargs)


_dumps = json.JSONEncoder().encode


class DataObjectBase(metaclass=DataObjectMeta):
    """The base of all data objects. Put `@dataobject` above the class.

    Attributes:
        fields: The names of the protobuf fields, of unions those of their members.
        full_name: The full name of the protobuf message.
    """

    __slots__ = ("_backend",)

    fields: ClassVar[tuple[str, ...]] = ()
    full_name: ClassVar[str] = ""
    supports_file_operations: ClassVar[bool] = False
    _is_base: ClassVar[bool] = True
    _schema: ClassVar[Schema | None] = None
    _drafts: ClassVar[dict[str, FieldDraft]] = {}
    _proto_class: ClassVar[Any] = None
    _codec: ClassVar[Any] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Notes whether the class writes files by itself."""
        super().__init_subclass__(**kwargs)
        if "to_file" in cls.__dict__:
            cls.supports_file_operations = True

    @classmethod
    def get_proto_class(cls) -> type[Message]:
        """The generated protobuf class."""
        if cls._proto_class is None:
            raise TypeError(f"put @dataobject above the class {cls.__name__}")
        found: type[Message] = cls._proto_class
        return found

    def to_proto(self) -> Message:
        """A new protobuf message; fields that are `None` stay unset.

        Raises:
            TypeError: A value is not of its field's type.
            ValueError: It is, but protobuf does not take it: it is out of range, for example.
        """
        return self.fill_proto(self.get_proto_class()())

    def fill_proto(self, proto: Message) -> Message:
        """Write the object into a message that exists, and return that.

        Raises:
            TypeError: A value is not of its field's type.
            ValueError: It is, but protobuf does not take it: it is out of range, for example.
        """
        try:
            codec_of(type(self)).fill_message(self, proto)
        except FieldValueError as error:
            raise _plain(error) from error
        return proto

    @classmethod
    def from_proto(cls, proto: Message) -> Self:
        """The object that a message stands for.

        Raises:
            ValueError: The message has another name, or a value cannot be accepted.
        """
        codec = codec_of(cls)
        name = proto.DESCRIPTOR.name
        if name != codec.schema.name:
            raise ValueError(f"expected a message {codec.schema.name}, got {name}")
        try:
            return codec.from_message(proto)
        except ValidationError as error:
            raise _plain(error) from error

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, nested ones too; enums by name, unions under their member's name."""
        return to_dict(codec_of(type(self)).schema, self)

    def to_kwargs(self) -> dict[str, Any]:
        """The fields by name, one level; what the constructor takes."""
        return {field.name: getattr(self, field.name) for field in _schema_of(type(self)).fields}

    def to_json(self, **kwargs: Any) -> str:
        """The dictionary as JSON text.

        Args:
            **kwargs: Passed to `json.dumps`.
        """
        if not kwargs:
            try:
                # The compiled way, in which only values of the declared types can be written.
                return _dumps(codec_of(type(self)).plain(self))
            except (TypeError, ValueError, AttributeError, RecursionError):
                pass
        kwargs.setdefault("default", _to_json_value)
        return json.dumps(self.to_dict(), **kwargs)

    @classmethod
    def from_json(
        cls, json_str: str | bytes | Mapping[str, Any], ignore_unknown_fields: bool = False
    ) -> Self:
        """The object that JSON stands for, by the rules of protobuf's JSON.

        Args:
            json_str: JSON text, or a dictionary.
            ignore_unknown_fields: Pass over names that the class does not have.

        Raises:
            ValueError: It cannot be accepted; each field at fault is named.
            TypeError: It is neither text nor a dictionary.
        """
        codec = codec_of(cls)
        try:
            if isinstance(json_str, (str, bytes)):
                return codec.decode_protobuf_json(json_str, ignore_unknown=ignore_unknown_fields)
            if isinstance(json_str, Mapping):
                return codec.convert_protobuf_json(json_str, ignore_unknown=ignore_unknown_fields)
        except ValidationError as error:
            raise _plain(error) from error
        raise TypeError(f"expected JSON text or a dict, got {type(json_str).__name__}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The object that a dictionary stands for, such as `to_dict` gives.

        Args:
            values: Fields by name, nested ones too; enums by name or number, bytes and datetimes
                as Python objects or as in JSON.

        Raises:
            ValueError: It cannot be accepted; each field at fault is named.

        Example:
            >>> Point.from_dict({"x": 1, "y": 2.5}) == Point(x=1, y=2.5)
            True
        """
        return cls.from_json(msgspec.to_builtins(dict(values)))

    def to_binary_buffer(self) -> bytes:
        """The serialized message.

        Raises:
            TypeError: A value is not of its field's type.
            ValueError: It is, but protobuf does not take it: it is out of range, for example.
        """
        try:
            return codec_of(type(self)).encode(self)
        except FieldValueError as error:
            raise _plain(error) from error

    @classmethod
    def from_binary_buffer(cls, buf: bytes) -> Self:
        """The object that a serialized message stands for.

        Raises:
            ValueError: The bytes are no such message.
        """
        try:
            return codec_of(cls).decode(buf)
        except ValidationError as error:
            raise _plain(error) from error

    def to_file(self, file_obj: Any) -> Any:
        """Write the object as a file. A class may define it; results are then sent as files."""
        raise NotImplementedError(f"{type(self).__name__} has no file format")

    @classmethod
    def from_file(cls, file_obj: Any) -> Self:
        """Read the object from a file. A class may define it."""
        raise NotImplementedError(f"{cls.__name__} has no file format")

    def which_oneof(self, oneof_name: str) -> str | None:
        """The name of the member of a union that is set, or none.

        Raises:
            KeyError: There is no union of that name.
        """
        for field in _schema_of(type(self)).fields:
            if field.name == oneof_name and field.shape is Shape.UNION:
                return member_of(self, field)
        raise KeyError(oneof_name)

    @classmethod
    def get_field_defaults(cls) -> dict[str, Any]:
        """The values of fields that are not given, of those that have a default."""
        return {
            field.name: field.make_default()
            for field in _schema_of(cls).fields
            if field.has_default
        }

    @classmethod
    def get_field_message_type(cls, field_name: str) -> "type[DataObjectBase] | None":
        """The data object class of a field, or none if it has values of another kind.

        Raises:
            AttributeError: There is no such field.
        """
        for field in _schema_of(cls).fields:
            candidates = {member.name: member.value for member in field.members}
            value = candidates.get(field_name, field.value if field.name == field_name else None)
            if value is not None:
                return value.python if value.kind is Kind.MESSAGE else None
        raise AttributeError(f"{cls.__name__} has no field {field_name!r}")

    @classmethod
    def from_backend(cls, backend: Any) -> Self:
        """An object whose fields are read from a backend when they are first used.

        Args:
            backend: Offers `get_attribute(cls, name)` and `cache_attribute(name, value)`.
        """
        result = object.__new__(cls)
        object.__setattr__(result, "_backend", backend)
        return result

    @property
    def backend(self) -> Any:
        """The backend that fields are read from, or none."""
        try:
            return object.__getattribute__(self, "_backend")
        except AttributeError:
            return None

    def __getattr__(self, name: str) -> Any:
        """Called for a field that was never set: reads it from the backend."""
        backend = None if name.startswith("__") else self.backend
        if backend is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return _read_backend(self, backend, name)

    @staticmethod
    def get_class_for_proto(proto: Any) -> "type[DataObjectBase]":
        """The class of a message, a message class or a descriptor.

        Raises:
            AttributeError: There is none.
        """
        descriptor = getattr(proto, "DESCRIPTOR", proto)
        found = class_of(descriptor.full_name)
        if found is None:
            raise AttributeError(f"no data object class stands for {descriptor.full_name}")
        return found

    @staticmethod
    def get_class_for_name(class_name: str) -> "type[DataObjectBase]":
        """The class of a full protobuf name, or of a simple one that is unique.

        Raises:
            ValueError: There is none, or several.
        """
        return resolve(class_name)

    __reduce_ex__ = reduce_object

    def __repr__(self) -> str:
        try:
            return self.to_json(indent=2, ensure_ascii=False)
        except Exception:  # noqa: BLE001 # whatever it holds, it can be looked at
            values = ", ".join(f"{name}=..." for name in self.fields)
            return f"{type(self).__name__}({values})"


def _plain(error: ValidationError | FieldValueError) -> Exception:
    """Python's own error, which is what authors know; what says where becomes its cause."""
    wrong_type = isinstance(error.__cause__, TypeError | AttributeError)
    kind = TypeError if isinstance(error, FieldValueError) and wrong_type else ValueError
    return kind(str(error))


def _schema_of(cls: type[DataObjectBase]) -> Schema:
    if cls._schema is None:
        raise TypeError(f"put @dataobject above the class {cls.__name__}")
    return cls._schema


def _read_backend(self: DataObjectBase, backend: Any, name: str) -> Any:
    schema = _schema_of(type(self))
    field: Field | None = next(
        (item for item in schema.fields if name in (item.name, value_slot(item.name))), None
    )
    if field is None:
        unions = [item for item in schema.fields if member_slot(item.name) == name]
        if unions:
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    value = backend.get_attribute(type(self), field.name)
    setattr(self, field.name, value)
    backend.cache_attribute(field.name, value)
    return value


def _to_json_value(value: Any) -> Any:
    """What JSON writes for the values that `to_dict` leaves alone."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return format_datetime(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Message):
        from google.protobuf import json_format

        return json_format.MessageToDict(value)
    raise TypeError(f"JSON has no value for {type(value).__name__}")
