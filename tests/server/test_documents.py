"""`/openapi.json` and the page `/docs`: true, cached, and without anything from elsewhere."""

import asyncio
import gzip
import json
import re
from collections.abc import Callable, MutableMapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest
from openapi_spec_validator import validate

from kitfox import config
from kitfox.data import DataObjectBase, make_dataobject
from kitfox.models import LoadedModel, ModelManager
from kitfox.modules import MethodSignature, ModuleBase
from kitfox.server.documents import Documents
from kitfox.server.large_answers import LargeAnswers
from kitfox.services import BodyStyle, Method, Purpose, Route
from tests.conftest import Server

PAGE = ["/docs", "/docs/docs.css", "/docs/icon.svg"]
SCRIPTS = ["calls", "docs", "elements", "forms", "operations", "results", "schemas"]
FILES = [*PAGE, *(f"/docs/{name}.js" for name in SCRIPTS)]


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    answer = server.http("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1.")


def test_the_document_has_the_routes_that_are_served_and_no_others(
    server: Server, document: dict[str, Any]
) -> None:
    logged = re.findall(r"Available route (\w+) http://[^/]+(/[^\"\s]*)", server.log)
    described = {(verb.upper(), path) for path, item in document["paths"].items() for verb in item}
    assert described == {*logged, ("GET", "/health")}


def test_a_download_is_a_zip_file(document: dict[str, Any]) -> None:
    answer = document["paths"]["/api/v1/management/trainings/download"]["get"]["responses"]["200"]
    assert list(answer["content"]) == ["application/zip"]
    train = document["paths"]["/api/v1/HelloWorldTaskHelloWorldModuleTrain"]["post"]
    links = train["responses"]["200"]["links"]
    assert links["download"]["parameters"] == {"training_id": "$response.body#/training_id"}


def test_the_example_of_a_request_is_answered(server: Server, document: dict[str, Any]) -> None:
    path = "/api/v1/task/hello-world"
    content = document["paths"][path]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert example["model_id"] == "example"
    assert server.http("POST", path, example).status == 200


def test_the_document_is_sent_anew_only_if_it_has_changed(server: Server) -> None:
    first = server.http("GET", "/openapi.json")
    again = server.http("GET", "/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    weak = {"if-none-match": f'"other", W/{first.headers["etag"]}'}
    assert server.http("GET", "/openapi.json", headers=weak).status == 304
    other = server.http("GET", "/openapi.json", headers={"if-none-match": '"other"'})
    assert (other.status, other.body) == (200, first.body)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/docs.js"])
def test_it_is_packed_for_those_who_take_it(server: Server, path: str) -> None:
    plain = server.http("GET", path)
    packed = server.http("GET", path, headers={"accept-encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/docs.css"])
def test_it_has_a_head_and_an_id(server: Server, path: str) -> None:
    whole = server.http("GET", path, headers={"x-request-id": "mine"})
    head = server.http("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == whole.headers["etag"]
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert whole.headers["x-request-id"] == "mine"
    assert server.http("POST", path, {}).status == 405


@pytest.mark.parametrize("path", ["/", "/redoc", "/docs/"])
def test_where_people_look_they_find_the_page(server: Server, path: str) -> None:
    answer = server.http("GET", path)  # follows the redirect
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", FILES)
def test_the_page_names_nothing_outside_the_server(server: Server, path: str) -> None:
    text = server.http("GET", path).body.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9]", text.replace("// ", ""), re.IGNORECASE)


def test_all_that_the_page_loads_is_there(server: Server) -> None:
    page = server.http("GET", "/docs").body.decode()
    loaded = set(re.findall(r'(?:src|href)="(docs/[^"]+)"', page))
    for script in [item for item in loaded if item.endswith(".js")]:
        names = {script}
        while names:
            name = names.pop()
            text = server.http("GET", f"/{name}").body.decode()
            found = {urljoin(name, item) for item in re.findall(r'from "(\./[^"]+)"', text)}
            names |= found - loaded
            loaded |= found
    assert {f"/{name}" for name in loaded} == set(FILES) - {"/docs"}


def test_the_browser_is_told_to_load_and_call_nothing_else(server: Server) -> None:
    policy = server.http("GET", "/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert not re.search(r"unsafe|\*|https?:", policy)


def test_documents_can_be_switched_off(make_server: Callable[..., Server]) -> None:
    server = make_server(SERVER_DOCS="false").start()
    assert {server.http("GET", path).status for path in ["/", "/openapi.json", "/docs"]} == {404}
    assert server.http("GET", "/health").status == 200


Call = Callable[[str], tuple[int, dict[str, str], bytes]]


def caller(documents: Documents) -> Call:
    """Asks for documents without a server."""

    async def ask(path: str) -> tuple[int, dict[str, str], bytes]:
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await documents.endpoints()[path]["GET"](scope, receive, send)
        headers = {key.decode(): value.decode() for key, value in messages[0]["headers"]}
        return messages[0]["status"], headers, messages[1]["body"]

    return lambda path: asyncio.run(ask(path))


class Manager:
    """The models that are loaded, and nothing else of a manager."""

    def __init__(self) -> None:
        self.loaded: dict[str, LoadedModel] = {}

    def add(self, name: str, model: ModuleBase) -> None:
        found: Any = SimpleNamespace(name=name, module=type(model))
        self.loaded[name] = found


class Greeter(ModuleBase):
    """Greets."""


SIGNATURE = MethodSignature(
    method_name="save",
    qualified_name="Greeter.save",
    module=__name__,
    parameters={"text": str},
)


def a_method(request: type[DataObjectBase], **more: Any) -> Method:
    route = Route(
        verb="POST", path="/greet", style=BodyStyle.INFERENCE, inputs={"text": str}, options={}
    )
    return Method(
        service="a.Service",
        name="Greet",
        request=request,
        response=request,
        purpose=Purpose.INFERENCE,
        route=route,
        **more,
    )


@pytest.fixture(scope="module")
def request_class() -> type[DataObjectBase]:
    return make_dataobject(name="Asked", annotations={"text": str}, package="served.documents")


def test_the_document_names_the_models_that_are_loaded(request_class: type[DataObjectBase]) -> None:
    manager: Any = Manager()
    method = a_method(request_class, signatures={Greeter: SIGNATURE})
    call = caller(documents([method], manager))
    before = call("/openapi.json")
    again = call("/openapi.json")
    assert (again[1]["etag"], again[2]) == (before[1]["etag"], before[2])
    manager.add("hello", Greeter())
    _, headers, body = call("/openapi.json")
    assert headers["etag"] != before[1]["etag"]
    content = json.loads(body)["paths"]["/greet"]["post"]["requestBody"]["content"]
    assert content["application/json"]["example"] == {"model_id": "hello", "inputs": "text"}


def documents(methods: list[Method], manager: ModelManager) -> Documents:
    large = LargeAnswers(config.Server())
    return Documents(methods, library="kitfox", models=manager, large_answers=large)


def test_a_document_that_cannot_be_made_is_an_error_that_the_log_explains(
    request_class: type[DataObjectBase], caplog: pytest.LogCaptureFixture
) -> None:
    task: Any = SimpleNamespace(
        __name__="Broken",
        get_visibility=lambda: True,
        get_metadata=lambda: {"extra_openapi": {"summary": object()}},
    )
    manager: Any = Manager()
    call = caller(documents([a_method(request_class, task=task)], manager))
    status, headers, body = call("/openapi.json")
    assert (status, headers["content-type"]) == (500, "text/plain; charset=utf-8")
    assert b"log" in body
    assert "The OpenAPI document cannot be made" in caplog.text
    assert call("/docs")[0] == 200
