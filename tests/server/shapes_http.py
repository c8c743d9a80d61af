"""Calls of the library of all call shapes over the protocols that are spoken over HTTP."""

import json
from base64 import b64encode

from tests.abuse.wire import frame
from tests.server.shapes import KINDS, SERVICE, request

PROTOCOLS = ("rest", "events", "lines", "web", "web text", "web one")
STREAMS = {
    "events": "many",
    "lines": "answer",
    "web": "many",
    "web text": "many",
}
"""The method of a model that each of them with a stream calls; the others call `one`."""


def http_request(name: str, model_id: str, count: int = 20, *, more: tuple[str, ...] = ()) -> bytes:
    """A request over HTTP/1, of one of the protocols; perhaps its start.

    Args:
        name: Of the protocol.
        model_id: The model that is called.
        count: How many results it is to make, if it makes a stream of them.
        more: Further lines of the head.
    """
    path, kind, body = http_parts(name, model_id, count)
    head = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {kind}",
        f"mm-model-id: {model_id}",
        "Transfer-Encoding: chunked",
        *more,
    ]
    # A stream of lines has no end yet.
    end = b"%x\r\n%b\r\n" if name == "lines" else b"%x\r\n%b\r\n0\r\n\r\n"
    return "\r\n".join([*head, "", ""]).encode() + end % (len(body), body)


def http_parts(name: str, model_id: str, count: int = 20) -> tuple[str, str, bytes]:
    """A request's path, content type and body."""
    one = {"inputs": "w", "model_id": model_id}
    many = {**one, "parameters": {"count": count, "pause": 0.005}}
    line = json.dumps(one).encode() + b"\n"
    web = frame(request("many", text="w", count=count, pause=0.005).SerializeToString())
    web_one = frame(request("one", text="w", pause=0.05).SerializeToString())
    rest = "/api/v1/task/"
    path, kind, body = {
        "rest": (
            f"{rest}talk",
            "json",
            json.dumps({**one, "parameters": {"pause": 0.05}}).encode(),
        ),
        "events": (f"{rest}server-streaming-talk", "json", json.dumps(many).encode()),
        "lines": (f"{rest}bidi-streaming-talk", "x-ndjson", line),
        "web": (f"/{SERVICE}/{KINDS['many']}", "grpc-web+proto", web),
        "web text": (f"/{SERVICE}/{KINDS['many']}", "grpc-web-text", b64encode(web)),
        "web one": (f"/{SERVICE}/{KINDS['one']}", "grpc-web+proto", web_one),
    }[name]
    return path, f"application/{kind}", body
