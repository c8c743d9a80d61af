"""REST: JSON bodies and query parameters in, JSON out, HTTP status codes for the outcome.

Only this file knows HTTP's numbers. Error bodies have the shapes that caikit's clients parse:
`{"details", "code", "id"}`, and `additional_info` for a body that does not fit its schema.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kitfox.data import DataObjectBase, codec_of, convert_json_value
from kitfox.errors import (
    Code,
    FieldError,
    Internal,
    InvalidArgument,
    KitfoxError,
    ResourceExhausted,
    ValidationError,
)
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import Headers, Receive, Scope, Send, header, read_body
from kitfox.server.failure import as_kitfox_error
from kitfox.services.methods import BodyStyle, Context, Handler, Method, Route

__all__ = ["HTTP_STATUS", "RestMethod", "send_detail", "send_json", "send_text"]

HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.DATA_LOSS: 500,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
# A body that does not fit its schema, as caikit's clients know it.
_UNPROCESSABLE = 422

_JSON = b"application/json"
_encode = msgspec.json.Encoder().encode


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The outermost object of an inference request."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model_id: str | None = None


class _BareBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same for a method without parameters beside its inputs."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model_id: str | None = None


class RestMethod:
    """One method as a REST endpoint.

    Args:
        method: The row of the method table; it has a route.
        handler: What does its work.
        limit: The most bytes of a body.
        metrics: Counts the calls.
    """

    def __init__(
        self, method: Method, handler: Handler, *, limit: int, metrics: CallMetrics
    ) -> None:
        assert method.route is not None, method.name  # noqa: S101 -- the table's own promise
        self._method = method
        self._route: Route = method.route
        self._encode = codec_of(method.response).encode_json
        self._handler = handler
        self._limit = limit
        self._metrics = metrics
        self._read = {
            BodyStyle.INFERENCE: self._read_inference,
            BodyStyle.MESSAGE: self._read_message,
            BodyStyle.QUERY: self._read_query,
        }[self._route.style]
        self._body: msgspec.json.Decoder[_Body] | msgspec.json.Decoder[_BareBody] = (
            msgspec.json.Decoder(_Body) if self._route.options else msgspec.json.Decoder(_BareBody)
        )
        self._inputs = _value_reader(self._route.inputs)
        self._parameters = {
            name: _annotation_reader(kind) for name, kind in self._route.options.items()
        }
        self._request_codec = codec_of(method.request)
        self._lists = {
            name
            for name, info in method.request.get_proto_class().DESCRIPTOR.fields_by_name.items()
            if info.is_repeated
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = time.perf_counter()
        headers = scope["headers"]
        context = Context(request_id=header(headers, b"x-request-id").decode("latin-1"))
        try:
            body = await read_body(receive, self._limit)
            if self._route.style is not BodyStyle.QUERY and not _is_json(headers):
                await send_detail(send, 415, _unsupported(headers))
                return
            fields = self._read(body, scope, context)
            result = await self._handler(fields, context)
            payload = self._serialize(result)
        except Exception as err:  # noqa: BLE001 -- the edge of a request
            failure = as_kitfox_error(err, context, self._method.name)
            self._metrics.count(self._method.name, failure.code, context.model_id, started)
            await _send_failure(send, failure, context)
            return
        self._metrics.count(self._method.name, Code.OK, context.model_id, started)
        await send_json(send, 200, payload)

    def _read_inference(self, body: bytes, scope: Scope, context: Context) -> dict[str, Any]:
        try:
            request = self._body.decode(body)
        except msgspec.ValidationError as err:
            raise _envelope_error(err, body) from err
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise ValidationError.at((), f"Invalid JSON: {err}", kind="json") from err
        if request.model_id is None:
            raise InvalidArgument("Please provide model_id in payload")
        if not request.model_id:
            raise InvalidArgument("Missing required model ID")
        context.model_id = request.model_id
        fields: dict[str, Any] = {}
        if request.inputs is not msgspec.UNSET:
            self._inputs(request.inputs, fields)
        if isinstance(request, _Body) and request.parameters is not msgspec.UNSET:
            _read_object(request.parameters, self._parameters, ("parameters",), fields)
        return fields

    def _read_message(self, body: bytes, scope: Scope, context: Context) -> dict[str, Any]:
        request = self._request_codec.decode_json(body)
        return _set_fields(request)

    def _read_query(self, body: bytes, scope: Scope, context: Context) -> dict[str, Any]:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in self._lists:
                values.setdefault(name, []).append(value)
            elif name in self._method.request.fields:
                values[name] = value
        for name in self._method.request.fields:
            if name not in values and name not in self._lists:
                raise ValidationError.at(("query", name), "Field required", kind="missing")
        return values

    def _serialize(self, result: Any) -> bytes:
        try:
            return self._encode(result)
        except (TypeError, ValueError, AttributeError) as err:
            raise Internal("Could not serialize response") from err


def _set_fields(message: DataObjectBase) -> dict[str, Any]:
    """The fields of a request object that hold something."""
    values = {name: getattr(message, name) for name in message.fields}
    return {name: value for name, value in values.items() if value is not None}


def _annotation_reader(annotation: Any) -> Callable[[msgspec.Raw], Any]:
    if isinstance(annotation, type) and issubclass(annotation, DataObjectBase):
        decode = codec_of(annotation).decode_json
        return lambda raw: decode(bytes(raw))
    return lambda raw: convert_json_value(annotation, msgspec.json.decode(raw))


def _value_reader(inputs: Any) -> Callable[[msgspec.Raw, dict[str, Any]], None]:
    """Reads `inputs`: the bare value of a single required parameter, else an object of them."""
    readers = {name: _annotation_reader(kind) for name, kind in inputs.items()}
    if len(readers) != 1:
        return lambda raw, fields: _read_object(raw, readers, ("inputs",), fields)
    ((name, reader),) = readers.items()

    def read(raw: msgspec.Raw, fields: dict[str, Any]) -> None:
        if bytes(raw) == b"null":
            return
        try:
            fields[name] = reader(raw)
        except ValidationError as err:
            raise err.below("inputs") from err

    return read


def _read_object(
    raw: msgspec.Raw,
    readers: dict[str, Callable[[msgspec.Raw], Any]],
    path: tuple[str, ...],
    fields: dict[str, Any],
) -> None:
    try:
        values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as err:
        raise ValidationError.at(path, "Input should be an object", kind="type") from err
    problems: list[FieldError] = []
    for name, value in values.items():
        reader = readers.get(name)
        if reader is None:
            known = ", ".join(readers) or "none"
            message = f"Extra inputs are not permitted; expected one of: {known}"
            problems.append(FieldError(path=(*path, name), message=message, kind="unknown"))
            continue
        if bytes(value) == b"null":
            continue
        try:
            fields[name] = reader(value)
        except ValidationError as err:
            problems.extend(err.below(*path, name).fields)
    if problems:
        raise ValidationError(problems)


def _envelope_error(err: msgspec.ValidationError, body: bytes) -> ValidationError:
    text = str(err)
    if "unknown field" in text:
        name = text.split("`")[1]
        message = "Extra inputs are not permitted; expected inputs, parameters, model_id"
        return ValidationError.at((name,), message, kind="unknown")
    if "$.model_id" in text:
        return ValidationError.at(("model_id",), "Input should be a valid string", kind="type")
    return ValidationError.at((), "Input should be an object", kind="type")


def _is_json(headers: Headers) -> bool:
    kind = header(headers, b"content-type")
    return kind == _JSON or kind.split(b";", 1)[0].strip().lower() == _JSON


def _unsupported(headers: Headers) -> str:
    kind = header(headers, b"content-type").decode("latin-1")
    return f"Unsupported media type: {kind or 'none given'}; expected application/json."


async def send_json(send: Send, status: int, body: bytes) -> None:
    """Sends a JSON answer."""
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_text(send: Send, status: int, text: str, kind: str = "text/plain") -> None:
    """Sends a text answer."""
    body = text.encode()
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_detail(send: Send, status: int, text: str, allow: str = "") -> None:
    """Sends the short error body of a request that met no method."""
    body = _encode({"detail": text})
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
    if allow:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _send_failure(send: Send, failure: KitfoxError, context: Context) -> None:
    status = HTTP_STATUS[failure.code]
    body: dict[str, Any] = {"details": failure.message}
    if isinstance(failure, ValidationError):
        status = _UNPROCESSABLE
        body["additional_info"] = [
            {"type": item.kind, "loc": list(item.path), "msg": item.message}
            for item in failure.fields
        ]
    elif isinstance(failure, ResourceExhausted) and "max_message_size" in failure.message:
        status = 413
    body["code"] = status
    body["id"] = context.request_id
    await send_json(send, status, _encode(body))
