"""What Envoy answers by itself, put into our words and our JSON.

gRPC calls get a status and the same words.
"""

from dataclasses import dataclass
from typing import Any

from kitfox.errors import Code
from kitfox.server._refusals import (
    NOT_HTTP,
    PATH_NOT_TEXT,
    headers_too_large,
    headers_too_slow,
    holds_too_much,
    retry_details,
    stood_still,
    too_many_headers,
)
from kitfox.server.options import Options

__all__ = ["FULL_POLICY", "PATH_POLICY", "local_replies"]

FULL_POLICY = "full"
"""What the rule is called by which Envoy refuses everything."""
PATH_POLICY = "path"
"""What the rule is called by which Envoy refuses paths that are no text."""

_REQUEST_ID = (
    '%COALESCE({"operators": [{"command": "REQUEST_HEADER", "param": "x-request-id"}, '
    '"UNIQUE_ID"]})%'
)
_IDENTITY = {
    "header": {"key": "x-request-id", "value": _REQUEST_ID},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
_GRPC = {
    "header_filter": {
        "header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    }
}
_STATUS_500 = {
    "status_code_filter": {
        "comparison": {"op": "EQ", "value": {"default_value": 500, "runtime_key": "unused"}}
    }
}
_ANY_STATUS = {
    "status_code_filter": {
        "comparison": {"op": "GE", "value": {"default_value": 0, "runtime_key": "unused"}}
    }
}
_CEL = {
    "name": "envoy.access_loggers.extension_filters.cel",
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
}


@dataclass(frozen=True, slots=True)
class _Reply:
    details: str
    """Envoy's name for the occasion (RESPONSE_CODE_DETAILS)."""
    code: Code
    """The status of a gRPC call."""
    text: str
    status: int | None = None
    """HTTP's, where it is not the one that Envoy would have taken."""
    retry_after: int | None = None
    """After how many seconds to try again."""

    @property
    def grpc_headers(self) -> list[dict[str, Any]]:
        """What a gRPC call is told."""
        return [_grpc_status(self.code), _IDENTITY, *self._grpc_details()]

    @property
    def http_headers(self) -> list[dict[str, Any]]:
        """What any other request is told, beside its body."""
        if self.retry_after is None:
            return [_IDENTITY]
        return [_IDENTITY, _set("retry-after", str(self.retry_after))]

    def _grpc_details(self) -> list[dict[str, Any]]:
        if self.retry_after is None:
            return []
        return [_set("grpc-status-details-bin", retry_details(self.text, self.retry_after))]


def local_replies(options: Options) -> dict[str, Any]:
    """The connection manager's `local_reply_config`."""
    replies = [
        _Reply(
            "http1.headers_too_large",
            Code.RESOURCE_EXHAUSTED,
            headers_too_large(options.max_header_bytes),
        ),
        _Reply(
            "http1.too_many_headers", Code.RESOURCE_EXHAUSTED, too_many_headers(options.max_headers)
        ),
        _Reply("request_header_timeout", Code.DEADLINE_EXCEEDED, headers_too_slow(options)),
        _Reply("stream_idle_timeout", Code.DEADLINE_EXCEEDED, stood_still(options)),
        _Reply("http1.codec_error", Code.INVALID_ARGUMENT, NOT_HTTP),
        _Reply(
            _denied(PATH_POLICY),
            Code.INVALID_ARGUMENT,
            PATH_NOT_TEXT,
            status=400,
        ),
        _Reply(
            _denied(FULL_POLICY),
            Code.RESOURCE_EXHAUSTED,
            holds_too_much(options),
            status=429,
            retry_after=1,
        ),
    ]
    # That the server is there, in the words of `/health`; nothing went wrong.
    alive = {"filter": _occasion("health_check_ok"), "body_format_override": _text("OK")}
    mappers: list[dict[str, Any]] = [alive]
    for reply in replies:
        occasion = _occasion(reply.details)
        mappers += [
            {
                "filter": {"and_filter": {"filters": [_GRPC, occasion]}},
                "body_format_override": _text(reply.text),
                "headers_to_add": reply.grpc_headers,
                **_status(reply.status),
            },
            {
                "filter": occasion,
                **_refusal(reply.text),
                "headers_to_add": reply.http_headers,
                **_status(reply.status),
            },
        ]
    # pyvoy answers in the place of an application that raised, and says status 0 to gRPC callers.
    for occasion, code in ((_STATUS_500, Code.INTERNAL), (_GRPC, Code.UNAVAILABLE)):
        mappers.append(
            {
                "filter": {"and_filter": {"filters": [_GRPC, occasion]}},
                "body_format_override": _text("%LOCAL_REPLY_BODY%"),
                "headers_to_add": [_grpc_status(code), _IDENTITY],
            }
        )
    mappers.append({"filter": _ANY_STATUS, **_refusal("%LOCAL_REPLY_BODY%")})
    return {"mappers": mappers}


def _denied(policy: str) -> str:
    return f"rbac_access_denied_matched_policy[{policy}]"


def _occasion(details: str) -> dict[str, Any]:
    expression = f'response.code_details == "{details}"'
    config = {"@type": _CEL["@type"], "expression": expression}
    return {"extension_filter": {"name": _CEL["name"], "typed_config": config}}


def _refusal(text: str) -> dict[str, Any]:
    """JSON with the words of a refusal and the id of the request, which is a header as well."""
    return {
        "headers_to_add": [_IDENTITY],
        # Envoy writes the number as one, and escapes what comes from the request. A second
        # `UNIQUE_ID` would be another one.
        "body_format_override": {
            "json_format": {
                "details": text,
                "code": "%RESPONSE_CODE%",
                "id": "%RESP(x-request-id)%",
            }
        },
    }


def _status(status: int | None) -> dict[str, Any]:
    return {} if status is None else {"status_code": status}


def _text(text: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": text}}


def _grpc_status(code: Code) -> dict[str, Any]:
    return _set("grpc-status", str(int(code)))


def _set(name: str, value: str) -> dict[str, Any]:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
