"""Request bodies of an OpenAPI document: JSON, and forms in which files are parts."""

from collections.abc import Iterator, Mapping
from typing import Any

from kitfox.data import File
from kitfox.data.schema import Field, Kind, Shape, schema_of
from kitfox.export.json_schemas import Form, JsonSchema, JsonSchemas, fields_of
from kitfox.services import BodyStyle, Method, Route

__all__ = ["Bodies"]

_BINARY = {"type": "string", "format": "binary"}
_MOST_DEPTH = 5


class Bodies:
    """Makes the bodies of routes.

    Args:
        schemas: Takes the components.
        multipart: Whether to offer `multipart/form-data` beside JSON.
    """

    def __init__(self, schemas: JsonSchemas, *, multipart: bool) -> None:
        self._schemas = schemas
        self._multipart = multipart

    def of(self, method: Method, route: Route) -> JsonSchema | None:
        """The body of a route; none where there are query parameters."""
        if route.style is BodyStyle.QUERY:
            return None
        if route.style is BodyStyle.INFERENCE:
            title = f"{_scope(method)}.{_simple_name(method)}HttpRequest"
            schema, parts = self._inference(method, route, title)
            reference = self._schemas.add(title, schema)
        else:
            reference = self._schemas.reference(method.request, Form.REQUEST)
            fields = fields_of(method.request)
            schema = {
                "type": "object",
                "properties": {
                    name: self._schemas.field(field, Form.REQUEST) for name, field in fields.items()
                },
                "title": method.request.full_name,
            }
            parts = dict(_binary_parts(fields))
        content: JsonSchema = {"application/json": {"schema": reference}}
        if self._multipart:
            content["multipart/form-data"] = {"schema": _form(schema, parts)}
        return {"content": content, "required": True}

    def _inference(
        self, method: Method, route: Route, title: str
    ) -> tuple[JsonSchema, dict[str, JsonSchema]]:
        """The schema of `{"inputs", "parameters", "model_id"}`, and its parts that are files."""
        fields = fields_of(method.request)
        inputs = {name: fields[name] for name in route.inputs if name in fields}
        options = {name: fields[name] for name in route.options if name in fields}
        properties: JsonSchema = {}
        parts: dict[str, JsonSchema] = {}
        if len(inputs) == 1:
            (field,) = inputs.values()
            properties["inputs"] = self._schemas.field(field, Form.REQUEST)
            if "title" in properties["inputs"]:
                properties["inputs"]["title"] = "Inputs"
            parts |= _binary_parts({"inputs": field})
        elif inputs:
            properties["inputs"] = self._group(method, "Inputs", inputs)
            parts |= _binary_parts(inputs, "inputs.")
        if options:
            properties["parameters"] = self._group(method, "Parameters", options)
            parts |= _binary_parts(options, "parameters.")
        properties["model_id"] = {"type": "string", "title": "Model Id"}
        groups = {"inputs": inputs, "parameters": options}
        required = [name for name, group in groups.items() if _needed(method, group)]
        schema = {
            "type": "object",
            "properties": properties,
            "required": [*required, "model_id"],
            "additionalProperties": False,
            "title": title,
            "description": f"What {method.name} takes.",
        }
        return schema, parts

    def _group(self, method: Method, suffix: str, fields: Mapping[str, Field]) -> JsonSchema:
        schema: JsonSchema = {
            "type": "object",
            "properties": {
                name: self._schemas.field(field, Form.REQUEST) for name, field in fields.items()
            },
            "additionalProperties": False,
        }
        needed = _needed(method, fields)
        if needed:
            schema["required"] = needed
        return self._schemas.add(f"{_scope(method)}.{_simple_name(method)}{suffix}", schema)


def _scope(method: Method) -> str:
    task = method.task
    return f"caikit.http.{task.__name__}" if task else "caikit.http"


def _simple_name(method: Method) -> str:
    return method.request.full_name.rpartition(".")[2]


def _needed(method: Method, fields: Mapping[str, Field]) -> list[str]:
    """The parameters that no module that does the task can do without."""
    return [
        name
        for name in fields
        if all(
            name in signature.parameters and name not in signature.defaults
            for signature in method.signatures.values()
        )
    ]


def _form(schema: JsonSchema, parts: Mapping[str, JsonSchema]) -> JsonSchema:
    """The same body as a form: dotted part names lead to fields inside."""
    form = {key: value for key, value in schema.items() if key != "additionalProperties"}
    form["properties"] = {**schema["properties"], **parts}
    required = [name for name in schema.get("required", ()) if not _has_parts(name, parts)]
    if required:
        form["required"] = required
    else:
        form.pop("required", None)
    return form


def _has_parts(name: str, parts: Mapping[str, Any]) -> bool:
    return any(part.startswith(f"{name}.") for part in parts)


def _binary_parts(
    fields: Mapping[str, Field], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, JsonSchema]]:
    """The fields, also inside others, that a form takes as uploaded files."""
    for name, field in fields.items():
        path = f"{prefix}{name}"
        if field.shape not in (Shape.ONE, Shape.LIST):
            continue
        if field.value.kind is Kind.BYTES or field.value.python is File:
            part = dict(_BINARY)
            yield path, {"type": "array", "items": part} if field.shape is Shape.LIST else part
        elif field.value.kind is Kind.MESSAGE and field.shape is Shape.ONE and depth < _MOST_DEPTH:
            inner = schema_of(field.value.python)
            if inner is not None:
                below = {item.name: item for item in inner.fields}
                yield from _binary_parts(below, f"{path}.", depth + 1)
