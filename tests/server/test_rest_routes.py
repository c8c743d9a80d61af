"""Requests for which no endpoint is there as they are: other verbs, other paths."""

import asyncio

import pytest

from kitfox.server.app import Application
from kitfox.server.asgi import Receive, Scope, Send
from kitfox.server.endpoints import Endpoints
from tests.server.rest_calls import Answer, Client


async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"4"), (b"x-own", scope["method"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"do", "more_body": True})
    await send({"type": "http.response.body", "body": b"ne", "more_body": False})


APPLICATION = Application(
    endpoints=Endpoints(
        rpcs={"/test.Service/Method": endpoint},
        routes={"/job": {"GET": endpoint, "DELETE": endpoint}, "/task": {"POST": endpoint}},
    ),
    is_ready=lambda: True,
)


def ask(verb: str, path: str, query: str = "", request_id: str = "") -> Answer:
    async def run() -> Answer:
        headers = {"x-request-id": request_id} if request_id else {}
        return await Client(APPLICATION, verb=verb, path=path, query=query, headers=headers).run()

    return asyncio.run(run())


def test_head_is_get_without_the_body() -> None:
    answer = ask("HEAD", "/job")
    assert (answer.status, answer.body, answer.ended) == (200, b"", True)
    assert answer.headers["content-length"] == "4"


@pytest.mark.parametrize("path", ["/task", "/nope", "/health"])
def test_a_refused_head_has_no_body_either(path: str) -> None:
    answer = ask("HEAD", path)
    assert answer.status in (404, 405)
    assert answer.body == b""
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/job", "DELETE, GET, HEAD, OPTIONS"),
        ("/task", "OPTIONS, POST"),
        ("/test.Service/Method", "OPTIONS, POST"),
    ],
)
def test_options_tells_the_verbs(path: str, allow: str) -> None:
    answer = ask("OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, allow, b"")


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("PUT", "/job", "DELETE, GET"),
        ("GET", "/task", "POST"),
        ("GET", "/test.Service/Method", "POST"),
        ("POST", "/health", "GET"),
    ],
)
def test_a_wrong_verb_is_told_the_right_ones(verb: str, path: str, allow: str) -> None:
    answer = ask(verb, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert answer.json == {"detail": "Method Not Allowed"}


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/task/", "", "/task"),
        ("/task//", "a=1&b=%20", "/task?a=1&b=%20"),
        ("/", "", ""),
        ("/nope/", "", ""),
        ("//evil.example/", "", ""),
        ("/test.Service/Method/", "", ""),
    ],
)
def test_a_slash_too_many_is_led_back(path: str, query: str, location: str) -> None:
    answer = ask("POST", path, query)
    assert answer.status == (307 if location else 404)
    assert answer.headers.get("location", "") == location
    assert location or answer.json == {"detail": "Not Found"}


@pytest.mark.parametrize("path", ["/nope", "/job", "/task/", "/health"])
@pytest.mark.parametrize("verb", ["GET", "PATCH", "OPTIONS"])
def test_every_answer_has_the_id_of_its_request(verb: str, path: str) -> None:
    if (verb, path) == ("GET", "/job"):
        return  # the endpoint's own answer
    assert ask(verb, path, request_id="abc").headers["x-request-id"] == "abc"
    assert len(ask(verb, path, request_id="a b").headers["x-request-id"]) == 32
