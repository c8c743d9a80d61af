"""Whether an answer is one that a client can read, and one that may be given."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from google.rpc import status_pb2  # type: ignore[import-untyped] # it has no types

from kitfox.errors import Code
from kitfox.server.asgi import Message
from tests.fuzz.cases import Case

__all__ = ["STATUSES", "problem"]

Headers = list[tuple[bytes, bytes]]

# What tells of a defect of ours.
_OUR_CODES = {Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS}
STATUSES = {200, 204, 307, 400, 404, 405, 406, 408, 409, 413, 415, 422, 429, 499, 504}


def problem(case: Case, sent: list[Message]) -> str:
    """What is wrong with an answer; empty if nothing is."""
    try:
        _check(case, sent)
    except AssertionError as err:
        return str(err) or "an assertion failed"
    except (ValueError, KeyError, IndexError, struct.error, msgspec.MsgspecError) as err:
        return f"the answer cannot be read: {type(err).__name__}: {err}"
    return ""


def _check(case: Case, sent: list[Message]) -> None:
    if len(sent) >= case.takes or case.leaves:
        return
    assert sent, "no answer"
    start, *rest = sent
    assert start["type"] == "http.response.start", f"the answer begins with {start['type']}"
    headers: Headers = list(start["headers"])
    _check_headers(headers)
    trailers = _trailers(start, rest)
    bodies = [message.get("body", b"") for message in rest if "body" in message["type"]]
    body = b"".join(bodies)
    assert not body or case.verb != "HEAD", "a body where there is none for HEAD"
    status = start["status"]
    assert status in STATUSES, f"status {status}"
    found = dict(headers)
    kind = found.get(b"content-type", b"")
    if (length := found.get(b"content-length")) is not None and case.verb != "HEAD":
        assert int(length) == len(body), f"content-length {length!r} for {len(body)} bytes"
    if case.verb == "HEAD":
        return
    if status == 200 and kind.startswith(b"application/grpc-web"):
        _check_web(case, body, is_text=kind.startswith(b"application/grpc-web-text"))
    elif status == 200 and kind == b"application/grpc":
        _check_grpc(case, headers, trailers, body)
    else:
        assert not trailers, "trailers without gRPC"
        _check_rest(case, status, kind, body)


def _check_headers(headers: Headers) -> None:
    for name, value in headers:
        assert name == name.lower(), f"header {name!r} is not in lower case"
        assert not set(name + value) & set(b"\r\n\0"), (
            f"header {name!r} holds a line end: {value!r}"
        )
        assert value == value.strip(b" \t"), f"header {name!r} has blanks around it: {value!r}"


def _trailers(start: Message, rest: list[Message]) -> Headers:
    """The trailers; everything must be in its order, and come to an end."""
    assert rest, "a start and nothing else"
    promised = start.get("trailers", False)
    last = rest[-1]
    if promised:
        assert last["type"] == "http.response.trailers", "promised trailers did not come"
        assert not last.get("more_trailers"), "more trailers were promised and did not come"
        rest = rest[:-1]
    assert all(message["type"] == "http.response.body" for message in rest), "events out of order"
    more = [message.get("more_body", False) for message in rest]
    assert all(more[:-1]), "more body after its end"
    assert not more or not more[-1], "the body has no end"
    trailers: Headers = list(last["headers"]) if promised else []
    _check_headers(trailers)
    return trailers


def _check_grpc(case: Case, headers: Headers, trailers: Headers, body: bytes) -> None:
    outcome = [*headers, *trailers]
    codes = [int(value) for name, value in outcome if name == b"grpc-status"]
    assert len(codes) == 1, f"{len(codes)} grpc-status"
    message = dict(outcome).get(b"grpc-message", b"")
    text = unquote_to_bytes(message).decode()
    details = dict(outcome).get(b"grpc-status-details-bin")
    if details is not None:
        status = status_pb2.Status.FromString(
            base64.b64decode(details + b"=" * (-len(details) % 4))
        )
        assert status.code == codes[0], f"details of {status.code} for {codes[0]}"
    _check_code(case, Code(codes[0]), text)
    messages = list(_frames(body))
    if codes[0] == 0 and b"Streaming" not in case.path.encode() and "Reflection" not in case.path:
        assert len(messages) == 1, f"{len(messages)} messages"


def _check_code(case: Case, code: Code, text: str) -> None:
    assert code not in _OUR_CODES, f"{code.name}: {text}"
    assert code is Code.OK or not case.is_valid, f"a valid request was refused: {code.name}: {text}"
    assert code is Code.OK or text, f"{code.name} without a word"
    assert "Traceback" not in text, text


def _frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(body):
        flag, size = struct.unpack_from(">BI", body, place)
        message = body[place + 5 : place + 5 + size]
        assert len(message) == size, "a frame is cut off"
        assert flag in (0, 1, 0x80), f"a frame's flag is {flag}"
        yield flag, message
        place += 5 + size


def _check_web(case: Case, body: bytes, *, is_text: bool) -> None:
    if is_text:
        body = b"".join(base64.b64decode(part) for part in _padded(body))
    frames = list(_frames(body))
    assert frames, "no trailers"
    assert [flag & 0x80 for flag, _ in frames].count(0x80) == 1, "not one frame of trailers"
    flag, block = frames[-1]
    assert flag == 0x80, "the trailers are not last"
    pairs = [line.split(b": ", 1) for line in block.split(b"\r\n")[:-1]]
    trailers = [(name, value) for name, value in pairs]
    body = b"".join(struct.pack(">BI", flag, len(data)) + data for flag, data in frames[:-1])
    _check_grpc(case, [], trailers, body)


def _padded(text: bytes) -> Iterator[bytes]:
    """The parts of a text that were encoded each by itself."""
    start = 0
    while start < len(text):
        end = text.find(b"=", start)
        if end < 0:
            yield text[start:]
            return
        end += 2 if text[end + 1 : end + 2] == b"=" else 1
        yield text[start:end]
        start = end


def _check_rest(case: Case, status: int, kind: bytes, body: bytes) -> None:
    assert status < 300 or not case.is_valid, f"a valid request was refused: {status}: {body!r}"
    if status >= 400:
        if case.verb != "HEAD" and (body or status != 415):
            assert kind == b"application/json", f"an error of type {kind!r}"
            _check_error(status, body)
        return
    base = kind.partition(b";")[0]
    if base == b"application/json" and case.verb != "HEAD":
        _loads(_unpacked(body))
    elif base == b"application/x-ndjson":
        for line in body.splitlines():
            if line:
                _check_failed(_loads(line).get("error"))
    elif base == b"text/event-stream":
        for event in body.split(b"\r\n\r\n")[:-1]:
            _check_event(event)


def _unpacked(body: bytes) -> bytes:
    import gzip

    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def _check_event(event: bytes) -> None:
    if event == b": ping":
        return
    name, data = event.split(b"\r\n")
    assert name.startswith(b"event: "), f"an event begins with {name!r}"
    assert data.startswith(b"data: "), f"an event goes on with {data!r}"
    value = _loads(data[6:])
    if name == b"event: error":
        _check_failed(value)


def _check_failed(value: Any) -> None:
    """The failure that ends a stream."""
    if value is not None:
        assert value["code"] in STATUSES, f"a stream ends with {value}"


def _check_error(status: int, body: bytes) -> None:
    content = _loads(body)
    if "detail" in content:
        assert set(content) == {"detail"}, f"an error has {sorted(content)}"
        assert isinstance(content["detail"], str), content
        return
    expected = {"details", "code", "id"}
    if "additional_info" in content:
        expected.add("additional_info")
        for item in content["additional_info"]:
            assert set(item) == {"type", "loc", "msg", "input"}, f"an error's field has {item}"
    assert set(content) == expected, f"an error has {sorted(content)}"
    assert content["code"] == status, f"code {content['code']} for status {status}"
    assert content["details"], "an error without a word"
    assert content["id"], "an error without an id"


def _loads(text: bytes) -> Any:
    """A JSON value, by two readers."""
    value = msgspec.json.decode(text)
    json.loads(text.decode(), parse_constant=_refuse)
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
