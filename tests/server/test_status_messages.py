"""The words of a gRPC failure as they travel."""

import asyncio
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitfox.server.app import Application
from tests.server.rest_calls import Client


def told(path: str) -> str:
    """What a call of a method that is not there is told."""

    async def run() -> str:
        headers = {"content-type": "application/grpc"}
        answer = await Client(Application(), headers=headers, path=path).run()
        return answer.headers["grpc-message"]

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/nope ", "/ nope  ", "/%", "/é\n"])
def test_words_arrive_as_they_are(path: str) -> None:
    assert unquote(told(path)) == f"Method not found: {path}"


@settings(max_examples=30)
@given(st.text(max_size=50))
def test_no_value_begins_or_ends_with_a_blank(path: str) -> None:
    """RFC 9113 has none, and some clients end the connection for one."""
    text = told(path)
    assert text == text.strip()
    assert text.isascii()
    assert text.isprintable()
