"""The parts of requests: headers, addresses, gRPC's frames, forms, queries; right or nearly."""

import base64
import gzip
import itertools
import random
import struct
from typing import Any, TypeAlias
from urllib.parse import quote_plus

import msgspec

from kitfox.services import Method
from kitfox.services.methods import BodyStyle
from tests.fuzz.mutations import mutate_bytes
from tests.fuzz.values import text

__all__ = [
    "CONTROLS",
    "JSON",
    "Headers",
    "as_web",
    "body_of",
    "cut",
    "form_of",
    "grpc_frame",
    "packed",
    "query_of",
    "wrong_address",
    "wrong_frames",
    "wrong_headers",
]

Headers: TypeAlias = list[tuple[bytes, bytes]]

CONTROLS = bytes([*range(0x21), 0x7F])
JSON = b"application/json"
_ACCEPTS = (
    *(b"*/*", b"application/json", b"text/event-stream", b"application/x-ndjson", b"", b","),
    *(b"text/*;q=0.1, application/*;q=nan", b"*/*;q=inf", b"a/b;q=" + b"9" * 400, b"\xff/\xff"),
    b"application/json;q=0",
)
_TYPES = (
    *(
        b"application/grpc",
        b"application/grpc+proto",
        b"application/grpc+json",
        b"application/grpc",
    ),
    *(b"application/grpc-web", b"application/grpc-web-text", b"application/grpc;x", JSON, b""),
    *(
        b"application/json; charset=latin-1",
        b"APPLICATION/JSON",
        b"multipart/form-data",
        b"a" * 999,
    ),
    *(b"multipart/form-data; boundary=", b"multipart/form-data; boundary=\"a'", b"\xff", b";;;"),
    *(b"application/x-www-form-urlencoded", b"text/event-stream", b"application/jsonl"),
    *(
        b"multipart/form-data; boundary*0=a; boundary*1=b",
        b"multipart/form-data; boundary*=utf-8''%",
    ),
)
_HEADERS = {
    b"content-type": _TYPES,
    b"mm-model-id": (b"", b"nobody", b"../..", b"/etc/passwd", b"\xff\xfe", b"a" * 5000, b"a\tb"),
    b"grpc-timeout": (b"1n", b"5m", b"1S", b"99999999H", b"0n", b"-1S", b"1", b"S", b"\xb2S", b""),
    b"request-timeout": (b"0.01", b"1e9", b"nan", b"inf", b"-1", b"1_0", b"", b"\xff"),
    b"grpc-encoding": (b"gzip", b"identity", b"deflate", b"zstd", b"\xff", b"", b"gzip, gzip"),
    b"content-encoding": (b"gzip", b"identity", b"br", b"gzip, gzip", b"", b"\xff"),
    b"x-request-id": (b"abc", b"a" * 128, b"a" * 129, b"a b", b"\xff", b"", b"a\x7f", b"\xc2\xa0"),
    b"content-length": (b"0", b"5", b"99999999999", b"-1", b"abc", b"1" * 5000, b"\xb2", b"+5"),
    b"accept": _ACCEPTS,
    b"accept-encoding": (b"gzip", b"*;q=0", b"gzip;q=x", b"gzip;q=1e999", b";;,,=;q"),
    b"grpc-accept-encoding": (b"gzip", b"", b"\xff"),
    b"origin": (b"null", b"http://a", b"\xff"),
    b"traceparent": (b"00-0-0-0", b"\xff"),
    b"data-bin": (b"AAE", b"====", b"\xff", b"AAE=,AAE="),
}


def wrong_headers(headers: Headers, chance: random.Random) -> Headers:
    """The headers with some of them wrong, missing or there twice."""
    changed = list(headers)
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(list(_HEADERS))
        match chance.randrange(4):
            case 0 if changed:
                changed.pop(chance.randrange(len(changed)))
            case 1:
                changed.append((name, chance.choice(_HEADERS[name])))
            case _:
                kept = [item for item in changed if item[0] != name]
                changed = [*kept, (name, chance.choice(_HEADERS[name]))]
    return changed


def wrong_address(verb: str, path: str, chance: random.Random) -> tuple[str, str]:
    """Now and then another verb, another path."""
    if chance.random() < 0.3:
        verb = chance.choice(("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "POST", "X"))
    if chance.random() < 0.3:
        ends = ("/", "//", "?", "/x", "\0", "é", "%2e", "\udcff", "/../health")
        path = chance.choice((path + chance.choice(ends), path.upper(), path[:-1], "/", "", "*"))
    elif chance.random() < 0.1:
        path = chance.choice(("/health", "/openapi.json", "/docs", "/docs/docs.js", "/redoc"))
    return verb, path


def grpc_frame(message: bytes, is_packed: bool) -> bytes:
    """A message with its head."""
    return struct.pack(">BI", is_packed, len(message)) + message


def packed(message: bytes, chance: random.Random) -> bytes:
    """As gzip would make it, or nearly."""
    match chance.randrange(5):
        case 0:
            message += bytes(chance.choice((100_000, 140_000, 3_000_000)))
        case 1:
            return gzip.compress(message, mtime=0) * 2
        case 2:
            return mutate_bytes(gzip.compress(message, mtime=0), chance)
        case 3:
            return gzip.compress(message, mtime=0)[: chance.randint(0, 30)]
    return gzip.compress(message, 1, mtime=0)


def wrong_frames(body: bytes, other: bytes, chance: random.Random) -> bytes:
    """Messages whose heads are not what they should be."""
    match chance.randrange(5):
        case 0:
            return mutate_bytes(body, chance, other)
        case 1:
            return body[:1] + struct.pack(">I", chance.choice((0, 1, 2**16 + 1, 2**31, 2**32 - 1)))
        case 2:
            return bytes([chance.randrange(256)]) + body[1:]
        case 3:
            return body + body[: chance.randint(0, len(body))]
        case _:
            return chance.randbytes(chance.randrange(60))


def as_web(headers: Headers, body: bytes, chance: random.Random) -> bytes:
    """The same request by gRPC-Web."""
    is_text = chance.random() < 0.5
    kind = b"application/grpc-web-text" if is_text else b"application/grpc-web+proto"
    headers[0] = (b"content-type", kind)
    headers.append((b"accept", kind))
    return base64.b64encode(body) if is_text else body


def cut(body: bytes, chance: random.Random) -> tuple[bytes, ...]:
    """The body in pieces, of which some may be empty."""
    if not body or chance.random() < 0.6:
        return (body,)
    if len(body) < 200 and chance.random() < 0.2:
        return tuple(body[place : place + 1] for place in range(len(body)))
    places = sorted(chance.randint(0, len(body)) for _ in range(chance.randrange(1, 5)))
    edges = [0, *places, len(body)]
    return tuple(body[start:end] for start, end in itertools.pairwise(edges))


def query_of(fields: dict[str, Any], chance: random.Random, *, is_wrong: bool) -> bytes:
    """The query that stands for the fields."""
    pairs = [(name, str(value)) for name, value in fields.items()]
    if is_wrong:
        pairs.append((chance.choice(("x", "training_id", "model_ids")), text(chance)))
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def body_of(method: Method, fields: dict[str, Any], model: str) -> dict[str, Any]:
    """The JSON that stands for the fields."""
    assert method.route is not None
    if method.route.style is BodyStyle.MESSAGE:
        return fields
    inputs = {name: value for name, value in fields.items() if name in method.route.inputs}
    body: dict[str, Any] = {"model_id": model, "inputs": inputs}
    if len(method.route.inputs) == 1:
        body["inputs"] = next(iter(inputs.values()), None)
    options = {name: value for name, value in fields.items() if name in method.route.options}
    return {**body, "parameters": options} if options else body


def form_of(
    body: dict[str, Any], headers: Headers, chance: random.Random, *, is_wrong: bool
) -> bytes:
    """The form that stands for a JSON body; its type goes to the headers."""
    parts = list(_parts("", body, chance))
    if is_wrong and parts:
        place = chance.randrange(len(parts))
        name, content = parts[place]
        change = chance.choice((lambda item: item + b".x", lambda item: mutate_bytes(item, chance)))
        parts[place] = (change(name), mutate_bytes(content, chance))
    boundary = b"b" * chance.choice((1, 10, 70, 71))
    lines: list[bytes] = []
    for name, content in parts:
        file = chance.choice((b"", b"", b'; filename="a\xc3\xa9.txt"', b"; filename=", b'; x="'))
        kind = chance.choice((b"", b"", b"Content-Type: application/json\r\n", b"X:\r\n", b"\r"))
        head = b'Content-Disposition: form-data; name="%b"%b\r\n%b\r\n' % (name, file, kind)
        lines.append(b"--%b\r\n%b%b\r\n" % (boundary, head, content))
    headers.append((b"content-type", b"multipart/form-data; boundary=" + boundary))
    return b"".join(lines) + b"--%b--\r\n" % boundary


def _parts(prefix: str, value: Any, chance: random.Random) -> list[tuple[bytes, bytes]]:
    """The parts of a form that stand for a value: dotted names, or JSON."""
    if isinstance(value, dict) and chance.random() < 0.8:
        dot = prefix and prefix + "."
        items = [_parts(dot + name, inside, chance) for name, inside in value.items()]
        return [part for item in items for part in item]
    data = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return [(prefix.encode(), data)]
