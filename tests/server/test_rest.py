"""REST without streams: bodies, queries, errors, headers, files."""

import asyncio
import gzip
import json
import math
import re
from enum import Enum
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox import DataObjectBase, dataobject
from kitfox.config import Server
from kitfox.data import File, JsonDict
from kitfox.errors import Code, KitfoxError
from kitfox.server.answers import HTTP_STATUS
from kitfox.server.calls import Calls
from kitfox.services.methods import BodyStyle, Context
from tests.server.rest_calls import JSON, Answer, Client, Endpoint, call, endpoint_of

PACKAGE = "test.rest"


@dataobject(PACKAGE)
class Mood(Enum):
    CALM = 1
    WILD = 2


@dataobject(PACKAGE)
class Fox(DataObjectBase):
    name: str
    age: int
    moods: list[Mood]
    data: bytes
    free: JsonDict
    weight: float


@dataobject(PACKAGE)
class Request(DataObjectBase):
    fox: Fox
    times: int
    words: list[str]
    free: JsonDict


@dataobject(PACKAGE)
class Reply(DataObjectBase):
    text: str
    size: float


@dataobject(PACKAGE)
class Sheet(DataObjectBase):
    """A result that is a file."""

    content: bytes
    name: str
    kind: str

    def to_file(self, file_obj: Any) -> File | None:
        file_obj.write(self.content)
        return (
            File(data=b"", filename=self.name, type=self.kind) if self.name or self.kind else None
        )


KINDS = {"fox": Fox, "times": int, "words": list[str], "free": JsonDict}


class Recorder:
    """A handler that notes what it is called with."""

    def __init__(self, result: Any = None) -> None:
        self.fields: dict[str, Any] = {}
        self.context = Context()
        self.result = result or Reply(text="yes", size=0.5)

    async def __call__(self, fields: dict[str, Any], context: Context) -> Any:
        self.fields, self.context = fields, context
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def make(handler: Any = None, **words: Any) -> Endpoint:
    words = {"inputs": ["fox"], "options": ["times", "words", "free"], **words}
    return endpoint_of(
        Request, words.pop("response", Reply), handler or Recorder(), annotations=KINDS, **words
    )


def test_a_call_gives_the_handler_its_fields_and_the_client_its_result() -> None:
    handler = Recorder()
    body = {
        "inputs": {"name": "Kit", "age": "7", "moods": ["WILD", 1], "data": "AAE="},
        "parameters": {"times": 3, "words": ["a"], "free": {"x": [1, {"y": None}]}},
        "model_id": "m",
    }
    answer = call(make(handler), body)
    assert (answer.status, answer.json) == (200, {"text": "yes", "size": 0.5})
    assert answer.headers["content-type"] == JSON
    assert int(answer.headers["content-length"]) == len(answer.body)
    fox = handler.fields.pop("fox")
    assert (fox.name, fox.age, fox.data) == ("Kit", 7, b"\0\1")
    assert handler.fields == {"times": 3, "words": ["a"], "free": {"x": [1, {"y": None}]}}
    assert handler.context.model_id == "m"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"inputs": None, "parameters": None}, {}),
        ({"inputs": {}, "parameters": {}}, {"fox": {}}),
        ({"parameters": {"times": None, "words": []}}, {"words": []}),
        ({"parameters": {"times": 0, "free": {}}}, {"times": 0, "free": {}}),
    ],
)
def test_null_is_not_given_and_empty_is(body: dict[str, Any], fields: dict[str, Any]) -> None:
    handler = Recorder()
    assert call(make(handler), {**body, "model_id": "m"}).status == 200
    found = {
        name: json.loads(value.to_json()) if isinstance(value, Fox) else value
        for name, value in handler.fields.items()
    }
    if "fox" in found:
        found["fox"] = {key: value for key, value in found["fox"].items() if value is not None}
    assert found == fields


def test_several_inputs_are_an_object() -> None:
    handler = Recorder()
    endpoint = make(handler, inputs=["times", "words"], options=["free"])
    assert call(endpoint, {"inputs": {"times": 2}, "model_id": "m"}).status == 200
    assert handler.fields == {"times": 2}
    answer = call(endpoint, {"inputs": {"nope": 2, "times": "x"}, "model_id": "m"})
    assert answer.status == 422
    assert [item["loc"] for item in answer.json["additional_info"]] == [
        ["inputs", "nope"],
        ["inputs", "times"],
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{nope", 422, "no JSON"),
        (b"", 422, "no JSON"),
        (b'{"model_id": "\xff"}', 422, "UTF-8"),
        (b"[1]", 422, "object"),
        (b"null", 422, "object"),
        ({"model_id": 5}, 422, "string"),
        ({"model_id": None}, 422, "string"),
        ({"model_id": "m", "nope": 1}, 422, "nope"),
        ({"model_id": "m", "inputs": {"nope": 1}}, 422, "inputs.nope"),
        ({"model_id": "m", "inputs": {"age": 2**64}}, 422, "inputs.age"),
        ({"model_id": "m", "inputs": {"moods": ["SAD"]}}, 422, r"inputs.moods\[0\]"),
        ({"model_id": "m", "parameters": 5}, 422, "parameters"),
        ({"model_id": "m", "parameters": {"words": [None]}}, 422, r"parameters.words\[0\]"),
        ({"inputs": {}}, 400, "Please provide model_id in payload"),
        ({"model_id": ""}, 400, "Missing required model ID"),
    ],
)
def test_a_body_that_does_not_fit_is_told_why(body: Any, status: int, words: str) -> None:
    answer = call(make(), body)
    assert answer.status == status == answer.json["code"]
    assert re.search(words, answer.json["details"])
    assert answer.headers["x-request-id"] == answer.json["id"]
    if status == 422:
        assert {"type", "loc", "msg", "input"} == set(answer.json["additional_info"][0])


def test_parameters_are_refused_where_there_are_none() -> None:
    answer = call(make(options=[]), {"inputs": {}, "parameters": {}, "model_id": "m"})
    assert answer.status == 422
    assert answer.json["additional_info"][0]["loc"] == ["parameters"]


def test_bare_not_a_number_is_read_and_written_as_text() -> None:
    handler = Recorder(Reply(text="n", size=float("nan")))
    body = b'{"inputs": {"weight": NaN}, "parameters": {"times": 1}, "model_id": "m"}'
    answer = call(make(handler), body)
    assert answer.json == {"text": "n", "size": "NaN"}
    assert math.isnan(handler.fields["fox"].weight)
    assert handler.fields["times"] == 1
    assert call(make(options=[]), body).status == 422


@pytest.mark.parametrize("levels", [2, 99, 100, 101, 900, 100_000])
def test_json_is_nested_as_deep_as_the_setting_says(levels: int) -> None:
    nested = "[" * (levels - 3) + "]" * (levels - 3) if levels > 2 else "1"
    body = b'{"parameters": {"free": {"a": %s}}, "model_id": "m"}' % nested.encode()
    answer = call(make(max_json_depth=100), body)
    assert answer.status == (200 if levels <= 100 else 422)
    if levels > 100:
        assert "100 levels (setting server.max_json_depth)" in answer.json["details"]
    closed = make(options=[], inputs=["times"])
    answer = call(closed, b'{"inputs": %s, "model_id": "m"}' % nested.encode())
    assert answer.status == (200 if levels == 2 else 422)
    assert ("max_json_depth" in answer.json.get("details", "")) == (levels - 2 > 100)


@pytest.mark.parametrize("code", Code)
def test_every_status_has_its_number(code: Code) -> None:
    answer = call(make(Recorder(KitfoxError("so it is", code=code))), {"model_id": "m"})
    expected = 500 if code is Code.OK else HTTP_STATUS[code]
    assert answer.status == expected
    assert answer.json == {
        "details": "so it is",
        "code": expected,
        "id": answer.headers["x-request-id"],
    }
    assert answer.headers["content-type"] == JSON
    assert ("retry-after" in answer.headers) == (expected in (429, 503))


def test_a_failure_of_the_model_is_one_neutral_sentence() -> None:
    answer = call(make(Recorder(RuntimeError("secret"))), {"model_id": "m"})
    assert answer.status == 500
    assert "secret" not in answer.json["details"]
    assert answer.json["id"] in answer.json["details"]
    answer = call(make(Recorder(ValueError("too long"))), {"model_id": "m"})
    assert (answer.status, answer.json["details"]) == (400, "too long")
    answer = call(make(Recorder(Reply(text="x", size="y"))), {"model_id": "m"})  # type: ignore[arg-type] # the fault
    assert answer.status == 500


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("abc-123", True),
        ("a" * 128, True),
        ("~!@#", True),
        ("a" * 129, False),
        ("a b", False),
        ("", False),
        ("\x7f", False),
        ("é", False),
    ],
)
def test_the_request_id_is_taken_or_made(sent: str, taken: bool) -> None:
    handler = Recorder()
    headers = {"content-type": JSON, "x-request-id": sent}
    answer = call(make(handler), {"model_id": "m"}, headers=headers)
    found = answer.headers["x-request-id"]
    assert (found == sent) == taken
    assert found == handler.context.request_id
    assert len(found) == 32 or taken


def test_the_handler_sees_headers_and_deadline() -> None:
    handler = Recorder()
    headers = {"content-type": JSON, "x-trace": "abc", "grpc-timeout": "5S"}
    call(make(handler), {"model_id": "m"}, headers=headers)
    assert handler.context.headers["x-trace"] == "abc"
    assert handler.context.deadline is not None
    call(make(handler), {"model_id": "m"})
    assert handler.context.deadline is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grpc-timeout", "5"),
        ("grpc-timeout", "123456789S"),
        ("request-timeout", "soon"),
        ("request-timeout", "0"),
        ("request-timeout", "-1"),
        ("request-timeout", "nan"),
        ("request-timeout", "inf"),
    ],
)
def test_a_timeout_that_cannot_be_read_is_refused(name: str, value: str) -> None:
    answer = call(make(), {"model_id": "m"}, headers={"content-type": JSON, name: value})
    assert answer.status == 400
    assert name in answer.json["details"]


def test_a_deadline_ends_the_call() -> None:
    async def sleep(fields: dict[str, Any], context: Context) -> Any:
        await asyncio.sleep(60)

    headers = {"content-type": JSON, "request-timeout": "0.05"}
    answer = call(make(sleep), {"model_id": "m"}, headers=headers)
    assert (answer.status, answer.json["code"]) == (504, 504)


def test_a_client_that_goes_away_ends_the_call() -> None:
    async def run() -> list[str]:
        seen: list[str] = []

        async def sleep(fields: dict[str, Any], context: Context) -> Any:
            client.gone.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append(str(context.reason))
                raise

        calls = Calls(Server())
        client = Client(
            make(sleep, calls=calls), [b'{"model_id": "m"}'], headers={"content-type": JSON}
        )
        answer = await client.run()
        assert not answer.status
        assert len(calls) == 0
        return seen

    assert asyncio.run(run()) == ["the client went away"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json;charset=utf-8", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("", 415),
        ("multipart/form-data", 422),
    ],
)
def test_content_types(kind: str, status: int) -> None:
    answer = call(make(), {"model_id": "m"}, headers={"content-type": kind} if kind else {})
    assert answer.status == status
    if status == 415:
        assert answer.json["detail"].startswith(f"Unsupported media type: {kind or 'none given'}")
        assert answer.headers["accept"] == "application/json, multipart/form-data"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("application/*;q=0.1", 200),
        ("text/html, */*;q=0.5", 200),
        ("Application/Json", 200),
        ("", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("*/*;q=0", 406),
        ("application/json;q=nope", 406),
    ],
)
def test_accept(accept: str, status: int) -> None:
    headers = {"content-type": JSON, "accept": accept}
    answer = call(make(), {"model_id": "m"}, headers=headers)
    assert answer.status == status
    assert status == 200 or answer.json == {
        "detail": "Not acceptable: the answer is application/json."
    }


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("identity;q=1, *;q=0", False),
        ("", False),
    ],
)
def test_a_large_answer_is_compressed_for_who_takes_it(accepted: str, packed: bool) -> None:
    endpoint = make(Recorder(Reply(text="x" * 5000, size=1.0)))
    headers = {"content-type": JSON, "accept-encoding": accepted}
    answer = call(endpoint, {"model_id": "m"}, headers=headers)
    assert answer.headers["vary"] == "accept-encoding"
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert int(answer.headers["content-length"]) == len(answer.body)
    body = gzip.decompress(answer.body) if packed else answer.body
    assert json.loads(body)["text"] == "x" * 5000


def test_a_small_answer_is_not_compressed() -> None:
    answer = call(make(), {"model_id": "m"}, headers={"content-type": JSON, "accept-encoding": "*"})
    assert "content-encoding" not in answer.headers


def test_messages_and_queries() -> None:
    handler = Recorder()
    endpoint = make(handler, style=BodyStyle.MESSAGE)
    assert call(endpoint, {"times": 3, "fox": {"name": "Kit"}}).status == 200
    assert handler.fields["times"] == 3
    assert handler.fields["fox"].name == "Kit"
    assert call(endpoint, {"nope": 3}).status == 422

    @dataobject(PACKAGE)
    class Question(DataObjectBase):
        name: str
        ids: list[str]

    asking = endpoint_of(Question, Reply, handler, style=BodyStyle.QUERY)
    answer = call(asking, verb="GET", query="name=a%20%C3%A9&ids=x&ids=y&other=1")
    assert answer.status == 200
    assert handler.fields == {"name": "a é", "ids": ["x", "y"]}
    answer = call(asking, verb="GET", query="")
    assert answer.status == 422
    assert answer.json["additional_info"][0]["loc"] == ["query", "name"]


@pytest.mark.parametrize(
    ("name", "kind", "content_type", "disposition"),
    [
        ("", "", "application/octet-stream", "attachment"),
        ("a.txt", "text/plain", "text/plain; charset=utf-8", 'attachment; filename="a.txt"'),
        ("a.txt", "text/x; charset=x", "text/x; charset=x", 'attachment; filename="a.txt"'),
        ('ü "x"', "", "application/octet-stream", 'attachment; filename="ü "x""'),
        ("狐.bin", "a\r\nb: c/d", "application/octet-stream", "filename*=UTF-8''%E7%8B%90.bin"),
        ('a"; filename="b', "image/png", "image/png", 'filename="a__ filename=_b"'),
        ("a\r\nx: y", "", "application/octet-stream", 'filename="a__x: y"'),
    ],
)
def test_a_result_that_is_a_file(name: str, kind: str, content_type: str, disposition: str) -> None:
    sheet = Sheet(content=b"\0\xff" * 2000, name=name, kind=kind)
    headers = {"content-type": JSON, "accept": "image/png", "accept-encoding": "gzip"}
    answer = call(make(Recorder(sheet), response=Sheet), {"model_id": "m"}, headers=headers)
    assert (answer.status, answer.body) == (200, sheet.content)
    assert answer.headers["content-type"] == content_type
    assert disposition in answer.headers["content-disposition"]
    assert "\n" not in answer.headers["content-disposition"]


def test_a_grpc_failure_inside_the_model_keeps_its_status() -> None:
    class Refused(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.PERMISSION_DENIED

        def details(self) -> str:
            return "not you"

    answer = call(make(Recorder(Refused())), {"model_id": "m"})
    assert (answer.status, answer.json["details"]) == (403, "not you")


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["inputs", "parameters", "model_id", "name", "x"]), inner)
    ),
    max_leaves=8,
)


@given(body=_JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_body_is_the_servers_fault(body: bytes) -> None:
    answer: Answer = call(ENDPOINT, body)
    assert answer.status in (200, 400, 422)
    assert answer.json


ENDPOINT = make()
