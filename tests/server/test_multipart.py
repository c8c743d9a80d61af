"""Forms: parts with dotted names stand for fields, files for their content."""

import json
from typing import Any, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox import DataObjectBase, dataobject
from kitfox.data import File, JsonDict
from kitfox.data.multipart import find_parts
from kitfox.services.methods import BodyStyle, Context
from tests.server.rest_calls import Answer, Endpoint, call, endpoint_of

PACKAGE = "test.forms"
BOUNDARY = "xyz"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float
    name: str


@dataobject(PACKAGE)
class Upload(DataObjectBase):
    file: File
    files: list[File]
    points: list[Point]
    point: Point
    raw: bytes
    raws: list[bytes]
    words: list[str]
    table: dict[str, int]
    free: JsonDict
    either: Union[int, str]  # noqa: UP007 -- as authors write it
    thing: Union[Point, File]  # noqa: UP007
    lists: Union[list[int], list[str]]  # noqa: UP007
    flag: bool


@dataobject(PACKAGE)
class Request(DataObjectBase):
    upload: Upload
    upper: bool
    file: File


@dataobject(PACKAGE)
class Reply(DataObjectBase):
    text: str


KINDS = {"upload": Upload, "upper": bool, "file": File}


class Handler:
    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    async def __call__(self, fields: dict[str, Any], context: Context) -> Reply:
        self.fields = fields
        return Reply(text=context.model_id)


def make(handler: Handler | None = None, **words: Any) -> Endpoint:
    words = {"inputs": ["upload"], "options": ["upper", "file"], **words}
    return endpoint_of(Request, Reply, handler or Handler(), annotations=KINDS, **words)


Part = tuple[str, bytes] | tuple[str, bytes, str | None] | tuple[str, bytes, str | None, str | None]


def body_of(*parts: Part) -> bytes:
    """A form of parts: name, content, filename, content type."""
    body = b""
    for name, content, *more in parts:
        filename, kind = [*more, None, None][:2]
        head = f'Content-Disposition: form-data; name="{name}"'
        head += f'; filename="{filename}"' if filename is not None else ""
        head += f"\r\nContent-Type: {kind}" if kind else ""
        body += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def send(endpoint: Endpoint, *parts: Part) -> Answer:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return call(endpoint, body_of(*parts), headers=headers)


MODEL: Part = ("model_id", b"m")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            [("inputs.point.x", b"1.5"), ("inputs.flag", b"true")],
            {"point": {"x": 1.5}, "flag": True},
        ),
        ([("inputs.words", b"a"), ("inputs.words", b"b")], {"words": ["a", "b"]}),
        ([("inputs.words", b'["a"]')], {"words": ['["a"]']}),
        ([("inputs.words", b'["a", "b"]', None, "application/json")], {"words": ["a", "b"]}),
        (
            [("inputs", b'{"flag": true, "point": {"name": "n"}}')],
            {"flag": True, "point": {"name": "n"}},
        ),
        (
            [
                ("inputs.point.x", b"2"),
                ("inputs.point", b'{"name": "n"}'),
                ("inputs", b'{"flag": 1}'),
            ],
            {"point": {"x": 2.0, "name": "n"}, "flag": True},
        ),
        ([("inputs.raw", b"\0\xff", "r.bin")], {"raw": "AP8="}),
        ([("inputs.raw", b"AP8=")], {"raw": "AP8="}),
        ([("inputs.raws", b"\0", "a"), ("inputs.raws", b"\1", "b")], {"raws": ["AA==", "AQ=="]}),
        (
            [("inputs.file", b"abc", "a.txt", "text/plain")],
            {"file": {"data": "YWJj", "filename": "a.txt", "type": "text/plain"}},
        ),
        (
            [("inputs.file.data", b"abc", "a.txt"), ("inputs.file.filename", b"b.txt")],
            {"file": {"data": "YWJj", "filename": "b.txt", "type": None}},
        ),
        (
            [("inputs.files", b"a", "a.txt"), ("inputs.files", b"", "b.txt")],
            {
                "files": [
                    {"data": "YQ==", "filename": "a.txt", "type": None},
                    {"data": "", "filename": "b.txt", "type": None},
                ]
            },
        ),
        (
            [("inputs.points", b'{"x": 1}'), ("inputs.points", b'[{"x": 2}]')],
            {"points": [{"x": 1.0}, {"x": 2.0}]},
        ),
        ([("inputs.table", b'{"a": 1}'), ("inputs.table.b", b"2")], {"table": {"a": 1, "b": 2}}),
        ([("inputs.free", b'{"a": [1, null]}')], {"free": {"a": [1, None]}}),
        ([("inputs.either", b"5")], {"either_str": "5"}),
        ([("inputs.thing", b'{"x": 1}')], {"thing_point": {"x": 1.0}}),
        ([("inputs.thing.name", b"n")], {"thing_point": {"name": "n"}}),
        (
            [("inputs.thing", b"a", "f")],
            {"thing_file": {"data": "YQ==", "filename": "f", "type": None}},
        ),
        (
            [("inputs.lists", b"a"), ("inputs.lists", b"b")],
            {"lists_str_sequence": {"values": ["a", "b"]}},
        ),
        ([("inputs.lists", b"[1, 2]")], {"lists_int_sequence": {"values": [1, 2]}}),
        ([("inputs.point.name", b""), ("inputs.flag", b"no")], {"flag": False}),
    ],
)
def test_parts_stand_for_fields(parts: list[Part], expected: dict[str, Any]) -> None:
    handler = Handler()
    answer = send(make(handler), *parts, MODEL)
    assert (answer.status, answer.body) == (200, b'{"text":"m"}')

    def given(value: Any) -> Any:
        if isinstance(value, dict) and not value.get("filename"):
            return {key: given(item) for key, item in value.items() if item is not None}
        return [given(item) for item in value] if isinstance(value, list) else value

    assert given(json.loads(handler.fields["upload"].to_json())) == expected


def test_parameters_and_a_single_file_as_the_input() -> None:
    handler = Handler()
    endpoint = make(handler, inputs=["file"], options=["upper"])
    assert (
        send(endpoint, ("inputs", b"a", "a.txt"), ("parameters.upper", b"1"), MODEL).status == 200
    )
    assert handler.fields["file"].data == b"a"
    assert handler.fields["upper"] is True
    several = make(handler, inputs=["file", "upper"], options=[])
    assert (
        send(several, ("inputs.file", b"a", "a.txt"), ("inputs.upper", b"1"), MODEL).status == 200
    )
    assert handler.fields["upper"] is True
    message = make(handler, style=BodyStyle.MESSAGE)
    assert send(message, ("upload.flag", b"1"), ("file", b"b", "b")).status == 200
    assert handler.fields["upload"].flag is True


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ([("inputs.nope", b"a")], "Unknown key 'inputs.nope'"),
        ([("nope", b"a")], "Unknown key 'nope'"),
        ([("", b"a")], "Unknown key ''"),
        ([("inputs.point.x.y", b"a")], "Unknown key 'inputs.point.x.y'"),
        ([("inputs.words.x", b"a")], "Unknown key 'inputs.words.x'"),
        ([("inputs.table.b.c", b"2")], "Unknown key 'inputs.table.b.c'"),
        ([("inputs" + ".point" * 100, b"a")], "Unknown key 'inputs.point"),
        (
            [("inputs.flag", b"1"), ("inputs.flag", b"1")],
            "Key 'inputs.flag' is given more than once",
        ),
        ([("inputs.point", b"{nope")], "Key 'inputs.point' is not valid JSON"),
        ([("inputs.point", b"[" * 5000)], "Key 'inputs.point' is not valid JSON"),
        ([("inputs", b"5"), ("inputs.flag", b"1")], "Key 'inputs.flag' is inside 'inputs'"),
        ([("inputs.words", b"\xff")], "Key 'inputs.words' is not UTF-8 text"),
        ([("inputs.words", b"a")] * 1001, "more than 1000 parts"),
    ],
)
def test_a_part_that_stands_for_nothing_is_refused(parts: list[Part], detail: str) -> None:
    answer = send(make(), *parts)
    assert answer.status == 422
    assert detail in answer.json["detail"]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("inputs.flag", b"1")], 400),
        ([("inputs.flag", b"maybe"), MODEL], 422),
        ([("inputs", b"[]"), MODEL], 422),
    ],
)
def test_values_are_checked_as_in_json(parts: list[Part], status: int) -> None:
    answer = send(make(), *parts)
    assert (answer.status, answer.json["code"]) == (status, status)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("multipart/form-data", body_of(MODEL), "needs a boundary"),
        ("multipart/form-data; boundary=" + "b" * 71, body_of(MODEL), "needs a boundary"),
        ("multipart/form-data; boundary=abc", body_of(MODEL), "malformed"),
        ("multipart/form-data; boundary=xyz", body_of(MODEL)[:-8], "without its last boundary"),
        ("multipart/form-data; boundary=xyz", b"", "without its last boundary"),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\nno header\r\n\r\n", "malformed"),
    ],
)
def test_a_body_that_is_no_form_is_refused(kind: str, body: bytes, words: str) -> None:
    answer = call(make(), body, headers={"content-type": kind})
    assert answer.status == 422
    assert words in answer.json["detail"]


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["inputs", "inputs.file", "inputs.words", "inputs.table.x"]),
            st.binary(max_size=20) | st.just(b'{"flag": 1}'),
            st.none() | st.just("f"),
            st.none() | st.just("application/json"),
        ),
        max_size=4,
    ),
    cut=st.integers(0, 10),
)
def test_no_form_is_the_servers_fault(parts: list[Any], cut: int) -> None:
    body = body_of(*parts)
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert call(ENDPOINT, body[: len(body) - cut], headers=headers).status in (200, 400, 422)


ENDPOINT = make()


@given(
    contents=st.lists(st.binary(max_size=30) | st.just(b"\r\n--xy\r\n--x") | st.just(b"\r\n-")),
    size=st.integers(1, 40),
)
def test_parts_are_found_wherever_a_body_is_cut(contents: list[bytes], size: int) -> None:
    body = body_of(*((str(index), content) for index, content in enumerate(contents)))
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    parts = find_parts(pieces, BOUNDARY.encode())
    assert [body[part.start : part.end] for part in parts] == contents
    assert [part.name for part in parts] == [str(index) for index in range(len(contents))]
