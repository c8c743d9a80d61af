"""The outcome of a gRPC call: a status and a message, in trailers or in the only header block."""

from base64 import b64encode
from urllib.parse import quote

from kitfox.errors import Code, KitfoxError
from kitfox.server.answers import HeaderList
from kitfox.server.asgi import Scope, Send, given_request_id
from kitfox.server.error_details import status_details

__all__ = [
    "CONTENT_TYPE",
    "EMPTY_BODY",
    "HEADERS",
    "detail_headers",
    "refuse",
    "send_status",
    "status_headers",
    "unimplemented",
]

CONTENT_TYPE = b"application/grpc"
HEADERS: HeaderList = [
    (b"content-type", CONTENT_TYPE),
    (b"grpc-accept-encoding", b"identity,gzip"),
]
"""What each answer begins with."""
EMPTY_BODY = {"type": "http.response.body", "body": b"", "more_body": False}
"""ASGI's message for the end of a body."""


async def unimplemented(scope: Scope, send: Send) -> None:
    """Answers a call of a method that is not in the table."""
    await refuse(scope, send, Code.UNIMPLEMENTED, f"Method not found: {scope['path']}")


async def refuse(scope: Scope, send: Send, code: Code, message: str) -> None:
    """Ends a call that no endpoint has seen."""
    await send_status(send, code, message, [*HEADERS, *given_request_id(scope["headers"])])


async def send_status(send: Send, code: Code, message: str, headers: HeaderList = HEADERS) -> None:
    """Ends a call before any message was sent: status and message in the only header block."""
    start = {"type": "http.response.start", "status": 200}
    await send({**start, "headers": [*headers, *status_headers(code, message)]})
    await send(EMPTY_BODY)


def detail_headers(failure: KitfoxError, request_id: str) -> HeaderList:
    """What a failure says beside its message; nothing where clients would not take it."""
    details = status_details(failure, request_id)
    if details is None or _encoded(failure.message).endswith(_MORE):
        # Clients compare the messages of the two, and one of them is shortened.
        return []
    return [(b"grpc-status-details-bin", b64encode(details).rstrip(b"="))]


def status_headers(code: Code, message: str) -> HeaderList:
    """The outcome of a call, as a header block or trailers have it."""
    status = [(b"grpc-status", str(int(code)).encode())]
    if message:
        status.append((b"grpc-message", _encoded(message).encode()))
    return status


# Clients drop a call whose headers are larger than 8 KiB; details have as much again.
_LONGEST_MESSAGE = 3072
_MORE = " [...]"
# Everything printable but the percent sign travels as it is.
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def _encoded(message: str) -> str:
    """A message as it travels: percent-encoded, and shortened where it is too long."""
    message = message[: _LONGEST_MESSAGE + 1]
    text = quote(message, _UNQUOTED, errors="replace")
    while len(text) > _LONGEST_MESSAGE:
        message = message[: len(message) * _LONGEST_MESSAGE // len(text) - len(_MORE)]
        text = quote(message, _UNQUOTED, errors="replace") + _MORE
    # HTTP/2 has no blanks around a value, and there are clients that end the connection for one.
    if text[:1] == " ":
        text = "%20" + text[1:]
    return text[:-1] + "%20" if text[-1:] == " " else text
