"""A page of another origin calls us from a real browser: gRPC-Web, REST, server-sent events."""

from typing import Any

import pytest

from tests.conformance.browser import Browser, Pages
from tests.conformance.node import Node
from tests.conftest import Server

WORDS = [{"text": "w", "number": number} for number in range(3)]
HELLO = {"text": "hello", "number": 0}
CALLS: dict[str, Any] = {
    "connect, unary": HELLO,
    "connect, server stream": WORDS,
    "connect, unknown model": "NotFound",
    "connect, cancelled": "Canceled",
    "connect, deadline": "DeadlineExceeded",
    "grpc-web, text": HELLO,
    "grpc-web, binary": HELLO,
    "grpc-web, server stream": WORDS,
    "grpc-web, failure in a stream": {"words": WORDS[:1], "code": 3},
    "REST": HELLO,
    "REST, an error": [422, 422],
    "server-sent events": {
        "type": "text/event-stream; charset=utf-8",
        "events": [
            ["event: message", f'data: {{"text": "w", "number": {number}}}'] for number in range(3)
        ],
        "apart": True,
    },
}
ALL_CALLS = """
await page.goto(args.page);
return page.evaluate(async ({ url, names }) => {
  const found = {};
  for (const name of names) found[name] = await window.calls[name](url);
  return found;
}, args);
"""
ONE_CALL = """
await page.goto(args.page);
return page.evaluate(({ url }) => window.calls["REST"](url).catch((error) => error.message), args);
"""


@pytest.fixture(scope="session")
def page(node: Node, pages: Pages) -> str:
    """The path of the page."""
    script = node.bundle("page.js")
    pages.add("/page.js", script, "text/javascript")
    pages.add("/", '<!doctype html><link rel="icon" href="data:,"><script src="page.js"></script>')
    return "/"


@pytest.fixture(scope="module")
def found(browser: Browser, shapes: Server, pages: Pages, page: str) -> Any:
    names = list(CALLS)
    return browser.visit(ALL_CALLS, page=pages.origin + page, url=shapes.url, names=names).value


@pytest.mark.parametrize("call", CALLS)
def test_a_page_of_an_allowed_origin(found: dict[str, Any], call: str) -> None:
    assert found[call] == CALLS[call]


def test_a_page_of_another_origin_is_refused(
    browser: Browser, shapes: Server, pages: Pages, page: str
) -> None:
    visit = browser.visit(ONE_CALL, page=pages.stranger + page, url=shapes.url)
    assert visit.value == "Failed to fetch"
    assert any("CORS" in error for error in visit.errors), visit.errors
