"""Laws that hold for every class and every value; the machine looks for exceptions."""

import copy
import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kitfox.data import (
    DataObjectBase,
    JsonDict,
    codec_of,
    dataobject,
    make_data_stream_source,
    make_dataobject,
    open_data_stream,
)
from kitfox.data.json_reader import JsonReader
from kitfox.data.json_structs import FAILURES
from kitfox.data.timestamps import format_datetime, parse_datetime
from kitfox.errors import ValidationError

PACKAGE = "tests.properties"

law = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@dataobject(PACKAGE)
class Season(Enum):
    SPRING = 1
    AUTUMN = -3


@dataobject(PACKAGE)
class Leaf(DataObjectBase):
    name: str
    size: int | None
    colour: str = "green"


@dataobject(PACKAGE)
class Tree(DataObjectBase):
    leaf: Leaf | None
    children: list["Tree"]
    pick: int | str


# what fields can be, and values for them

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
times = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
free_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
free_objects = st.dictionaries(texts, free_values, max_size=3)
leaves = st.builds(Leaf, name=texts, size=st.none() | int64, colour=texts)
trees = st.recursive(
    st.builds(Tree, leaf=st.none() | leaves, children=st.just([]), pick=int64 | texts),
    lambda inner: st.builds(
        Tree, leaf=st.none() | leaves, children=st.lists(inner, max_size=2), pick=st.none() | texts
    ),
    max_leaves=4,
)

SINGLE: list[tuple[Any, SearchStrategy[Any]]] = [
    (str, texts),
    (int, int64),
    (float, floats),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=8)),
    (np.int32, st.integers(-(2**31), 2**31 - 1)),
    (np.uint32, st.integers(0, 2**32 - 1)),
    (np.uint64, st.integers(0, 2**64 - 1)),
    (np.float32, st.floats(allow_nan=False, width=32)),
]
MESSAGES: list[tuple[Any, SearchStrategy[Any]]] = [
    (datetime, times),
    (JsonDict, free_objects),
    (Leaf, leaves),
    (Tree, trees),
]
EVERY = [*SINGLE, (Season, st.sampled_from([1, -3])), *MESSAGES]
UNIONS: list[tuple[Any, SearchStrategy[Any]]] = [
    (int | str, int64 | texts),
    (bool | int | float, st.booleans() | int64 | floats),
    (Leaf | Tree, leaves | trees),
    (int | Leaf, int64 | leaves),
    (list[int] | list[str], st.lists(int64, min_size=1, max_size=3) | st.lists(texts, max_size=3)),
    (datetime | float, times | floats),
]


@cache
def kinds_of_field() -> list[tuple[Any, SearchStrategy[Any]]]:
    """Annotations, each with a strategy for values that come back as they are."""
    fields: list[tuple[Any, SearchStrategy[Any]]] = [*SINGLE, (Season, st.sampled_from([1, -3]))]
    listing: Any = list
    mapping: Any = dict
    fields += [(kind, st.none() | values) for kind, values in MESSAGES]
    fields += [(kind | None, st.none() | values) for kind, values in EVERY]
    fields += [(listing[kind], st.lists(values, max_size=3)) for kind, values in EVERY]
    for kind, values in EVERY:
        fields.append((mapping[str, kind], st.dictionaries(texts, values, max_size=3)))
        fields.append((mapping[int, kind], st.dictionaries(int64, values, max_size=3)))
    fields += [(kind, st.none() | values) for kind, values in UNIONS]
    return fields


@cache
def class_of(indexes: tuple[int, ...]) -> type[DataObjectBase]:
    """The class with these kinds of fields."""
    return make_dataobject(
        name="Made" + "_".join(map(str, indexes)),
        annotations={
            f"field_{place}": kinds_of_field()[index][0] for place, index in enumerate(indexes)
        },
        package=PACKAGE,
    )


@st.composite
def objects(draw: Callable[[Any], Any]) -> Any:
    """An object of some class."""
    indexes = tuple(
        draw(st.lists(st.integers(0, len(kinds_of_field()) - 1), min_size=0, max_size=4))
    )
    values = {
        f"field_{place}": draw(kinds_of_field()[index][1]) for place, index in enumerate(indexes)
    }
    return class_of(indexes)(**values)


def members(value: Any) -> dict[str, str | None]:
    """Which member of each union is set."""
    fields = codec_of(type(value)).schema.fields
    return {item.name: value.which_oneof(item.name) for item in fields if item.members}


# round trips


@law
@given(objects())
def test_an_object_comes_back_from_bytes(value: Any) -> None:
    codec = codec_of(type(value))
    back = codec.decode(codec.encode(value))
    assert back == value
    assert members(back) == members(value)
    assert type(value).from_proto(value.to_proto()) == value


@law
@given(objects())
def test_an_object_comes_back_from_json(value: Any) -> None:
    codec = codec_of(type(value))
    back = codec.decode_protobuf_json(codec.encode_json(value))
    assert back == value
    assert members(back) == members(value)
    assert type(value).from_json(value.to_json()) == value
    assert type(value).from_dict(value.to_dict()) == value


@law
@given(objects())
def test_an_object_comes_back_from_copies(value: Any) -> None:
    copied = copy.deepcopy(value)
    assert copied == value
    assert members(copied) == members(value)


@law
@given(objects())
def test_set_fields_are_those_of_the_object(value: Any) -> None:
    codec = codec_of(type(value))
    fields = codec.decode_fields(codec.encode(value))
    for name, content in value.to_kwargs().items():
        if name in fields:
            assert fields[name] == content
        else:
            assert content is None or content in ([], {})


# agreement with protobuf's own JSON


@law
@given(objects())
def test_protobuf_reads_what_we_write(value: Any) -> None:
    message = type(value).get_proto_class()()
    json_format.Parse(codec_of(type(value)).encode_json(value), message)
    assert message == value.to_proto()


@law
@given(objects(), st.booleans())
def test_we_read_what_protobuf_writes(value: Any, snake: bool) -> None:
    message = value.to_proto()
    text = json_format.MessageToJson(message, preserving_proto_field_name=snake)
    assert type(value).from_json(text).to_proto() == message


@law
@given(times)
def test_times_are_written_and_read_as_protobuf_does(moment: datetime) -> None:
    message = Timestamp()
    message.FromDatetime(moment.replace(tzinfo=None))
    assert format_datetime(moment) == message.ToJsonString()
    assert parse_datetime(message.ToJsonString()) == moment


# the fast readers never decide differently from the exact one

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["5", "true", "AAH/", "2024-01-01T00:00:00Z", "SPRING", "1e3", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "field_0", "values", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def refusal(read: Callable[[Any], Any], value: Any) -> ValidationError | None:
    """Why a value is refused, or none; whatever else is raised fails the test."""
    try:
        read(value)
    except ValidationError as error:
        return error
    return None


def changed(draw: Callable[[Any], Any], value: Any) -> Any:
    """JSON with something in it replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        choice = draw(st.integers(0, 3))
        if choice == 0:
            return {name: item for name, item in value.items() if name != key}
        if choice == 1:
            return {**value, draw(st.sampled_from(["nope", "name", "field0"])): draw(json_values)}
        return {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], changed(draw, value[index]), *value[index + 1 :]]
    return draw(json_values)


@st.composite
def almost_right(draw: Callable[[Any], Any]) -> tuple[type[DataObjectBase], Any]:
    """A class, and JSON that is nearly one of its objects."""
    value = draw(objects())
    parsed = json.loads(codec_of(type(value)).encode_json(value))
    for _ in range(draw(st.integers(0, 2))):
        parsed = changed(draw, parsed)
    return type(value), parsed


@law
@given(almost_right(), st.sampled_from(["request_struct", "protobuf_struct", "lenient_struct"]))
def test_fast_and_exact_readers_agree(case: tuple[type[DataObjectBase], Any], which: str) -> None:
    cls, value = case
    codec = codec_of(cls)
    fast = getattr(codec, which)
    reader = partial(
        JsonReader, protobuf=which != "request_struct", ignore_unknown=which == "lenient_struct"
    )
    for read, given_ in ((fast.read, json.dumps(value)), (fast.convert, value)):
        try:
            result = read(given_)
        except FAILURES:
            continue
        exact = reader().read(codec.schema, value)
        assert result == exact
        assert members(result) == members(exact)
        assert repr(result) == repr(exact)


@law
@given(almost_right())
def test_json_is_taken_or_refused_with_places(case: tuple[type[DataObjectBase], Any]) -> None:
    cls, value = case
    codec = codec_of(cls)
    for read in (codec.decode_json, codec.decode_protobuf_json):
        refused = refusal(read, json.dumps(value))
        if refused is None:
            codec.encode_json(read(json.dumps(value)))
        else:
            assert refused.fields
            assert all(fault.message and fault.kind for fault in refused.fields)


@law
@given(st.text() | st.binary())
def test_any_text_is_taken_or_refused(text: str | bytes) -> None:
    for read in (codec_of(Tree).decode_json, codec_of(Tree).decode_protobuf_json):
        refused = refusal(read, text)
        assert refused is None or refused.fields


# bytes that nobody meant


@law
@given(objects(), st.data())
def test_damaged_bytes_are_taken_or_refused(value: Any, data: Any) -> None:
    codec = codec_of(type(value))
    raw = bytearray(codec.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw)))
        raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    for read in (codec.decode, codec.decode_fields):
        refused = refusal(read, bytes(raw))
        assert refused is None or len(refused.fields) == 1


@law
@given(st.binary(max_size=40))
def test_any_bytes_are_taken_or_refused(raw: bytes) -> None:
    codec = codec_of(Tree)
    refused = refusal(codec.decode, raw)
    if refused is None:
        tree = codec.decode(raw)
        assert codec.decode(codec.encode(tree)) == tree
    else:
        assert len(refused.fields) == 1


# tables


@dataobject(PACKAGE)
class Row(DataObjectBase):
    word: str
    count: int
    share: float
    flag: bool
    maybe: int | None
    small: np.uint32
    data: bytes
    season: Season
    when: datetime
    free: JsonDict
    many: list[int]


rows = st.builds(
    Row,
    word=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    count=int64,
    share=floats,
    flag=st.booleans(),
    maybe=st.none() | int64,
    small=st.integers(0, 2**32 - 1),
    data=st.binary(max_size=6),
    season=st.sampled_from([Season.SPRING, Season.AUTUMN]),
    when=times,
    free=free_objects,
    many=st.lists(int64, max_size=3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@law
@given(table=st.lists(rows, max_size=4))
def test_a_table_comes_back_from_csv(folder: Path, table: list[Row]) -> None:
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row.fields)
        for row in table:
            entries = json.loads(row.to_json())
            writer.writerow(
                json.dumps(value) if isinstance(value, list | dict) else value
                for value in entries.values()
            )
    source = make_data_stream_source(Row, PACKAGE).from_json({"file": {"filename": "table.csv"}})
    assert list(open_data_stream(source, Row, base_dir=folder)) == table
