"""JSON by the rules of requests: what is taken, what it becomes, what is refused and where.

The cases are those of the recorded exchanges, with the better answers where those were defects.
"""

import json
import math
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kitfox.data import (
    DataObjectBase,
    JsonDict,
    codec_of,
    convert_json_value,
    dataobject,
)
from kitfox.data.json_reader import JsonReader
from kitfox.errors import Code, FieldError, ValidationError

PACKAGE = "tests.request_json"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float
    y: float


@dataobject(PACKAGE)
class Text(DataObjectBase):
    x: str


@dataobject(PACKAGE)
class Whole(DataObjectBase):
    x: int


@dataobject(PACKAGE)
class Mixed(DataObjectBase):
    points: list[Point]
    by_name: dict[str, Point]
    by_number: dict[int, str]
    wholes: list[int]
    either: int | Point | list[str]
    picture: bytes | str
    thing: Whole | Text
    extra: JsonDict
    small: np.int32
    unsigned: np.uint64
    defaulted: str = "dflt"
    nullable: str | None = "dflt"
    item: Point | None = None


@dataobject(PACKAGE)
class Tree(DataObjectBase):
    child: "Tree | None"


def faults(cls: type[DataObjectBase], value: Any) -> list[FieldError]:
    """What is wrong with JSON, which is the same for text and for what was parsed of it."""
    codec = codec_of(cls)
    with pytest.raises(ValidationError) as text:
        codec.decode_json(json.dumps(value))
    with pytest.raises(ValidationError) as parsed:
        codec.convert_json(value)
    assert text.value.fields == parsed.value.fields
    assert text.value.code is Code.INVALID_ARGUMENT
    return list(text.value.fields)


def decode(cls: type[DataObjectBase], value: Any) -> Any:
    """What JSON becomes, which is the same for text, for what was parsed, and read exactly."""
    codec = codec_of(cls)
    decoded = codec.decode_json(json.dumps(value))
    assert codec.decode_json(json.dumps(value).encode()) == decoded
    assert codec.convert_json(value) == decoded
    exact = JsonReader().read(codec.schema, value)
    assert exact == decoded
    assert exact.to_dict() == decoded.to_dict()
    return decoded


@pytest.mark.parametrize(
    ("field", "given", "taken"),
    [
        ("text", "", ""),
        ("text", "téxt", "téxt"),
        ("whole", 5, 5),
        ("whole", "5", 5),
        ("whole", "-5", -5),
        ("whole", 5.0, 5),
        ("whole", 1e3, 1000),
        ("whole", 2**63 - 1, 2**63 - 1),
        ("whole", -(2**63), -(2**63)),
        ("int32", -(2**31), -(2**31)),
        ("uint32", 2**32 - 1, 2**32 - 1),
        ("uint64", 2**64 - 1, 2**64 - 1),
        ("uint64", "18446744073709551615", 2**64 - 1),
        ("real", 3, 3.0),
        ("real", 3.5, 3.5),
        ("real", "3.5", 3.5),
        ("real", "-1e3", -1000.0),
        ("real", "Infinity", math.inf),
        ("real", "-Infinity", -math.inf),
        ("real", 1e300, 1e300),
        ("float32", 0.1, 0.1),
        ("flag", True, True),
        ("flag", 1, True),
        ("flag", 0, False),
        ("flag", "true", True),
        ("flag", "No", False),
        ("raw", "AAEC/w==", b"\x00\x01\x02\xff"),
        ("raw", "", b""),
        (
            "when",
            "2024-02-29T12:34:56.789012Z",
            datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=UTC),
        ),
        ("when", "2024-02-29T12:34:56+02:00", datetime(2024, 2, 29, 10, 34, 56, tzinfo=UTC)),
        ("when", "2024-02-29 12:34:56", datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)),
        ("when", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("when", 1709210096, datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)),
        (
            "when",
            "2024-02-29T12:34:56.123456789Z",
            datetime(2024, 2, 29, 12, 34, 56, 123456, tzinfo=UTC),
        ),
        (
            "anything",
            {"a": 1, "b": [True, None, "x", {"c": 2.5}], "d": {}},
            {"a": 1, "b": [True, None, "x", {"c": 2.5}], "d": {}},
        ),
        ("anything", {}, {}),
    ],
)
def test_a_single_value_is_taken(kinds: ModuleType, field: str, given: Any, taken: Any) -> None:
    value = getattr(decode(kinds.Scalars, {field: given}), field)
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(
    ("field", "given", "kind", "words"),
    [
        ("text", 1, "type", "expected text, got the number 1"),
        ("text", None, "type", "expected text, got null"),
        ("text", ["a"], "type", "expected text, got an array"),
        ("whole", 5.5, "type", "expected a whole number, got the number 5.5"),
        ("whole", "5.5", "type", "expected a whole number, got text '5.5'"),
        ("whole", "five", "type", "expected a whole number"),
        ("whole", "", "type", "expected a whole number"),
        ("whole", " 5", "type", "expected a whole number"),
        ("whole", "1_0", "type", "expected a whole number"),
        ("whole", "٣", "type", "expected a whole number"),
        ("whole", True, "type", "expected a whole number, got true"),
        ("whole", None, "type", "expected a whole number, got null"),
        ("whole", {}, "type", "expected a whole number, got an object"),
        ("whole", 2**63, "range", "9223372036854775808 is out of range for int"),
        ("whole", -(2**63) - 1, "range", "is out of range for int"),
        ("whole", "9" * 30, "range", "is out of range for int"),
        ("whole", 1e30, "range", "is out of range for int"),
        ("int32", 2**31, "range", "is out of range for int32 (-2147483648 to 2147483647)"),
        ("uint32", -1, "range", "is out of range for uint32 (0 to 4294967295)"),
        ("uint64", 2**64, "range", "is out of range for uint64"),
        ("uint64", -1, "range", "is out of range for uint64"),
        ("real", "many", "type", "expected a number"),
        ("real", "nan", "type", "expected a number"),
        ("real", True, "type", "expected a number, got true"),
        ("real", "1e999", "range", "is out of range for float"),
        ("real", 10**400, "range", ""),
        ("float32", 1e300, "range", "is out of range for float32"),
        ("flag", 2, "type", "expected true or false, got the number 2"),
        ("flag", "maybe", "type", "expected true or false"),
        ("raw", "***", "type", "expected base64 text"),
        ("raw", "__8=", "type", "expected base64 text"),
        ("raw", "AAE", "type", "expected base64 text"),
        ("raw", "A A=", "type", "expected base64 text"),
        ("raw", 5, "type", "expected base64 text, got the number 5"),
        ("when", "soon", "type", "text 'soon' is no point in time"),
        ("when", "2024-02-30", "type", "day is out of range for month"),
        ("when", "2024-02-29T25:00:00Z", "type", "hour must be in 0..23"),
        ("when", "0001-01-01T00:00:00+01:00", "type", "outside the years 1 to 9999"),
        ("when", 1e18, "range", "outside the years 1 to 9999"),
        ("when", True, "type", "expected a date and time"),
        ("anything", [1], "type", "expected an object, got an array"),
        ("anything", "x", "type", "expected an object, got text 'x'"),
        ("anything", None, "type", "expected an object, got null"),
        ("color", "PURPLE", "enum", "expected one of RED (1), GREEN (2), BLUE (7)"),
        ("color", 3, "enum", "got the number 3"),
        ("color", 0, "enum", "got the number 0"),
        ("color", "blue", "enum", "got text 'blue'"),
        ("point", None, "type", "expected an object, got null"),
        ("point", [], "type", "expected an object, got an array"),
        ("zzz", 1, "unknown", "Scalars has no such field; its fields: text, whole"),
    ],
)
def test_a_single_value_is_refused(
    kinds: ModuleType, field: str, given: Any, kind: str, words: str
) -> None:
    if given == 10**400:
        with pytest.raises(ValidationError, match=r"out of range|too large"):
            codec_of(kinds.Scalars).decode_json(json.dumps({field: given}))
        return
    (fault,) = faults(kinds.Scalars, {field: given})
    assert (fault.where, fault.kind) == (field, kind)
    assert words in fault.message


def test_every_fault_is_told_with_its_path() -> None:
    found = faults(
        Mixed,
        {
            "points": [{"x": 1}, {"x": "a", "z": 2}],
            "by_name": {"p": {"y": []}},
            "wholes": [1, None, 2.5],
            "either": {"x": "a"},
            "small": 2**31,
            "nope": 1,
        },
    )
    assert [(fault.where, fault.kind) for fault in found] == [
        ("points[1].x", "type"),
        ("points[1].z", "unknown"),
        ("by_name.p.y", "type"),
        ("wholes[1]", "type"),
        ("wholes[2]", "type"),
        ("either.x", "type"),
        ("small", "range"),
        ("nope", "unknown"),
    ]


def test_a_flood_of_faults_is_cut() -> None:
    assert len(faults(Mixed, {"wholes": ["a"] * 1000})) == 100


def test_what_is_missing_is_none_or_the_default() -> None:
    made = decode(Mixed, {})
    assert {name: value for name, value in made.to_kwargs().items() if value is not None} == {
        "defaulted": "dflt",
        "nullable": "dflt",
    }


def test_null_is_none_where_that_is_allowed_and_unset_where_there_is_a_default() -> None:
    made = decode(Mixed, {"nullable": None, "defaulted": None, "item": None})
    assert (made.nullable, made.defaulted, made.item) == (None, "dflt", None)


def test_empty_values_are_kept() -> None:
    made = decode(Mixed, {"points": [], "by_name": {}, "extra": {}, "item": {}, "either": []})
    assert (made.points, made.by_name, made.extra, made.either) == ([], {}, {}, [])
    assert made.item == Point.from_json({"x": 0}).__class__(None, None)  # type: ignore[arg-type] # unset


def test_maps_have_keys_of_text_or_numbers() -> None:
    made = decode(Mixed, {"by_number": {"1": "a", "-2": "b"}, "by_name": {"": {"x": 1}}})
    assert made.by_number == {1: "a", -2: "b"}
    assert list(made.by_name) == [""]
    (fault,) = faults(Mixed, {"by_number": {"x": "a"}})
    assert (fault.where, fault.kind) == ("by_number.x", "type")


# unions


@pytest.mark.parametrize(
    ("given", "member"),
    [
        ({"plain": 5}, "plain_int"),
        ({"plain": "5"}, "plain_str"),
        ({"plain": 0}, "plain_int"),
        ({"plain": ""}, "plain_str"),
        ({"plain": 5.0}, "plain_int"),
        ({"wide": 1.5}, "wide_float"),
        ({"wide": 3}, "wide_float"),
        ({"wide": "s"}, "wide_str"),
        ({"wide": True}, "wide_bool"),
        ({"wide": "AAH/"}, "wide_bytes"),
        ({"wide": ""}, "wide_str"),
        ({"thing": {"x": 1}}, "thing_point"),
        ({"thing": {"name": "n"}}, "thing_named"),
        ({"thing": {}}, "thing_point"),
        ({"tagged": 3}, "count"),
        ({"tagged": "l"}, "label"),
        ({"maybe": 3}, "maybe_int"),
        ({"maybe": None}, None),
        ({}, None),
    ],
)
def test_a_union_takes_the_value_itself(
    kinds: ModuleType, given: dict[str, Any], member: str | None
) -> None:
    made = decode(kinds.Choices, given)
    assert list(made.to_dict()) == ([] if member is None else [member])
    assert kinds.Choices.from_proto(made.to_proto()).to_dict().keys() == made.to_dict().keys()


def test_text_goes_to_bytes_if_an_encoder_would_write_it() -> None:
    assert decode(Mixed, {"picture": "AAH/"}).picture == b"\x00\x01\xff"
    assert decode(Mixed, {"picture": "https://host/a.png"}).picture == "https://host/a.png"
    kept = decode(Mixed, {"picture": "YWJj"})
    assert (kept.picture, kept.which_oneof("picture")) == (b"abc", "picture_bytes")


def test_an_object_goes_to_the_class_that_takes_it_without_conversion() -> None:
    assert decode(Mixed, {"thing": {"x": 5}}).thing == Whole(5)
    assert decode(Mixed, {"thing": {"x": "5"}}).thing == Text("5")


@pytest.mark.parametrize(
    ("given", "where", "kind"),
    [
        ({"plain": [1]}, "plain", "type"),
        ({"plain": None}, "plain", "type"),
        ({"plain": 2**63}, "plain", "type"),
        ({"plain_int": 5}, "plain_int", "unknown"),
        ({"thing": {"x": 1, "name": "n"}}, "thing", "type"),
        ({"thing": {"nope": 1}}, "thing", "type"),
    ],
)
def test_a_union_refuses(kinds: ModuleType, given: Any, where: str, kind: str) -> None:
    (fault,) = faults(kinds.Choices, given)
    assert (fault.where, fault.kind) == (where, kind)


def test_lists_in_a_union_go_by_their_elements(kinds: ModuleType) -> None:
    assert decode(kinds.ChoiceLists, {"items": [1, 2]}).to_dict() == {
        "items_int_sequence": {"values": [1, 2]}
    }
    assert decode(kinds.ChoiceLists, {"items": ["a"]}).which_oneof("items") == "items_str_sequence"
    assert decode(kinds.ChoiceLists, {"items": []}).which_oneof("items") == "items_int_sequence"
    (fault,) = faults(Mixed, {"either": ["a", 5]})
    assert (fault.where, fault.message) == ("either[1]", "expected text, got the number 5")


# text that is no JSON, or too much of it


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b'{"points": [}', "json"),
        (b"{'a': 1}", "json"),
        (b"not json", "json"),
        (b'{"points": []} x', "json"),
        (b'{"picture": "\xff"}', "utf8"),
        (b'{"picture": "\xc3"}', "utf8"),
        ('{"picture": "\ud800"}', "utf8"),
        (b'{"picture": "\\ud800"}', "json"),
        (b'{"extra": {"a": 1e999}}', "range"),
        (b'{"extra": {"a": ' + b"9" * 5000 + b"}}", "range"),
        (b'{"extra": {"a": NaN}}', "range"),
        (b'{"extra": {"a": -Infinity}}', "range"),
        (b'{"small": NaN}', "type"),
        (b'{"picture": "\\ud800", "small": NaN}', "utf8"),
        (b"5", "type"),
        (b"null", "type"),
        (b"[]", "type"),
        (b'"text"', "type"),
        (b"\xff\xfe{\x00}\x00", "json"),
    ],
)
def test_text_that_is_no_such_json_is_refused(text: bytes | str, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        codec_of(Mixed).decode_json(text)
    assert caught.value.fields[0].kind == kind


def test_bare_nan_is_taken_where_a_float_may_be_it(kinds: ModuleType) -> None:
    """Python's own `json` writes it."""
    for text in ('{"real": NaN}', '{"real": "NaN"}'):
        assert math.isnan(codec_of(kinds.Scalars).decode_json(text).real)
    assert codec_of(kinds.Scalars).decode_json('{"float32": -Infinity}').float32 == -math.inf


@pytest.mark.parametrize(
    "text",
    [
        '{"child":' * 10_000 + "{}" + "}" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        '{"nope": ' + "[" * 10_000 + "]" * 10_000 + "}",
        "[" * 100_000,
    ],
)
def test_json_that_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        codec_of(Tree).decode_json(text)
    assert caught.value.fields[0].kind == "depth"


def test_parsed_json_that_is_nested_too_deeply_is_refused() -> None:
    value: dict[str, Any] = {}
    inner = value
    for _ in range(10_000):
        inner["child"] = {}
        inner = inner["child"]
    with pytest.raises(ValidationError) as caught:
        codec_of(Tree).convert_json(value)
    assert caught.value.fields[0].kind == "depth"


def test_what_was_given_is_not_held_on_to() -> None:
    value = {"extra": {"a": [1]}}
    made = codec_of(Mixed).convert_json(value)
    value["extra"]["a"].append(2)
    assert made.extra == {"a": [1]}


# single annotations


@pytest.mark.parametrize(
    ("annotation", "given", "taken"),
    [
        (int, "5", 5),
        (list[int], [1, 2.0], [1, 2]),
        (int | None, None, None),
        (int | str, "a", "a"),
        (list[int] | list[str], ["a"], ["a"]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
        (list[Point], [{"x": 1, "y": 2}], [Point(1.0, 2.0)]),
        (JsonDict, {"a": [1]}, {"a": [1]}),
        (Point | None, None, None),
    ],
)
def test_a_value_of_any_annotation_can_be_converted(
    annotation: Any, given: Any, taken: Any
) -> None:
    assert convert_json_value(annotation, given) == taken


@pytest.mark.parametrize(
    ("annotation", "given", "where"),
    [
        (int, "a", ""),
        (int, None, ""),
        (list[Point], [{"x": "a"}], "[0].x"),
        (Point, {"x": "a"}, "x"),
        (Point, None, ""),
        (int | str, [1], ""),
    ],
)
def test_a_value_that_an_annotation_refuses(annotation: Any, given: Any, where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        convert_json_value(annotation, given)
    assert caught.value.fields[0].where == where


# writing


def test_all_fields_are_written(kinds: ModuleType) -> None:
    made = kinds.Scalars(
        text="é", whole=2**63 - 1, raw=b"\x00\xff", when=datetime(2024, 1, 1, tzinfo=UTC),
        color=7, point=kinds.Point(1.0),
    )  # fmt: skip
    written = codec_of(kinds.Scalars).encode_json(made)
    assert "é".encode() in written
    assert json.loads(written) == json.loads(made.to_json())
    assert b'"whole":9223372036854775807' in written


def test_what_json_cannot_write_becomes_protobufs_text(kinds: ModuleType) -> None:
    made = kinds.Scalars(
        real=math.nan, float32=math.inf, float64=-math.inf, anything={"a": math.nan}
    )
    written = json.loads(codec_of(kinds.Scalars).encode_json(made))
    assert (written["real"], written["float32"], written["float64"]) == (
        "NaN",
        "Infinity",
        "-Infinity",
    )
    assert written["anything"] == {"a": "NaN"}
    assert math.isnan(codec_of(kinds.Scalars).decode_json(b'{"real": "NaN"}').real)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"text": 5}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"whole": "5"}, "whole"),
        ({"whole": 2**63}, "whole"),
        ({"real": "x"}, "real"),
        ({"flag": 1}, "flag"),
        ({"raw": "x"}, "raw"),
        ({"when": "x"}, "when"),
        ({"anything": {"a": object()}}, "anything"),
        ({"anything": {1: 2}}, "anything"),
        ({"point": {"x": 1}}, "point"),
        ({"color": "RED"}, "color"),
    ],
)
def test_writing_checks_types(kinds: ModuleType, values: dict[str, Any], path: str) -> None:
    with pytest.raises(TypeError, match=rf"^Scalars\.{path}: "):
        codec_of(kinds.Scalars).encode_json(kinds.Scalars(**values))


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "2024-02-29T12:34:56Z"),
        (5, "2024-02-29T12:34:56.000005Z"),
        (500_000, "2024-02-29T12:34:56.500Z"),
    ],
)
def test_times_have_as_many_digits_as_they_need(kinds: ModuleType, micros: int, text: str) -> None:
    when = datetime(2024, 2, 29, 12, 34, 56, micros, tzinfo=UTC)
    assert json.loads(codec_of(kinds.Scalars).encode_json(kinds.Scalars(when=when)))["when"] == text
