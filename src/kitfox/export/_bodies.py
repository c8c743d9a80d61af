"""Request bodies of an OpenAPI document: JSON, and forms in which files are parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kitfox.data import File
from kitfox.data.schema import Field, Kind, Shape, schema_of
from kitfox.export._descriptions import Remark, remarks_by_class, remarks_of
from kitfox.export._examples import NOTHING, example_of, json_default
from kitfox.export.json_schemas import Form, JsonSchema, JsonSchemas, fields_of
from kitfox.services import BodyStyle, Method, Purpose, Route

__all__ = ["Bodies"]

_BINARY = {"type": "string", "format": "binary"}
_MOST_DEPTH = 5
_LINES = (
    "JSON objects, one a line, each as the schema says. What is no stream is taken from the first "
    "line; it names the model, unless the query does."
)
_DEPLOYMENT = {
    "model_id": "greeter",
    "model_files": [{"filename": "config.yml", "data": "bW9kdWxlX2lkOiAuLi4K"}],
}


class Bodies:
    """Makes the bodies of routes.

    Args:
        schemas: Takes the components.
        models: The modules of models that can be asked for, by model id.
    """

    def __init__(self, schemas: JsonSchemas, models: Mapping[str, type[Any]]) -> None:
        self._schemas = schemas
        self._models = models

    def of(self, method: Method, route: Route) -> JsonSchema | None:
        """The body of a route; none where there are query parameters."""
        for cls, remarks in remarks_by_class(method).items():
            self._schemas.remark(cls, remarks)
        if method.is_upload:
            return {"content": {"application/zip": {"schema": dict(_BINARY)}}, "required": True}
        if route.style is BodyStyle.QUERY:
            return None
        if route.style is BodyStyle.MESSAGE:
            return self._message(method)
        return self._inference(method, route)

    def _message(self, method: Method) -> JsonSchema:
        reference = self._schemas.reference(method.request, Form.REQUEST)
        fields = fields_of(method.request)
        schema = {
            "type": "object",
            "properties": {
                name: self._schemas.field(field, Form.REQUEST) for name, field in fields.items()
            },
            "title": method.request.full_name,
        }
        example = _DEPLOYMENT if method.purpose is Purpose.DEPLOY else _values(fields.values())
        content: JsonSchema = {"application/json": {"schema": reference, "example": example}}
        form = _form(schema, dict(_binary_parts(fields)))
        content["multipart/form-data"] = {"schema": form}
        return {"content": content, "required": True}

    def _inference(self, method: Method, route: Route) -> JsonSchema:
        """The body `{"inputs", "parameters", "model_id"}`."""
        title = f"{_scope(method)}.{_simple_name(method)}HttpRequest"
        fields = fields_of(method.request)
        remarks = remarks_of(method)
        inputs = {name: fields[name] for name in route.inputs if name in fields}
        options = {name: fields[name] for name in route.options if name in fields}
        properties: JsonSchema = {}
        parts: dict[str, JsonSchema] = {}
        if len(inputs) == 1:
            ((name, field),) = inputs.items()
            properties["inputs"] = self._schemas.field(field, Form.REQUEST, remarks.get(name))
            if "title" in properties["inputs"]:
                properties["inputs"]["title"] = "Inputs"
            parts |= _binary_parts({"inputs": field})
        elif inputs:
            properties["inputs"] = self._group(method, "Inputs", inputs, remarks)
            parts |= _binary_parts(inputs, "inputs.")
        if options:
            properties["parameters"] = self._group(method, "Parameters", options, remarks)
            if not _needed(method, options):
                properties["parameters"] = {"anyOf": [properties["parameters"], {"type": "null"}]}
            parts |= _binary_parts(options, "parameters.")
        models = self._models_for(method)
        properties["model_id"] = _model_id(models)
        groups = {"inputs": inputs, "parameters": options}
        required = [name for name, group in groups.items() if _needed(method, group)]
        schema = {
            "type": "object",
            "properties": properties,
            "required": required if method.input_streaming else [*required, "model_id"],
            "additionalProperties": False,
            "title": title,
            "description": f"What {method.name} takes.",
        }
        kind = "application/x-ndjson" if method.input_streaming else "application/json"
        content: JsonSchema = {
            kind: {
                "schema": self._schemas.add(title, schema),
                **_examples(method, groups, remarks, models),
            }
        }
        if method.input_streaming:
            return {"description": _LINES, "content": content, "required": True}
        content["multipart/form-data"] = {"schema": _form(schema, parts)}
        return {"content": content, "required": True}

    def model_parameter(self, method: Method) -> JsonSchema:
        """The query parameter that names the model of a stream, if its first line does not."""
        schema = _model_id(self._models_for(method))
        del schema["minLength"]  # empty is as good as none
        return {"name": "model_id", "in": "query", "required": False, "schema": schema}

    def _group(
        self,
        method: Method,
        suffix: str,
        fields: Mapping[str, Field],
        remarks: Mapping[str, Remark],
    ) -> JsonSchema:
        needed = _needed(method, fields)
        schema: JsonSchema = {
            "type": "object",
            "properties": {
                name: self._schemas.field(
                    field, Form.REQUEST, remarks.get(name), optional=name not in needed
                )
                for name, field in fields.items()
            },
            "additionalProperties": False,
        }
        if needed:
            schema["required"] = needed
        return self._schemas.add(f"{_scope(method)}.{_simple_name(method)}{suffix}", schema)

    def _models_for(self, method: Method) -> list[str]:
        """The models of modules that do what the method is for, the shortest names first.

        Those were given by people: examples show them rather than the ids of trainings.
        """
        names = [name for name, cls in self._models.items() if cls in method.signatures]
        return sorted(names, key=lambda name: (len(name), name))


def _model_id(models: Sequence[str]) -> JsonSchema:
    return {
        "type": "string",
        "title": "Model Id",
        "description": "The model that does it.",
        "minLength": 1,
        **({"examples": list(models)} if models else {}),
    }


def _examples(
    method: Method,
    groups: Mapping[str, Mapping[str, Field]],
    remarks: Mapping[str, Remark],
    models: Sequence[str],
) -> JsonSchema:
    """Bodies to begin with: the author's, which lack the model's id, else one made from types."""
    model_id = {"model_id": models[0] if models else "model"}
    authors = method.task.get_metadata().get("examples") if method.task else None
    if authors:
        named = authors if isinstance(authors, Mapping) else _numbered(authors)
        return {
            "examples": {name: {"value": {**model_id, **value}} for name, value in named.items()}
        }
    example: JsonSchema = dict(model_id)
    inputs, options = groups["inputs"], groups["parameters"]
    values = _values(inputs.values())
    if len(inputs) > 1:
        example["inputs"] = values
    for value in values.values() if len(inputs) == 1 else ():
        example["inputs"] = value
    needed = _needed(method, options)
    parameters = _values(options[name] for name in needed)
    for name in options:
        default = json_default(remarks[name].default) if name in remarks else NOTHING
        if default not in (NOTHING, None):
            parameters[name] = default
    if parameters:
        example["parameters"] = parameters
    return {"example": example}


def _numbered(authors: Sequence[Any]) -> dict[str, Any]:
    return {f"example {number}": value for number, value in enumerate(authors, 1)}


def _values(fields: Iterable[Field]) -> JsonSchema:
    values = {field.name: example_of(field) for field in fields}
    return {name: value for name, value in values.items() if value is not NOTHING}


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
    required = [name for name in schema.get("required", ()) if not _has_parts(name, parts)]
    form: JsonSchema = {
        **schema,
        "properties": {**schema["properties"], **parts},
        "required": required,
        "additionalProperties": False,
    }
    if not required:
        del form["required"]
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
