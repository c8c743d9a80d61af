"""JSON Schemas of data objects, as the components of an OpenAPI document.

A data object has one JSON form in requests and another in answers. A request names a union by its
field, and leaves out what it does not set; an answer has every field, `null` where the model has
set none, and names a union by the member that is set.
"""

import enum
from collections.abc import Mapping
from typing import Any

from kitfox.data import DataObjectBase
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
from kitfox.export._descriptions import FieldTexts, Remark
from kitfox.export._examples import NOTHING, json_default
from kitfox.modules.docstring import prose_of

__all__ = ["Form", "JsonSchema", "JsonSchemas", "fields_of"]

JsonSchema = dict[str, Any]

_PREFIX = "#/components/schemas/"


class Form(enum.Enum):
    """Which way the JSON goes."""

    REQUEST = "request"
    ANSWER = "answer"


class JsonSchemas:
    """The components that a document refers to, made when they are first needed.

    Ask for all requests before the answers: a class that is used in both has its simple name for
    the form of requests, and `Name-Output` for that of answers.
    """

    def __init__(self) -> None:
        self.components: dict[str, JsonSchema] = {}
        """The schemas by name."""
        self._names: dict[tuple[str, Form | None], str] = {}
        self._texts = FieldTexts()
        self._remarks: dict[str, Mapping[str, Remark]] = {}

    def remark(self, cls: type[DataObjectBase], remarks: Mapping[str, Remark]) -> None:
        """Takes what is said elsewhere of the fields of a class; before the first use of it."""
        self._remarks[cls.full_name] = remarks

    def add(self, title: str, schema: JsonSchema) -> JsonSchema:
        """Makes a schema that is no data object a component, and returns the reference to it.

        Args:
            title: A dotted name; its last part is the component's, unless that is taken.
            schema: What it refers to.
        """
        name = self._name(title, None)
        self.components.setdefault(name, {**schema, "title": title})
        return {"$ref": _PREFIX + name}

    def reference(self, cls: type[Any], form: Form) -> JsonSchema:
        """The reference to a data object class or enum."""
        enumeration = enum_schema_of(cls)
        if enumeration is not None:
            return self._enum(enumeration)
        schema = schema_of(cls)
        assert schema is not None, cls  # noqa: S101 -- the callers pass data objects only
        actual = form if schema.fields else None
        known = (schema.full_name, actual) in self._names
        name = self._name(schema.full_name, actual)
        if not known:
            self.components[name] = {}  # for those that refer to it from below
            self.components[name].update(self._object(schema, form))
        return {"$ref": _PREFIX + name}

    def field(
        self, field: Field, form: Form, remark: Remark | None = None, *, optional: bool = False
    ) -> JsonSchema:
        """The schema of a field's value; in answers not of unions, which `_object` spreads.

        Args:
            field: Of a data object.
            form: Which way it goes.
            remark: Replaces what the field itself says.
            optional: Whether a caller may leave the field out, whatever it says itself.
        """
        schema = self._bare(field, nullable=optional or _takes_null(field, form), form=form)
        remark = remark or Remark()
        default = field.default if remark.default is NOTHING else remark.default
        default = NOTHING if field.value.kind is Kind.BYTES else json_default(default)
        if default is not NOTHING and default is not None:
            schema["default"] = default
        if "$ref" not in schema:
            schema["title"] = _title(field.name)
        text = field.description or remark.text
        return {**schema, "description": text} if text else schema

    def _name(self, title: str, form: Form | None) -> str:
        name = self._names.get((title, form))
        if name is None:
            taken = set(self._names.values())
            simple = title.rpartition(".")[2]
            suffix = "-Output" if form is Form.ANSWER else ""
            other = self._names.get((title, Form.REQUEST)) if suffix else None
            candidates = [f"{other}{suffix}"] if other else [simple, title, f"{title}{suffix}"]
            name = next(item for item in candidates if item not in taken)
            self._names[title, form] = name
        return name

    def _enum(self, schema: EnumSchema) -> JsonSchema:
        name = self._name(schema.full_name, None)
        self.components[name] = {
            "type": "string",
            "enum": list(schema.numbers),
            "title": schema.name,
            **_documented(schema.cls),
        }
        return {"$ref": _PREFIX + name}

    def _object(self, schema: Schema, form: Form) -> JsonSchema:
        properties: JsonSchema = {}
        texts = self._texts.of(schema.cls)
        remarks = self._remarks.get(schema.full_name, {})
        for field in schema.fields:
            text = texts.get(field.name, "")
            if field.shape is Shape.UNION and form is Form.ANSWER:
                for member in field.members:
                    value = self._member(member, form, wrapped=True)
                    described = {"description": text} if text else {}
                    titled = {} if "$ref" in value else {"title": _title(member.name)}
                    properties[member.name] = {**value, **titled, **described}
            else:
                remark = remarks.get(field.name) or Remark(text=text)
                properties[field.name] = self.field(field, form, remark)
        present = [field.name for field in schema.fields if field.shape is not Shape.UNION]
        return {
            "type": "object",
            "properties": properties,
            **({"required": present} if present and form is Form.ANSWER else {}),
            "additionalProperties": False,
            "title": schema.full_name,
            **_documented(schema.cls),
        }

    def _bare(self, field: Field, *, nullable: bool, form: Form) -> JsonSchema:
        """The schema without title and default."""
        if field.shape is Shape.UNION:
            options = [self._member(member, form, wrapped=False) for member in field.members]
            unique = [item for index, item in enumerate(options) if item not in options[:index]]
            return _any_of(unique, nullable=nullable)
        value = self._value(field.value, form)
        if field.shape is Shape.MAP:
            value = {"type": "object", "additionalProperties": value}
            if field.key.kind is Kind.INT:
                value["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        elif field.shape is not Shape.ONE:
            value = {"type": "array", "items": value}
        return _any_of([value], nullable=nullable)

    def _member(self, member: Member, form: Form, *, wrapped: bool) -> JsonSchema:
        value = self._value(member.value, form)
        if not member.repeated:
            return value
        values = {"type": "array", "items": value}
        if not wrapped:
            return values
        return {
            "type": "object",
            "properties": {"values": values},
            "additionalProperties": False,
        }

    def _value(self, value: ValueType, form: Form) -> JsonSchema:
        if value.kind in (Kind.MESSAGE, Kind.ENUM):
            return self.reference(value.python or object, form)
        return dict(_SIMPLE.get(value.name) or _SIMPLE[value.kind])


_LARGEST_FLOAT32 = float.fromhex("0x1.fffffep+127")
_SIMPLE: dict[str | Kind, JsonSchema] = {
    Kind.TEXT: {"type": "string"},
    Kind.BYTES: {"type": "string", "format": "byte", "contentEncoding": "base64"},
    Kind.BOOL: {"type": "boolean"},
    Kind.INT: {"type": "integer", "format": "int64"},
    Kind.FLOAT: {"type": "number", "format": "double"},
    Kind.TIME: {"type": "string", "format": "date-time"},
    Kind.STRUCT: {"type": "object", "additionalProperties": True},
    Kind.ANY: {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    },
    "int32": {"type": "integer", "format": "int32"},
    "uint32": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**32 - 1},
    "uint64": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
    "float32": {
        "type": "number",
        "format": "float",
        "minimum": -_LARGEST_FLOAT32,
        "maximum": _LARGEST_FLOAT32,
    },
}


def _any_of(options: list[JsonSchema], *, nullable: bool) -> JsonSchema:
    if nullable:
        options = [*options, {"type": "null"}]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _takes_null(field: Field, form: Form) -> bool:
    """Whether `null` stands for a field that is not set."""
    return form is Form.ANSWER or field.nullable or field.presence or field.has_default


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def _documented(cls: type[Any]) -> JsonSchema:
    text = prose_of(cls.__doc__)
    return {"description": text} if text else {}


def fields_of(cls: type[DataObjectBase]) -> dict[str, Field]:
    """The fields of a data object class by name."""
    schema = schema_of(cls)
    return {field.name: field for field in schema.fields} if schema else {}
