"""Objects to protobuf bytes and back: presence, ranges, well-known types, and refusals."""

from datetime import UTC, datetime, timedelta, timezone
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct

from kitfox.data import (
    DataObjectBase,
    FieldValueError,
    JsonDict,
    codec_of,
    dataobject,
    make_dataobject,
)
from kitfox.errors import Code, ValidationError

PACKAGE = "tests.protobuf"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float
    y: float


@dataobject(PACKAGE)
class Inside(DataObjectBase):
    points: list[Point]
    by_name: dict[str, Point]
    words: list[str]
    counts: dict[str, int]
    either: int | Point
    lists: list[int] | list[str]
    when: datetime
    extra: JsonDict
    small: np.int32
    single: np.float32
    flag: bool
    raw: bytes


@dataobject(PACKAGE)
class Request(DataObjectBase):
    inside: Inside
    number: int


@dataobject(PACKAGE)
class Presence(DataObjectBase):
    plain: int
    optional: int | None
    text: str = "dflt"
    point: Point | None = None
    items: list[int] | None = None
    either: int | str | None = None


@dataobject(PACKAGE)
class Parcel(DataObjectBase):
    content: Any


def inside(**values: Any) -> Request:
    return Request(Inside(**values), 1)


# round trips


def test_every_kind_of_field_comes_back(kinds: ModuleType) -> None:
    when = datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=UTC)
    scalars = kinds.Scalars(
        "t", 5, 1.5, True, b"\x00\xff", -3, -4, 3, 4, 0.5, 0.1, when,
        {"a": 1, "b": [True, None, "x", {"c": 2.5}], "d": {}}, 7, 1, kinds.Point(1.0, -2.0),
    )  # fmt: skip
    assert kinds.Scalars.from_binary_buffer(scalars.to_binary_buffer()) == scalars


def test_maps_and_lists_come_back(kinds: ModuleType) -> None:
    maps = kinds.Maps({"a": "b"}, {"a": 1}, {1: "a", -2: "b"}, {"a": 0.5}, {"t": True},
                      {"p": kinds.Point(1.0, 2.0)})  # fmt: skip
    assert kinds.Maps.from_proto(maps.to_proto()) == maps
    lists = kinds.Lists(["a", ""], [1, 0], [0.5], [True, False], [b"\x00"],
                        [datetime(2024, 1, 1, tzinfo=UTC)], [{"a": 1}, {}],
                        [kinds.Point(1.0, 2.0)])  # fmt: skip
    assert kinds.Lists.from_proto(lists.to_proto()) == lists


def test_map_values_may_be_of_another_package(kinds: ModuleType) -> None:
    point: Any = kinds.Point
    made = make_dataobject(
        name="Foreign", annotations={"points": dict[str, point]}, package=PACKAGE
    )
    original = made.from_json({"points": {"a": {"x": 1}}})
    assert made.from_proto(original.to_proto()) == original


def test_an_empty_message_inside_stays_present() -> None:
    request = Request.from_proto(Request(Inside.from_json({}), 0).to_proto())
    assert request.inside is not None
    assert Request.from_binary_buffer(b"").inside is None


def test_fill_proto_fills_what_it_is_given() -> None:
    message = Point.get_proto_class()()
    assert Point(1.0, 2.0).fill_proto(message) is message
    assert Point.from_proto(message) == Point(1.0, 2.0)


def test_a_message_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a message Point, got Struct"):
        Point.from_proto(Struct())


def test_a_message_of_the_same_name_in_another_package_is_taken(kinds: ModuleType) -> None:
    assert Point.from_proto(kinds.Point(1.0, 2.0).to_proto()) == Point(1.0, 2.0)


# presence


def test_what_is_unset_is_none_or_the_default() -> None:
    read = Presence.from_binary_buffer(b"")
    assert read.to_kwargs() == {
        "plain": 0,
        "optional": None,
        "text": "dflt",
        "point": None,
        "items": [],
        "either": None,
    }


def test_zeros_that_were_set_come_back_as_zeros() -> None:
    zeros = Presence(0, 0, "", Point(0.0, 0.0), [], 0)
    assert Presence.from_binary_buffer(zeros.to_binary_buffer()) == zeros


def test_none_is_not_written() -> None:
    assert Presence(None, None, None, None, None, None).to_binary_buffer() == b""  # type: ignore[arg-type] # what is tested


def test_unset_fields_are_told_apart_for_requests() -> None:
    fields = codec_of(Presence).decode_fields
    assert fields(b"") == {"plain": 0}
    zeros = Presence(0, 0, "", Point(0.0, 0.0), [], 0)
    assert fields(zeros.to_binary_buffer()) == {
        "plain": 0,
        "optional": 0,
        "text": "",
        "point": Point(0.0, 0.0),
        "either": 0,
    }
    assert fields(Presence(1, items=[1], either="a", optional=None).to_binary_buffer()) == {
        "plain": 1,
        "text": "dflt",
        "items": [1],
        "either": "a",
    }


def test_unknown_fields_are_passed_over() -> None:
    assert Point.from_binary_buffer(Inside.from_json({}).to_binary_buffer() + b"\xa0\x06\x05") == (
        Point(0.0, 0.0)
    )


# times and free-form objects


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (
            datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 1, 1, tzinfo=UTC),
        ),
        (datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)),
        (
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        (
            datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        ),
    ],
)
def test_times_are_read_aware_and_in_utc(given: datetime, read: datetime) -> None:
    back = Request.from_proto(inside(when=given).to_proto()).inside.when
    assert back == read
    assert back.tzinfo is UTC


def test_nanoseconds_are_cut() -> None:
    message: Any = inside(when=datetime(2024, 1, 1, tzinfo=UTC)).to_proto()
    message.inside.when.nanos = 999_999_999
    assert Request.from_proto(message).inside.when.microsecond == 999_999


def test_a_time_outside_the_years_that_exist_is_refused() -> None:
    message: Any = inside().to_proto()
    message.inside.when.seconds = 253_402_300_800
    with pytest.raises(ValidationError, match=r"^inside\.when: seconds=253402300800"):
        codec_of(Request).decode(message.SerializeToString())


def test_whole_numbers_of_free_form_objects_are_int() -> None:
    free = {"whole": 3.0, "real": 2.5, "huge": 1e300, "minus": -7, "exact": 2**53, "list": [1.0]}
    back = Request.from_proto(inside(extra=free).to_proto()).inside.extra
    assert back == free
    assert [type(back[key]) for key in free] == [int, float, float, int, int, list]


def test_any_holds_a_message() -> None:
    packed = AnyMessage()
    packed.Pack(Point(1.0, 2.0).to_proto())
    read = Parcel.from_proto(Parcel(packed).to_proto())
    unpacked = Point.get_proto_class()()
    assert read.content.Unpack(unpacked)
    assert Point.from_proto(unpacked) == Point(1.0, 2.0)
    assert Parcel.from_json(Parcel(packed).to_json()).content == packed
    with pytest.raises(TypeError, match=r"Parcel\.content: expected a google\.protobuf\.Any"):
        Parcel("text").to_proto()


# values of wrong types


@pytest.mark.parametrize(
    ("values", "path", "message"),
    [
        ({"points": [Point(1.0, 2.0), Point("s", 1.0)]}, "points[1].x", "expected float, got str"),  # type: ignore[arg-type] # what is tested
        ({"points": [Point(1.0, 2.0), 5]}, "points[1]", "expected Point, got int"),
        ({"points": [None]}, "points[0]", "expected Point, got NoneType"),
        ({"points": 5}, "points", "expected a list, got int"),
        ({"points": Point(1.0, 2.0)}, "points", "expected a list, got Point"),
        ({"words": "text"}, "words", "expected a list, got str"),
        ({"words": ["a", 5]}, "words[1]", "expected str, got int"),
        ({"words": ["a", None]}, "words[1]", "expected str, got NoneType"),
        ({"words": [b"\xff"]}, "words[0]", "expected str, got bytes that are not UTF-8"),
        ({"words": ["\ud800"]}, "words[0]", "half of a surrogate pair"),
        ({"by_name": {"a": Point(1.0, None)}}, None, None),  # type: ignore[arg-type] # what is tested
        ({"by_name": {"a": 5}}, "by_name.a", "expected Point, got int"),
        ({"by_name": {5: Point(1.0, 2.0)}}, "by_name.key 5", "expected str, got int"),
        ({"by_name": [1]}, "by_name", "expected a dict, got list"),
        ({"counts": {"a": "b"}}, "counts.a", "expected int, got str"),
        ({"counts": {"a": 2**63}}, "counts.a", "9223372036854775808 is out of range for int"),
        ({"either": 1.5}, "either", "expected int or Point, got float"),
        ({"either": Point("s", 1.0)}, "either.x", "expected float, got str"),  # type: ignore[arg-type] # what is tested
        ({"lists": [1, "a"]}, "lists[1]", "expected int, got str"),
        ({"lists": [1.5]}, "lists", "expected list[int] or list[str], got list"),
        ({"when": "2024-01-01"}, "when", "expected datetime, got str"),
        ({"extra": 5}, "extra", "expected a JSON object (dict), got int"),
        ({"extra": {"a": object()}}, "extra", "JSON has no value for object"),
        ({"extra": {1: 2}}, "extra", "the keys of a JSON object are text, got 1"),
        ({"small": 2**31}, "small", "2147483648 is out of range for int32"),
        ({"small": -(2**31) - 1}, "small", "is out of range for int32"),
        ({"single": 1e300}, "single", "out of range for float32"),
        ({"flag": 1}, "flag", "expected bool, got int"),
        ({"flag": "yes"}, "flag", "expected bool, got str"),
        ({"raw": "text"}, "raw", "expected bytes, got str"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_with_its_path(
    values: dict[str, Any], path: str | None, message: str | None
) -> None:
    request = inside(**values)
    if path is None or message is None:
        request.to_proto()
        return
    for write in (request.to_proto, request.to_binary_buffer):
        with pytest.raises((TypeError, ValueError)) as caught:
            write()
        assert type(caught.value) in (TypeError, ValueError)
        assert isinstance(caught.value.__cause__, FieldValueError)
        assert str(caught.value).startswith(f"Request.inside.{path}: ")
        assert message in str(caught.value)


def test_a_bool_is_no_int() -> None:
    with pytest.raises(TypeError, match=r"^Request\.number: expected int, got bool$"):
        Request(Inside.from_json({}), True).to_proto()


def test_another_object_than_the_class_is_refused() -> None:
    codec: Any = codec_of(Point)
    with pytest.raises(FieldValueError, match=r"^Point: expected Point, got Request$"):
        codec.encode(inside())
    with pytest.raises(FieldValueError, match=r"^Point: expected Point, got NoneType$"):
        codec.encode_json(None)


def test_an_object_that_contains_itself_is_refused() -> None:
    @dataobject(PACKAGE)
    class Loop(DataObjectBase):
        again: "Loop | None"

    loop = Loop(None)
    loop.again = loop
    for write in (loop.to_binary_buffer, lambda: codec_of(Loop).encode_json(loop)):
        with pytest.raises(ValueError, match="nested too deeply or contains itself"):
            write()


def test_a_subclass_may_stand_for_its_parent() -> None:
    class Finer(Point):
        pass

    assert Request.from_proto(inside(points=[Finer(1.0, 2.0)]).to_proto()).inside.points == [
        Point(1.0, 2.0)
    ]


@pytest.mark.parametrize("items", [(1, 2), iter([1, 2]), np.array([1, 2]), range(1, 3)])
def test_anything_that_lists_is_taken_for_a_list(items: Any) -> None:
    made = Presence.from_proto(Presence(1, None, items=items).to_proto())
    assert made.items == [1, 2]


# malformed bytes


def length_delimited(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        (b"\xff\xff\xff\xff", "", "the bytes end in the middle of a number"),
        (b"\xff" * 11, "", "longer than ten bytes"),
        (b"\x0a\x05ab", "", "the bytes end in the middle of a field"),
        (b"\x00", "", "a tag is wrong"),
        (b"\x0f", "", "a tag is wrong"),
        (b"\x0c", "", "a group ends that did not begin"),
        (b"\x0b", "", "the bytes end in the middle of a group"),
        (b"\x10", "", "the bytes end in the middle of a number"),
        (length_delimited(1, length_delimited(3, b"\xff\xfe")), "inside.words[0]", "not UTF-8"),
        (
            length_delimited(1, length_delimited(3, b"ok") + length_delimited(3, b"\xc3")),
            "inside.words[1]",
            "not UTF-8",
        ),
        (length_delimited(1, length_delimited(1, b"\x09ab")), "inside.points[0]", "end in the"),
    ],
)
def test_malformed_bytes_are_refused_with_the_place(data: bytes, path: str, words: str) -> None:
    codec = codec_of(Request)
    for read in (codec.decode, codec.decode_fields):
        with pytest.raises(ValidationError) as caught:
            read(data)
        assert caught.value.code is Code.INVALID_ARGUMENT
        (fault,) = caught.value.fields
        assert fault.where == path
        assert words in fault.message
        assert "tests.protobuf.Request" in fault.message


def test_what_are_no_bytes_is_refused() -> None:
    codec: Any = codec_of(Request)
    with pytest.raises(ValidationError, match="expected bytes, got str"):
        codec.decode("text")


def test_messages_that_are_nested_too_deeply_are_refused() -> None:
    @dataobject(PACKAGE)
    class Nest(DataObjectBase):
        child: "Nest | None"

    data = b""
    for _ in range(150):
        size = len(data)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        data = b"\x0a" + length + data
    with pytest.raises(ValidationError, match="nested more than 100 deep") as caught:
        codec_of(Nest).decode(data)
    assert caught.value.fields[0].kind == "depth"


# one codec for each class


def test_a_class_has_one_codec() -> None:
    assert codec_of(Point) is codec_of(Point)


@pytest.mark.parametrize("cls", [int, DataObjectBase])
def test_other_classes_have_no_codec(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="put @dataobject above it"):
        codec_of(cls)
