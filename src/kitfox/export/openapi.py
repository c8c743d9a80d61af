"""The method table as an OpenAPI 3.1 document: routes, bodies, answers, errors."""

import importlib.metadata
import inspect
import sys
from typing import Any, TypedDict

from kitfox.data import DataObjectBase
from kitfox.data.schema import Shape
from kitfox.export._bodies import Bodies
from kitfox.export._descriptions import description_of, summary_of
from kitfox.export.json_schemas import Form, JsonSchema, JsonSchemas, fields_of
from kitfox.services import BodyStyle, Method, MethodTable, Purpose, Route

__all__ = ["Info", "library_info", "openapi_document"]

_ERRORS = {
    "400": ("InvalidArgument", "The request cannot be accepted."),
    "404": ("NotFound", "Something that the request names is not there."),
    "409": ("Conflict", "Something that the request wants to make is there already."),
    "413": ("TooLarge", "The request is larger than the server accepts."),
    "415": ("UnsupportedMediaType", "The body is of a type that is not accepted."),
    "422": ("ValidationError", "The request does not fit its schema; each field is named."),
    "429": ("ResourceExhausted", "A limit was reached; the same request may work later."),
    "500": ("Internal", "It failed; the server's log has the details under the id."),
    "503": ("Unavailable", "Not now; the same request may work later."),
    "504": ("DeadlineExceeded", "The time was up before the answer was there."),
}
_OF_QUERIES = ("404", "422", "500", "503")
_OF_BODIES = ("400", "404", "413", "415", "422", "429", "500", "503", "504")


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
        library: A package that has been imported.
        version: In place of the library's own.
    """
    package = sys.modules[library]
    return {
        "title": "".join(part[:1].upper() + part[1:] for part in library.split("_")),
        "description": inspect.cleandoc(package.__doc__ or ""),
        "version": version or _version(library),
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def openapi_document(table: MethodTable, *, info: Info, multipart: bool = False) -> dict[str, Any]:
    """The OpenAPI 3.1 document of everything in the table that has a REST route.

    Args:
        table: The methods.
        info: The head of the document.
        multipart: Whether bodies are offered as `multipart/form-data` as well.
    """
    return _Document(table, multipart=multipart).build(info)


class _Document:
    """Collects paths and components."""

    def __init__(self, table: MethodTable, *, multipart: bool) -> None:
        self._schemas = JsonSchemas()
        self._error_schemas = _add_error_schemas(self._schemas)
        self._bodies = Bodies(self._schemas, multipart=multipart)
        self._methods = [
            (method, method.route)
            for method in table
            if method.route is not None and _is_shown(method)
        ]
        self._used: dict[str, JsonSchema] = {}

    def build(self, info: Info) -> dict[str, Any]:
        """The whole document."""
        # Requests first: see JsonSchemas.
        bodies = [self._bodies.of(method, route) for method, route in self._methods]
        paths: dict[str, dict[str, Any]] = {}
        names: set[str] = set()
        for (method, route), body in zip(self._methods, bodies, strict=True):
            name = method.name if method.name not in names else method.path[1:].replace("/", ".")
            names.add(name)
            operation = self._operation(method, route, body, name)
            paths.setdefault(route.path, {})[route.verb.lower()] = operation
        paths.setdefault("/health", {"get": _HEALTH})
        return {
            "openapi": "3.1.0",
            "info": info,
            "paths": paths,
            "components": {
                "schemas": self._schemas.components,
                "responses": dict(sorted(self._used.items())),
            },
        }

    def _operation(
        self, method: Method, route: Route, body: JsonSchema | None, name: str
    ) -> JsonSchema:
        operation: JsonSchema = {
            "summary": summary_of(method),
            "description": description_of(method),
            "operationId": name,
            "tags": [method.service.rpartition(".")[2]],
        }
        if route.style is BodyStyle.QUERY:
            parameters = self._parameters(method.request)
            if parameters:
                operation["parameters"] = parameters
        if body is not None:
            operation["requestBody"] = body
        operation["responses"] = {"200": self._answer(method), **self._errors(method, route)}
        if method.purpose in (Purpose.INFERENCE, Purpose.JOB_START):
            task = method.task
            if task is not None:
                operation |= task.get_metadata().get("extra_openapi") or {}
        return operation

    def _parameters(self, request: type[DataObjectBase]) -> list[JsonSchema]:
        return [
            {
                "name": field.name,
                "in": "query",
                "required": field.shape is not Shape.LIST,
                "schema": self._schemas.field(field, Form.REQUEST),
            }
            for field in fields_of(request).values()
        ]

    def _answer(self, method: Method) -> JsonSchema:
        cls = method.response
        if cls.supports_file_operations:
            content: JsonSchema = {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            }
            return {"description": "A file.", "content": content}
        schema = self._schemas.reference(cls, Form.ANSWER)
        if method.output_streaming:
            return {
                "description": (
                    "Server-sent events: each `message` has one answer in its `data`; an `error` "
                    "has what an error answer has, and ends the stream."
                ),
                "content": {"text/event-stream": {"schema": schema}},
            }
        return {"description": "The answer.", "content": {"application/json": {"schema": schema}}}

    def _errors(self, method: Method, route: Route) -> JsonSchema:
        codes = _OF_QUERIES if route.style is BodyStyle.QUERY else _OF_BODIES
        if method.purpose is Purpose.DEPLOY:
            codes = tuple(sorted((*codes, "409")))
        return {code: self._error(code) for code in codes}

    def _error(self, code: str) -> JsonSchema:
        name, text = _ERRORS[code]
        schema = self._error_schemas.get(code, self._error_schemas["others"])
        self._used[name] = {
            "description": text,
            "content": {"application/json": {"schema": schema}},
        }
        return {"$ref": f"#/components/responses/{name}"}


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


def _add_error_schemas(schemas: JsonSchemas) -> dict[str, JsonSchema]:
    """The bodies of failed calls, by status code."""
    details = {"type": "string", "description": "What was wrong, for people."}
    shared: JsonSchema = {
        "code": {"type": "integer", "description": "The status code."},
        "id": {"type": "string", "description": "Of the request, as in the server's log."},
    }
    problem = schemas.add(
        "ValidationError",
        {
            "type": "object",
            "properties": {
                "type": {"type": "string", "description": "What kind of fault it is."},
                "loc": {
                    "type": "array",
                    "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                    "description": "Where: names and positions from the outside inwards.",
                },
                "msg": {"type": "string", "description": "What was wrong, for people."},
            },
            "required": ["type", "loc", "msg"],
        },
    )
    problems = {"type": "array", "items": problem}
    return {
        "others": schemas.add(
            "HTTPError",
            {
                "type": "object",
                "properties": {"details": details, **shared},
                "required": ["details", "code", "id"],
            },
        ),
        "415": schemas.add(
            "HTTPDetail",
            {"type": "object", "properties": {"detail": details}, "required": ["detail"]},
        ),
        "422": schemas.add(
            "HTTPValidationError",
            {
                "type": "object",
                "properties": {"details": details, "additional_info": problems, **shared},
                "required": ["details", "additional_info", "code", "id"],
            },
        ),
    }
