"""What a type checker knows of data objects and streams. Checked by mypy, and run as well."""

from collections.abc import Iterator
from typing import Any, assert_type

from kitfox.data import Codec, DataObjectBase, DataStream, codec_of, dataobject


@dataobject("tests.typing")
class Point(DataObjectBase):
    x: float
    label: str = ""


@dataobject
class Bare(DataObjectBase):
    values: list[int]


def test_the_constructor_has_the_fields() -> None:
    point = Point(1.0, label="a")
    assert_type(point, Point)
    assert_type(point.x, float)
    assert_type(point.label, str)
    assert_type(Bare([1]).values, list[int])


def test_class_methods_give_the_class() -> None:
    assert_type(Point.from_json("{}"), Point)
    assert_type(Point.from_proto(Point(1.0).to_proto()), Point)
    assert_type(Point.from_binary_buffer(b""), Point)
    assert_type(codec_of(Point), Codec[Point])
    assert_type(codec_of(Point).decode(b""), Point)
    assert_type(codec_of(Point).decode_json(b"{}"), Point)


def test_streams_know_their_elements() -> None:
    stream = DataStream.from_iterable([1, 2])
    assert_type(stream, DataStream[int])
    assert_type(stream.map(str), DataStream[str])
    assert_type(iter(stream), Iterator[int])
    assert_type(stream.peek(), int)
    assert_type(stream.filter(bool), DataStream[int])
    assert_type(stream.zip(stream), DataStream[tuple[Any, ...]])
    assert_type(DataStream.from_iterable([1]).shuffle(2), DataStream[int])


def test_a_wrong_argument_is_a_type_error() -> None:
    Point("text")  # type: ignore[arg-type] # what is tested
