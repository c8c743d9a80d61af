"""Pages of other origins may call when the configuration says so, and only those."""

import asyncio
from typing import Any

import pytest

from kitfox.config import Cors
from kitfox.server.app import Application
from kitfox.server.asgi import Receive, Scope, Send
from kitfox.server.cors import CrossOrigin
from kitfox.server.endpoints import Endpoints
from tests.server.rest_calls import Answer, Client

PAGE = "https://pages.example"


async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"vary", b"accept-encoding"), (b"x-own", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done", "more_body": False})


def ask(
    *, verb: str = "POST", path: str = "/route", headers: dict[str, str] | None = None, **cors: Any
) -> Answer:
    """The answer of an application with a route and a gRPC method."""
    permissions = CrossOrigin(Cors(**cors))
    application = Application(
        endpoints=Endpoints(
            rpcs={"/test.Service/Method": endpoint}, routes={"/route": {"POST": endpoint}}
        ),
        cross_origin=permissions if permissions.is_on else None,
    )

    async def run() -> Answer:
        words = {"content-type": "application/json", **(headers or {})}
        client = Client(application, [b"{}"], verb=verb, path=path, headers=words)
        client.scope["type"] = "http"
        return await client.run()

    return asyncio.run(run())


def preflight(origin: str = PAGE, path: str = "/route", wanted: str = "", **cors: Any) -> Answer:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    if wanted:
        headers["access-control-request-headers"] = wanted
    return ask(verb="OPTIONS", path=path, headers=headers, **cors)


def allowed(answer: Answer) -> dict[str, str]:
    """The headers of a permission."""
    return {
        key.removeprefix("access-control-"): value
        for key, value in answer.headers.items()
        if key.startswith("access-control-")
    }


def test_nobody_may_call_unless_configured() -> None:
    assert allowed(ask(headers={"origin": PAGE})) == {}
    answer = preflight()
    assert allowed(answer) == {}
    assert answer.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("path", ["/route", "/test.Service/Method"])
def test_a_preflight_is_answered_for_every_protocol(path: str) -> None:
    answer = preflight(
        path=path, wanted="x-grpc-web, content-type", allow_origins=[PAGE], max_age_seconds=60
    )
    assert (answer.status, answer.body) == (204, b"")
    assert allowed(answer) == {
        "allow-origin": PAGE,
        "allow-methods": "GET, HEAD, POST, DELETE",
        "allow-headers": "x-grpc-web, content-type",
        "max-age": "60",
    }
    assert "origin" in answer.headers["vary"]


def test_only_the_configured_headers_are_allowed() -> None:
    answer = preflight(wanted="x-other", allow_origins=[PAGE], allow_headers=["x-own", "x-two"])
    assert allowed(answer)["allow-headers"] == "x-own, x-two"


@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        ([PAGE], PAGE, PAGE),
        ([PAGE + "/"], PAGE, PAGE),
        (["https://Pages.example"], PAGE, PAGE),
        ([PAGE], "https://pages.example.evil", ""),
        ([PAGE], "http://pages.example", ""),
        ([PAGE], "null", ""),
        ([PAGE, "https://b.example"], "https://b.example", "https://b.example"),
        (["*"], "https://any.example", "*"),
    ],
)
def test_origins(origins: list[str], origin: str, expected: str) -> None:
    for answer in (
        ask(headers={"origin": origin}, allow_origins=origins),
        preflight(origin, allow_origins=origins),
    ):
        assert allowed(answer).get("allow-origin", "") == expected
        assert bool(allowed(answer)) == bool(expected)
        assert "origin" in answer.headers["vary"]


def test_credentials_name_the_origin() -> None:
    for origins in (["*"], [PAGE]):
        cors: dict[str, Any] = {"allow_origins": origins, "allow_credentials": True}
        for answer in (ask(headers={"origin": PAGE}, **cors), preflight(**cors)):
            assert allowed(answer)["allow-origin"] == PAGE
            assert allowed(answer)["allow-credentials"] == "true"


def test_a_page_may_read_the_outcome_of_a_grpc_call() -> None:
    answer = ask(path="/test.Service/Method", headers={"origin": PAGE}, allow_origins=[PAGE])
    exposed = allowed(answer)["expose-headers"].split(", ")
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin"} <= set(exposed)
    assert answer.headers["vary"] == "accept-encoding, origin"
    assert (answer.headers["x-own"], answer.body) == ("1", b"done")


@pytest.mark.parametrize("path", ["/nope", "/health"])
def test_errors_may_be_read_too(path: str) -> None:
    answer = ask(path=path, headers={"origin": PAGE}, allow_origins=[PAGE])
    assert answer.status in (404, 405)
    assert allowed(answer)["allow-origin"] == PAGE


def test_requests_of_no_origin_stay_as_they_are() -> None:
    answer = ask(allow_origins=[PAGE])
    assert allowed(answer) == {}
    assert answer.headers["vary"] == "accept-encoding"
