"""JSON -> objects, exactly: every field checked, every fault collected with its path.

This is the reader that decides. It walks the schema for each value; `json_codec` puts a compiled
one before it, which reads the ordinary case and leaves the rest to this.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kitfox.data.json_scalars import Refusal, is_base64, read_scalar, shown
from kitfox.data.oneofs import member_slot, value_slot
from kitfox.data.schema import Field, Kind, Member, Schema, Shape, ValueType, schema_of
from kitfox.errors import FieldError, ValidationError

__all__ = ["JsonReader", "make_array"]

Path = tuple[str | int, ...]

FAULTY: Any = object()
"""Stands for a value whose fault has been noted."""

ZERO: dict[Kind, Any] = {
    Kind.TEXT: "",
    Kind.BYTES: b"",
    Kind.BOOL: False,
    Kind.INT: 0,
    Kind.FLOAT: 0.0,
    Kind.ENUM: 0,
}
"""What protobuf gives for a plain field that is not set."""


@dataclass(slots=True)
class JsonReader:
    """Reads one document.

    Args:
        protobuf: By the rules of protobuf's JSON: names also in camel case, unions by the names
            of their members, what is missing becomes zero. Otherwise by those of requests:
            fields by their names, unions by the value itself, what is missing stays unset.
        ignore_unknown: Pass over names that the class does not have.
    """

    protobuf: bool = False
    ignore_unknown: bool = False
    errors: list[FieldError] = field(default_factory=list)

    def read(self, schema: Schema, value: Any) -> Any:
        """The object that a JSON object stands for.

        Raises:
            ValidationError: With all faults that were found.
        """
        try:
            result = self.object(schema, value, ())
        except RecursionError:
            raise ValidationError.at((), "the value is nested too deeply", kind="depth") from None
        self.finish()
        return result

    def read_field(self, field: Field, value: Any) -> Any:
        """The value that some JSON stands for in a field.

        Raises:
            ValidationError: With all faults that were found.
        """
        try:
            result = self._field_value(field, value, ())
        except RecursionError:
            raise ValidationError.at((), "the value is nested too deeply", kind="depth") from None
        self.finish()
        return result[1] if field.shape is Shape.UNION else result

    def finish(self) -> None:
        """Raise what was found."""
        if self.errors:
            raise ValidationError(self.errors)

    def object(self, schema: Schema, value: Any, path: Path) -> Any:
        """A data object, or `FAULTY`."""
        if not isinstance(value, Mapping):
            return self._fault(path, "type", f"expected an object, got {shown(value)}", value)
        before = len(self.errors)
        given = self._given(schema, value, path)
        result = object.__new__(schema.cls)
        for item in schema.fields:
            if item.shape is Shape.UNION:
                member, content = given.get(item.name) or (None, item.make_default())
                setattr(result, value_slot(item.name), content)
                setattr(result, member_slot(item.name), member)
            elif item.name in given:
                setattr(result, item.name, given[item.name])
            else:
                setattr(result, item.name, self._missing(item))
        if len(self.errors) > before:
            return FAULTY
        if hasattr(schema.cls, "__post_init__"):
            try:
                result.__post_init__()
            except (TypeError, ValueError) as error:
                return self._fault(path, "invalid", str(error), None)
        return result

    def _given(self, schema: Schema, value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        """The values of the fields that a JSON object names."""
        names = names_of(schema, protobuf=self.protobuf)
        given: dict[str, Any] = {}
        used: dict[str, str] = {}
        for key, item in value.items():
            entry = names.get(key) if isinstance(key, str) else None
            if entry is None:
                if not self.ignore_unknown:
                    self._unknown(schema, key, item, path)
                continue
            field, member = entry
            if item is None and self._null_is_unset(field):
                continue
            if field.name in used:
                self._twice(field, used[field.name], key, path)
                continue
            used[field.name] = key
            if member is None:
                given[field.name] = self._field_value(field, item, (*path, key))
            else:
                given[field.name] = (member.name, self._member(member, item, (*path, key)))
        return given

    def _null_is_unset(self, field: Field) -> bool:
        return self.protobuf or ((field.presence or field.has_default) and not field.nullable)

    def _twice(self, field: Field, first: str, second: str, path: Path) -> None:
        if field.shape is Shape.UNION:
            message = f"{first!r} and {second!r} are alternatives of {field.name!r}: give one"
            self._fault((*path, second), "oneof", message, None)
        else:
            message = f"{first!r} and {second!r} name the same field: give one"
            self._fault((*path, second), "invalid", message, None)

    def _missing(self, field: Field) -> Any:
        if not self.protobuf:
            return field.make_default()
        if field.shape is Shape.MAP:
            return {}
        if field.shape is not Shape.ONE:
            return [] if field.shape is Shape.LIST else make_array(field.value, [])
        if field.presence or not field.value.scalar:
            return field.make_default()
        return ZERO[field.value.kind]

    def _field_value(self, field: Field, value: Any, path: Path) -> Any:
        """The value of a field; of a union a pair of member name and value."""
        if value is None and field.nullable:
            return (None, None) if field.shape is Shape.UNION else None
        match field.shape:
            case Shape.UNION:
                return self.union(field, value, path)
            case Shape.MAP:
                return self._map(field, value, path)
            case Shape.ONE:
                return self.value(field.value, value, path)
            case Shape.LIST:
                return self._list(field.value, value, path)
            case Shape.ARRAY:
                return make_array(field.value, self._list(field.value, value, path))

    def value(self, value_type: ValueType, value: Any, path: Path) -> Any:
        """A single value, or `FAULTY`."""
        if value_type.kind is Kind.MESSAGE:
            schema = schema_of(value_type.python)
            assert schema is not None  # noqa: S101 # the kind says so
            return self.object(schema, value, path)
        try:
            return read_scalar(value, value_type, protobuf=self.protobuf)
        except Refusal as refusal:
            return self._fault((*path, *refusal.path), refusal.kind, refusal.message, value)

    def _list(self, value_type: ValueType, value: Any, path: Path) -> Any:
        if not isinstance(value, list | tuple):
            return self._fault(path, "type", f"expected an array, got {shown(value)}", value)
        return [self.value(value_type, item, (*path, index)) for index, item in enumerate(value)]

    def _map(self, field: Field, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping):
            return self._fault(path, "type", f"expected an object, got {shown(value)}", value)
        result = {}
        for key, item in value.items():
            own = self.value(field.key, key, (*path, str(key)))
            if own is not FAULTY and own in result:
                message = f"two keys stand for {own!r}"
                self._fault((*path, str(key)), "invalid", message, key)
            if own is not FAULTY:
                result[own] = self.value(field.value, item, (*path, str(key)))
        return result

    def _member(self, member: Member, value: Any, path: Path) -> Any:
        """What protobuf's JSON has under the name of a member of a union."""
        if not member.repeated:
            return self.value(member.value, value, path)
        if not isinstance(value, Mapping) or (set(value) - {"values"} and not self.ignore_unknown):
            expected = 'an object with "values"'
            return self._fault(path, "type", f"expected {expected}, got {shown(value)}", value)
        values = value.get("values")
        return self._list(member.value, [] if values is None else values, (*path, "values"))

    def union(self, field: Field, value: Any, path: Path) -> tuple[str | None, Any]:
        """The value itself: the member that takes it as it is, else one that can convert it."""
        for exact in (True, False):
            for member in sorted(_candidates(field, value), key=_is_not_bytes):
                reader = JsonReader(protobuf=self.protobuf, ignore_unknown=self.ignore_unknown)
                if exact and not self._is_exact(member, value):
                    continue
                with suppress(ValidationError):
                    content = (
                        reader._list(member.value, value, ())
                        if member.repeated
                        else reader.value(member.value, value, ())
                    )
                    if not reader.errors:
                        return member.name, content
        return self._no_member(field, value, path)

    def _is_exact(self, member: Member, value: Any) -> bool:
        """Whether a member takes a value without conversion."""
        return all(
            _is_exact_object(member.value, item, protobuf=self.protobuf)
            if member.value.kind is Kind.MESSAGE
            else _is_exact_scalar(member.value, item)
            for item in (value if member.repeated else [value])
        )

    def _no_member(self, field: Field, value: Any, path: Path) -> tuple[str | None, Any]:
        """Note why no member takes a value; with one candidate, its own reasons."""
        candidates = _candidates(field, value)
        if len(candidates) == 1:
            before = len(self.errors)
            member = candidates[0]
            if member.repeated:
                self._list(member.value, value, path)
            else:
                self.value(member.value, value, path)
            if len(self.errors) > before:
                return None, FAULTY
        message = f"expected {field.type_name}, got {shown(value)}"
        return None, self._fault(path, "type", message, value)

    def _unknown(self, schema: Schema, key: Any, value: Any, path: Path) -> None:
        names = ", ".join(field.name for field in schema.fields) or "it has none"
        message = f"{schema.name} has no such field; its fields: {names}"
        self._fault((*path, str(key)), "unknown", message, value)

    def _fault(self, path: Path, kind: str, message: str, value: Any) -> Any:
        self.errors.append(FieldError(path=path, message=message, kind=kind, value=value))
        if len(self.errors) >= ValidationError.MOST:
            # There may be millions more, and nobody reads them.
            self.finish()
        return FAULTY


_Names = dict[str, tuple[Field, Member | None]]


def names_of(schema: Schema, *, protobuf: bool) -> _Names:
    """The names that JSON may use for the fields of a class, with the member of a union meant."""
    cache: dict[bool, _Names] = schema.cls.__dict__.get("_json_names") or {}
    if protobuf not in cache:
        cache = {**cache, protobuf: _make_names(schema, protobuf=protobuf)}
        schema.cls._json_names = cache
    return cache[protobuf]


def _make_names(schema: Schema, *, protobuf: bool) -> _Names:
    names: _Names = {}
    if protobuf:
        for field in schema.fields:
            for member in field.members:
                names[camel_case(member.name)] = names[member.name] = (field, member)
            if field.shape is not Shape.UNION:
                names[camel_case(field.name)] = (field, None)
    for field in schema.fields:
        names.setdefault(field.name, (field, None))
    return names


def camel_case(name: str) -> str:
    """The JSON name of a protobuf field: `text_input` to `textInput`."""
    result: list[str] = []
    upper = False
    for letter in name:
        if letter == "_":
            upper = True
        else:
            result.append(letter.upper() if upper else letter)
            upper = False
    return "".join(result)


def _candidates(field: Field, value: Any) -> list[Member]:
    """The members of a union that JSON of this sort can be meant for."""
    if isinstance(value, list | tuple):
        return [member for member in field.members if member.repeated]
    nested = isinstance(value, Mapping)
    return [
        member
        for member in field.members
        if not member.repeated
        and (member.value.kind in (Kind.MESSAGE, Kind.STRUCT, Kind.ANY)) == nested
    ]


def _is_not_bytes(member: Member) -> bool:
    return member.value.kind is not Kind.BYTES


def _is_exact_object(value_type: ValueType, value: Any, *, protobuf: bool) -> bool:
    from kitfox.data.codec import codec_of
    from kitfox.data.json_structs import FAILURES

    codec = codec_of(value_type.python or object)
    try:
        (codec.protobuf_struct if protobuf else codec.request_struct).convert(value)
    except FAILURES:
        return False
    return True


def _is_exact_scalar(value_type: ValueType, value: Any) -> bool:
    """Whether JSON writes this type as such a value, without conversion.

    Text that an encoder would write for bytes is meant for bytes where a union has both: names
    and addresses beside binary data hardly ever look like that, and data always does.
    """
    match value_type.kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.BOOL:
            return isinstance(value, bool)
        case Kind.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.FLOAT:
            return isinstance(value, float)
        case Kind.BYTES:
            return isinstance(value, str) and is_base64(value)
        case Kind.STRUCT | Kind.ANY:
            return isinstance(value, Mapping)
        case _:
            return False


def make_array(value_type: ValueType, values: Any) -> Any:
    """The numpy array of a list of values."""
    if values is FAULTY:
        return FAULTY
    import numpy as np

    return np.array(values, dtype=value_type.python)
