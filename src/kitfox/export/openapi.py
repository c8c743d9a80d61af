"""The method table as an OpenAPI 3.1 document: routes, bodies, answers, errors."""

import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, TypedDict

from kitfox.data.schema import Kind, Shape
from kitfox.export._answers import Answers
from kitfox.export._bodies import Bodies
from kitfox.export._descriptions import description_of, implementations_of, summary_of
from kitfox.export._links import links_of
from kitfox.export.json_schemas import Form, JsonSchema, JsonSchemas, fields_of
from kitfox.modules import ModuleBase
from kitfox.services import BodyStyle, Method, Purpose, Route

__all__ = ["Info", "library_info", "openapi_document"]


class Info(TypedDict):
    """The head of the document."""

    title: str
    """The library's name in camel case."""
    description: str
    """The library's docstring."""
    version: str
    """Of the library; empty when it has none."""


def library_info(library: str, *, version: str = "") -> Info:
    """The head of the document of a library.

    Args:
        library: A package that has been imported, or several with commas between.
        version: In place of the library's own; of several, it is that of the first.
    """
    names = library.split(",")
    texts = [inspect.cleandoc(sys.modules[name].__doc__ or "") for name in names]
    return {
        "title": ", ".join(_title(name) for name in names),
        "description": "\n\n".join(filter(None, texts)),
        "version": version or _version(names[0]),
    }


def _title(library: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in library.split("_"))


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def openapi_document(
    table: Iterable[Method],
    *,
    info: Info,
    models: Mapping[str, type[ModuleBase]] | None = None,
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all methods that have a REST route.

    Args:
        table: The methods.
        info: The head of the document.
        models: The modules of models that can be asked for, by model id: examples name them.
    """
    return _Document(table, models or {}).build(info)


class _Document:
    """Collects paths and components."""

    def __init__(self, table: Iterable[Method], models: Mapping[str, type[ModuleBase]]) -> None:
        self._schemas = JsonSchemas()
        self._answers = Answers(self._schemas)
        self._bodies = Bodies(self._schemas, models)
        self._methods = [
            (method, method.route)
            for method in table
            if method.route is not None and _is_shown(method)
        ]

    def build(self, info: Info) -> dict[str, Any]:
        """The whole document."""
        # Requests first: see JsonSchemas.
        bodies = [self._bodies.of(method, route) for method, route in self._methods]
        paths: dict[str, dict[str, Any]] = {}
        for (method, route), body in zip(self._methods, bodies, strict=True):
            operation = self._operation(method, route, body)
            paths.setdefault(route.path, {})[route.verb.lower()] = operation
        paths.setdefault("/health", {"get": _HEALTH})
        return {
            "openapi": "3.1.0",
            "info": info,
            "paths": paths,
            "components": {"schemas": self._schemas.components, **self._answers.components},
        }

    @cached_property
    def _names(self) -> dict[str, str]:
        """The operations' names by RPC path: that of the RPC, or the path where that is taken."""
        names: dict[str, str] = {}
        for method, _ in self._methods:
            taken = method.name in names.values()
            names[method.path] = method.path[1:].replace("/", ".") if taken else method.name
        return names

    def _operation(self, method: Method, route: Route, body: JsonSchema | None) -> JsonSchema:
        texts = [description_of(method)]
        if method.purpose is Purpose.INFERENCE:
            texts.append(implementations_of(method))
        operation: JsonSchema = {
            "summary": summary_of(method),
            "description": "\n\n".join(text for text in texts if text),
            "operationId": self._names[method.path],
            "tags": [method.service.rpartition(".")[2]],
        }
        if route.style is BodyStyle.QUERY:
            parameters = self._parameters(method)
            if parameters:
                operation["parameters"] = parameters
        if route.style is BodyStyle.STREAM:
            operation["parameters"] = [self._bodies.model_parameter(method)]
        if body is not None:
            operation["requestBody"] = body
        operation["responses"] = self._answers.of(method, route)
        links = links_of(method, self._names, (item for item, _ in self._methods))
        if links:
            operation["responses"]["200"]["links"] = links
        if method.purpose in (Purpose.INFERENCE, Purpose.JOB_START) and method.task is not None:
            extra: Mapping[str, Any] = method.task.get_metadata().get("extra_openapi") or {}
            return _merged(operation, extra)
        return operation

    def _parameters(self, method: Method) -> list[JsonSchema]:
        """The fields of a query; the file of an upload is the body."""
        return [
            {
                "name": field.name,
                "in": "query",
                "required": field.shape is not Shape.LIST and not field.nullable,
                "schema": _without_null(self._schemas.field(field, Form.REQUEST)),
            }
            for field in fields_of(method.request).values()
            if not (method.is_upload and field.value.kind is Kind.BYTES)
        ]


def _without_null(schema: JsonSchema) -> JsonSchema:
    """The schema of a value in a query, where there is only text: nothing stands for null."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if not options:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**options[0], **rest} if len(options) == 1 else {**rest, "anyOf": options}


def _merged(own: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Objects are merged, everything else is replaced."""
    result = dict(own)
    for key, value in extra.items():
        known: Any = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(known, value)
        else:
            result[key] = value
    return result


def _is_shown(method: Method) -> bool:
    task = method.task
    return task is None or task.get_visibility()


_TEXT = {"type": "string"}
_HEALTH: JsonSchema = {
    "summary": "Whether the server is ready to answer.",
    "operationId": "Health",
    "tags": ["Health"],
    "responses": {
        "200": {"description": "It is.", "content": {"text/plain": {"schema": _TEXT}}},
        "503": {"description": "Not yet.", "content": {"text/plain": {"schema": _TEXT}}},
    },
}
