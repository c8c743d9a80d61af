"""Answers of an OpenAPI document: results, files, streams of events, and failures."""

from kitfox.export.json_schemas import Form, JsonSchema, JsonSchemas
from kitfox.services import BodyStyle, Method, Purpose, Route

__all__ = ["Answers"]

_ERRORS = {
    "400": ("InvalidArgument", "The request cannot be accepted."),
    "404": ("NotFound", "Something that the request names is not there."),
    "406": ("NotAcceptable", "There is no answer of a type that the request accepts."),
    "408": ("TooSlow", "The request did not come in time."),
    "409": ("Conflict", "Something that the request wants to make is there already."),
    "413": ("TooLarge", "The request is larger than the server accepts."),
    "415": ("UnsupportedMediaType", "The body is of a type that is not accepted."),
    "422": ("ValidationError", "The request does not fit its schema; each field is named."),
    "429": ("ResourceExhausted", "A limit was reached; the same request may work later."),
    "500": ("Internal", "It failed; the server's log has the details under the id."),
    "503": ("Unavailable", "Not now; the same request may work later."),
    "504": ("DeadlineExceeded", "The time was up before the answer was there."),
    "default": ("Failure", "Another failure: models choose their status codes."),
}
_OF_QUERIES = ("400", "404", "406", "422", "500", "503", "504")
_OF_BODIES = ("400", "404", "406", "408", "413", "415", "422", "429", "500", "503", "504")
_TRY_AGAIN = ("429", "503")
_RUNS_MODELS = (Purpose.INFERENCE, Purpose.JOB_RESULT)
_FILE = {"schema": {"type": "string", "format": "binary"}}
_EVENTS = (
    "Server-sent events: each `message` has one answer in its `data`; an `error` has what an error "
    "answer has, and ends the stream. Or, for a request that accepts it, one answer a line."
)
_REQUEST_ID = {
    "description": "As the request had it, or a new one; the server's log names it.",
    "schema": {"type": "string"},
}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}


class Answers:
    """Makes the answers of routes.

    Args:
        schemas: Takes the components.
    """

    def __init__(self, schemas: JsonSchemas) -> None:
        self._schemas = schemas
        self._error_schemas = _add_error_schemas(schemas)
        self._used: dict[str, JsonSchema] = {}

    @property
    def components(self) -> dict[str, JsonSchema]:
        """What the answers refer to, beside schemas."""
        return {
            "headers": {"RequestId": _REQUEST_ID},
            "responses": dict(sorted(self._used.items())),
        }

    def of(self, method: Method, route: Route) -> JsonSchema:
        """The answers of a route by status code."""
        has_body = method.is_upload or route.style is not BodyStyle.QUERY
        codes = _OF_BODIES if has_body else _OF_QUERIES
        if method.purpose in (Purpose.DEPLOY, Purpose.MODEL_UPLOAD):
            codes = tuple(sorted((*codes, "409")))
        if method.purpose in _RUNS_MODELS:
            codes = (*codes, "default")
        result = {**self._result(method), "headers": _headers()}
        return {"200": result, **{code: self._error(code) for code in codes}}

    def _result(self, method: Method) -> JsonSchema:
        cls = method.response
        if method.is_download:
            return {"description": "A zip file.", "content": {"application/zip": _FILE}}
        if method.output_streaming:
            schema = self._schemas.reference(cls, Form.ANSWER)
            content: JsonSchema = {
                "text/event-stream": {"schema": self._event(schema)},
                "application/x-ndjson": {"schema": schema},
            }
            return {"description": _EVENTS, "content": content}
        if cls.supports_file_operations:
            content = {"application/octet-stream": _FILE, "*/*": _FILE}
            return {"description": "A file, of a type of its own.", "content": content}
        schema = self._schemas.reference(cls, Form.ANSWER)
        return {"description": "The answer.", "content": {"application/json": {"schema": schema}}}

    def _event(self, schema: JsonSchema) -> JsonSchema:
        """One event of a stream, as the specification of OpenAPI 3.2 has it."""
        contents = {"message": schema, "error": self._error_schemas["others"]}
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {
                        "event": {"const": event},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": content,
                        },
                    },
                    "required": ["event", "data"],
                }
                for event, content in contents.items()
            ]
        }

    def _error(self, code: str) -> JsonSchema:
        name, text = _ERRORS[code]
        schema = self._error_schemas.get(code, self._error_schemas["others"])
        self._used[name] = {
            "description": text,
            "headers": _headers(retry=code in _TRY_AGAIN),
            "content": {"application/json": {"schema": schema}},
        }
        return {"$ref": f"#/components/responses/{name}"}


def _headers(*, retry: bool = False) -> JsonSchema:
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    return {**headers, "retry-after": _RETRY_AFTER} if retry else headers


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
                "input": {"description": "What was given, if it is short and single."},
            },
            "required": ["type", "loc", "msg"],
        },
    )
    problems = {"type": "array", "items": problem}
    invalid = schemas.add(
        "HTTPValidationError",
        {
            "type": "object",
            "properties": {"details": details, "additional_info": problems, **shared},
            "required": ["details", "additional_info", "code", "id"],
        },
    )
    refused = schemas.add(
        "HTTPDetail",
        {"type": "object", "properties": {"detail": details}, "required": ["detail"]},
    )
    return {
        "others": schemas.add(
            "HTTPError",
            {
                "type": "object",
                "properties": {"details": details, **shared},
                "required": ["details", "code", "id"],
            },
        ),
        "406": refused,
        "415": refused,
        # The latter of a form that is none, or has parts that stand for nothing.
        "422": {"anyOf": [invalid, refused]},
    }
