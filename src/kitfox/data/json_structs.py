"""JSON -> objects, the ordinary case: msgspec reads into a typed structure, compiled code builds.

For each class, and for each of the two sets of rules, a `msgspec.Struct` is made that takes only
what the exact reader would take without conversion. What it refuses, for whatever reason, is read
again by `json_reader`, which either accepts it after all (`"5"` for a number, `textInput` for
`text_input`) or says where and why not. So this module never decides that something is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from kitfox.data.json_reader import ZERO, JsonReader, make_array, names_of
from kitfox.data.json_scalars import read_scalar
from kitfox.data.oneofs import member_slot, value_slot
from kitfox.data.schema import Field, Kind, Member, Schema, Shape, ValueType, enum_schema_of
from kitfox.data.source import Source, default_expression
from kitfox.data.timestamps import parse_datetime
from kitfox.data.values import FLOAT32_MAX

__all__ = ["FAILURES", "StructReader", "make_struct_reader"]

FAILURES = (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError, OverflowError)
"""What the readers here raise for all that is not the ordinary case."""

_LEAST, _MOST = -(2**63), 2**63 - 1


class _Absent:
    """Stands for a field that JSON does not have."""

    def __repr__(self) -> str:
        return "<absent>"


ABSENT = _Absent()


@dataclass(frozen=True, kw_only=True, slots=True)
class StructReader:
    """Reads one class by one set of rules."""

    struct: type[msgspec.Struct]
    build: Callable[[Any], Any]
    """Structure to object."""
    decode: Callable[[bytes | str], Any]
    """JSON text to structure."""

    def read(self, data: bytes | str) -> Any:
        """The object that JSON text stands for; raises one of `FAILURES`."""
        return self.build(self.decode(data))

    def convert(self, value: Any) -> Any:
        """The object that parsed JSON stands for; raises one of `FAILURES`."""
        return self.build(msgspec.convert(value, self.struct, str_keys=True))


def make_struct_reader(
    schema: Schema,
    nested: Callable[[type[Any]], StructReader],
    *,
    protobuf: bool,
    ignore_unknown: bool = False,
) -> StructReader:
    """The reader of a class.

    Args:
        schema: Of the class.
        nested: Gives the reader of another class, by the same rules.
        protobuf: By the rules of protobuf's JSON, not those of requests.
        ignore_unknown: Pass over names that the class does not have.
    """
    code = _Code(schema, nested, protobuf=protobuf)
    for field in schema.fields:
        code.add(field)
    if ignore_unknown:
        code.add_other_names()
    return code.finish(forbid_unknown=not ignore_unknown)


class _Code:
    """Collects the fields of the structure and writes the lines that build an object of it."""

    def __init__(
        self, schema: Schema, nested: Callable[[type[Any]], StructReader], *, protobuf: bool
    ) -> None:
        self._schema = schema
        self._nested = nested
        self._protobuf = protobuf
        self._entries: list[tuple[str, Any, Any]] = []
        self._own: list[StructReader] = []
        self._source = Source("def build(data):")
        new = self._source.name(object.__new__, "new")
        self._source.add(f"self = {new}({self._source.name(schema.cls, 'cls')})")

    def add_other_names(self) -> None:
        """Notice the other names of fields, such as `textInput`: they are not unknown."""
        absent = self._source.name(ABSENT, "absent")
        known = {name for name, _, _ in self._entries}
        for name in names_of(self._schema, protobuf=self._protobuf):
            if name not in known:
                self._entries.append((name, Any, ABSENT))
                self._source.add(f"if data.{name} is not {absent}: raise ValueError")

    def finish(self, *, forbid_unknown: bool) -> StructReader:
        if hasattr(self._schema.cls, "__post_init__"):
            self._source.add("self.__post_init__()")
        self._source.add("return self")
        struct = msgspec.defstruct(
            self._schema.name,
            self._entries,
            forbid_unknown_fields=forbid_unknown,
            gc=False,
            kw_only=True,
        )
        reader = StructReader(
            struct=struct,
            build=self._source.function(f"{self._schema.full_name} build"),
            decode=msgspec.json.Decoder(struct).decode,
        )
        self._own.append(reader)
        return reader

    def add(self, field: Field) -> None:
        if field.shape is Shape.UNION:
            if self._protobuf:
                self._add_members(field)
            else:
                self._add_union(field)
            return
        annotation, expression = self._field(field)
        if field.nullable and not self._protobuf:
            annotation = annotation | None if annotation is not Any else Any
        default, missing = self._missing(field)
        if annotation is Any and default is None and not field.nullable:
            default, missing = ABSENT, "None"  # null is not the same as nothing
        self._entries.append((field.name, annotation, default))
        text = f"data.{field.name}"
        if expression == "value" and not missing:
            self._source.add(f"self.{field.name} = {text}")
            return
        self._source.add(f"value = {text}")
        conditions = []
        if missing:
            absent = self._source.name(ABSENT, "absent")
            conditions.append(f"{missing} if value is {absent} else ")
        if expression != "value" and (field.nullable or default is None):
            conditions.append("None if value is None else ")
        self._source.add(f"self.{field.name} = {''.join(conditions)}{expression}")

    def _missing(self, field: Field) -> tuple[Any, str]:
        """The structure's default, and the expression that replaces it where it is `ABSENT`."""
        if self._protobuf and field.shape is Shape.MAP:
            return ABSENT, "{}"
        if self._protobuf and field.shape is Shape.LIST:
            return ABSENT, "[]"
        if self._protobuf and field.shape is Shape.ARRAY:
            return ABSENT, f"{self._source.name(make_array, 'array')}({self._type(field)}, [])"
        if self._protobuf and field.value.scalar and not field.presence:
            return ZERO[field.value.kind], ""
        if field.factory is not None:
            return ABSENT, f"{self._source.name(field.factory, 'factory')}()"
        default = field.make_default()
        if default is None or (field.shape is Shape.ONE and field.value.kind in _UNCHANGED):
            return default, ""
        return ABSENT, self._source.name(default, "default")

    def _field(self, field: Field) -> tuple[Any, str]:
        """What the structure holds, and the expression that makes the field's value of `value`."""
        if field.shape is Shape.ONE:
            return self._value(field.value, "value")
        annotation, item = self._value(field.value, "item")
        if field.shape is Shape.MAP:
            key_annotation, key = self._value(field.key, "key")
            same = item == "item" and key == "key"
            pairs = f"{{{key}: {item} for key, item in value.items()}}"
            mapping: Any = dict  # the types are made at run time
            return mapping[key_annotation, annotation], "value" if same else pairs
        values = "value" if item == "item" else f"[{item} for item in value]"
        if field.shape is Shape.ARRAY:
            values = f"{self._source.name(make_array, 'array')}({self._type(field)}, {values})"
        return list[annotation], values  # type: ignore[valid-type] # made at run time

    def _type(self, field: Field) -> str:
        return self._source.name(field.value, "type")

    def _value(self, value: ValueType, text: str) -> tuple[Any, str]:
        """The same for a single value."""
        name = self._source.name
        match value.kind:
            case Kind.TEXT:
                return str, text
            case Kind.BYTES:
                return bytes, text
            case Kind.BOOL:
                return bool, text
            case Kind.FLOAT if value.name == "float32":
                return Annotated[float, msgspec.Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)], text
            case Kind.FLOAT:
                return float, text
            case Kind.INT if value.high > _MOST:  # msgspec's bounds are integers of 64 bits
                check = name(_in_range, "in_range")
                return Annotated[int, msgspec.Meta(ge=value.low)], f"{check}({text}, {value.high})"
            case Kind.INT:
                return Annotated[int, msgspec.Meta(ge=value.low, le=value.high)], text
            case Kind.TIME:
                zone = f"zone_needed={self._protobuf}"
                return str, f"{name(parse_datetime, 'time')}({text}, {zone})"
            case Kind.ENUM:
                table = name(_enum_table(value, protobuf=self._protobuf), "enum")
                return Any, f"{table}[{text}.__class__, {text}]"
            case Kind.MESSAGE if value.python is self._schema.cls:
                return Any, f"{name(self._own, 'own')}[0].convert({text})"
            case Kind.MESSAGE:
                reader = self._nested(value.python)  # type: ignore[arg-type] # it has its class
                return reader.struct, f"{name(reader.build, 'build')}({text})"
            case _:
                read = name(read_scalar, "scalar")
                return Any, f"{read}({text}, {name(value, 'type')}, protobuf={self._protobuf})"

    def _add_union(self, field: Field) -> None:
        """By the rules of requests: one entry that holds the value of whatever type."""
        self._entries.append((field.name, Any, ABSENT))
        absent, add = self._source.name(ABSENT, "absent"), self._source.add
        value, member = value_slot(field.name), member_slot(field.name)
        read = self._source.name(_union_reader(field), "union")
        add(f"value = data.{field.name}")
        default = default_expression(self._source, field)
        add(f"if value is {absent}: self.{value} = {default}; member = None")
        add(f"else: member, self.{value} = {read}(value)")
        add(f"self.{member} = member")

    def _add_members(self, field: Field) -> None:
        """By the rules of protobuf's JSON: an entry for each member."""
        absent, add = self._source.name(ABSENT, "absent"), self._source.add
        slot = value_slot(field.name)
        add("member = None")
        for member in field.members:
            annotation, expression = self._member(member)
            self._entries.append((member.name, annotation, ABSENT))
            add(f"value = data.{member.name}")
            add(f"if value is not {absent}:")
            add("if member is not None: raise ValueError", depth=2)
            add(f"member = {member.name!r}", depth=2)
            add(f"self.{slot} = {expression}", depth=2)
        add(f"if member is None: self.{slot} = {default_expression(self._source, field)}")
        add(f"self.{member_slot(field.name)} = member")

    def _member(self, member: Member) -> tuple[Any, str]:
        if not member.repeated:
            return self._value(member.value, "value")
        annotation, item = self._value(member.value, "item")
        values = "value.values" if item == "item" else f"[{item} for item in value.values]"
        struct = msgspec.defstruct(
            "Sequence",
            [("values", list[annotation], [])],  # type: ignore[valid-type] # made at run time
            forbid_unknown_fields=True,
            gc=False,
        )
        return struct, values


_UNCHANGED = (Kind.TEXT, Kind.BYTES, Kind.BOOL, Kind.INT, Kind.FLOAT)
"""Their default can stand in the structure, since building leaves it as it is."""


def _in_range(value: int, high: int) -> int:
    if value > high:
        raise ValueError
    return value


def _enum_table(value: ValueType, *, protobuf: bool) -> dict[tuple[type, Any], Any]:
    """Values of an enum by name and by number, each with its JSON type, as `True == 1`."""
    schema = enum_schema_of(value.python)
    table: dict[tuple[type, Any], Any] = {}
    if schema is not None:
        for key in (*schema.numbers, *schema.names):
            try:
                table[type(key), key] = read_scalar(key, value, protobuf=protobuf)
            except Exception:  # noqa: BLE001, S112 # not for this set of rules
                continue
    return table


def _union_reader(field: Field) -> Callable[[Any], tuple[str, Any]]:
    """What finds the member of a union for a value, by the rules of requests."""
    direct = _direct_members(field)

    def read(value: Any) -> tuple[str, Any]:
        name = direct.get(value.__class__)
        if name is not None and (value.__class__ is not int or _LEAST <= value <= _MOST):
            return name, value
        reader = JsonReader()
        found = reader.union(field, value, ())
        if reader.errors or found[0] is None:
            raise ValueError
        return found[0], found[1]

    return read


def _direct_members(field: Field) -> dict[type, str]:
    """The member for each JSON type that goes to one and only one."""
    kinds = {member.value.kind for member in field.members if not member.repeated}
    direct: dict[type, str] = {}
    for member in field.members:
        kind, name = member.value.kind, member.value.name
        if member.repeated:
            continue
        if kind is Kind.TEXT and not kinds & {Kind.BYTES, Kind.ENUM}:
            direct.setdefault(str, member.name)
        elif kind is Kind.BOOL:
            direct.setdefault(bool, member.name)
        elif kind is Kind.INT and name in ("int", "int64"):
            direct.setdefault(int, member.name)
        elif kind is Kind.FLOAT and name != "float32":
            direct.setdefault(float, member.name)
    if sum(member.value.kind is Kind.INT for member in field.members) > 1:
        direct.pop(int, None)
    return direct
