"""JSON by protobuf's rules: as protobuf's own `json_format` reads and writes it."""

import json
import math
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import json_format

from kitfox.data import DataObjectBase, codec_of, dataobject
from kitfox.errors import FieldError, ValidationError

PACKAGE = "tests.protobuf_json"


@dataobject(PACKAGE)
class Names(DataObjectBase):
    plain_text: str
    two_part_name: int
    either_way: int | str
    many_things: list[int] | list[str]
    defaulted: int = 4


def reference(cls: type[DataObjectBase], text: str, *, ignore: bool = False) -> Any:
    """The object by way of protobuf's own reader."""
    message = cls.get_proto_class()()
    json_format.Parse(text, message, ignore_unknown_fields=ignore)
    return cls.from_proto(message)


def faults(error: ValueError) -> tuple[FieldError, ...]:
    """The fields at fault, which the cause of the error names."""
    assert isinstance(error.__cause__, ValidationError)
    return error.__cause__.fields


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "t", "whole": "5", "real": 1, "flag": True},
        {"whole": 5.0, "int32": "-3", "uint64": "18446744073709551615"},
        {"text": None, "whole": None, "point": None, "when": None, "anything": None},
        {"raw": "AAE="},
        {"raw": "AAE"},
        {"raw": "__8="},
        {"raw": "__8"},
        {"when": "2024-02-29T12:34:56.789Z"},
        {"when": "2024-02-29T12:34:56+02:00"},
        {"anything": {"a": [1, None, {"b": "c"}], "d": 2.5}},
        {"color": "BLUE", "level": 1},
        {"point": {"x": "2.5"}},
        {"real": "NaN"},
        {"real": "-Infinity"},
        {"float32": 0.5},
    ],
)
def test_what_protobuf_reads_is_read_the_same(kinds: ModuleType, value: dict[str, Any]) -> None:
    text = json.dumps(value)
    expected = reference(kinds.Scalars, text)
    for read in (kinds.Scalars.from_json(text), kinds.Scalars.from_json(value)):
        assert repr(read.real) == repr(expected.real)  # not a number equals nothing
        read.real = expected.real
        assert read == expected


@pytest.mark.parametrize(
    "value",
    [
        {"zzz": 1},
        {"text": 5},
        {"whole": "five"},
        {"whole": 5.5},
        {"whole": True},
        {"whole": 2**63},
        {"int32": 2**31},
        {"uint32": -1},
        {"flag": 1},
        {"flag": "true"},
        {"real": "many"},
        {"float32": 1e300},
        {"raw": 5},
        {"when": "2024-02-29"},
        {"when": "2024-02-29T12:34:56"},
        {"when": 5},
        {"when": "soon"},
        {"anything": [1]},
        {"color": "PURPLE"},
        {"point": [1]},
        {"point": "x"},
    ],
)
def test_what_protobuf_refuses_is_refused(kinds: ModuleType, value: dict[str, Any]) -> None:
    with pytest.raises(json_format.ParseError):
        reference(kinds.Scalars, json.dumps(value))
    (name,) = value
    with pytest.raises(ValueError, match=name) as caught:
        kinds.Scalars.from_json(json.dumps(value))
    assert type(caught.value) is ValueError
    assert [fault.where for fault in faults(caught.value)] == [name]


def test_names_are_taken_in_snake_and_camel_case() -> None:
    for text in (
        '{"plain_text": "a", "two_part_name": 2, "either_way_int": 3}',
        '{"plainText": "a", "twoPartName": "2", "eitherWayInt": "3"}',
    ):
        assert Names.from_json(text) == reference(Names, text)
        assert Names.from_json(text).to_dict() == {
            "plain_text": "a",
            "two_part_name": 2,
            "either_way_int": 3,
            "defaulted": 4,
        }


def test_one_field_under_two_names_is_refused() -> None:
    with pytest.raises(ValueError, match="'plain_text' and 'plainText' name the same field"):
        Names.from_json('{"plain_text": "a", "plainText": "b"}')


def test_a_union_goes_by_the_names_of_its_members() -> None:
    made = Names.from_json('{"either_way_str": "5"}')
    assert (made.either_way, made.which_oneof("either_way")) == ("5", "either_way_str")
    assert Names.from_json('{"either_way_int": null}').either_way is None
    assert Names.from_json('{"either_way": "x"}').which_oneof("either_way") == "either_way_str"


def test_two_members_of_a_union_are_refused() -> None:
    for value in (
        {"either_way_int": 1, "either_way_str": "a"},
        {"eitherWayInt": 1, "either_way": 2},
    ):
        with pytest.raises(ValueError, match="are alternatives") as caught:
            Names.from_json(value)
        (fault,) = faults(caught.value)
        assert fault.kind == "oneof"
        assert "are alternatives of 'either_way': give one" in fault.message


def test_lists_in_a_union_are_messages_with_values() -> None:
    text = '{"manyThingsStrSequence": {"values": ["a"]}}'
    assert Names.from_json(text) == reference(Names, text)
    assert Names.from_json('{"many_things_int_sequence": {}}').many_things == []
    for wrong in ('{"values": [1], "more": 2}', "[1]", '{"values": [1.5]}'):
        with pytest.raises(ValueError, match="many_things"):
            Names.from_json(f'{{"many_things_int_sequence": {wrong}}}')


def test_unknown_names_can_be_passed_over() -> None:
    text = '{"plainText": "a", "nope": {"deep": [1]}}'
    assert Names.from_json(text, ignore_unknown_fields=True) == reference(Names, text, ignore=True)
    with pytest.raises(ValueError, match="nope: Names has no such field"):
        Names.from_json(text)


def test_what_is_missing_is_zero_empty_or_the_default() -> None:
    assert Names.from_json("{}") == Names.from_binary_buffer(b"")
    assert Names.from_json("{}").to_dict() == {
        "plain_text": "",
        "two_part_name": 0,
        "defaulted": 4,
    }


@pytest.mark.parametrize("value", [5, None, ["a"], 1.5])
def test_only_text_and_dictionaries_are_json(value: Any) -> None:
    with pytest.raises(TypeError, match="expected JSON text or a dict"):
        Names.from_json(value)


@pytest.mark.parametrize("text", ["", "not json", "[]", "5", "null"])
def test_text_that_is_no_object_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON|expected an object"):
        Names.from_json(text)


def test_to_json_is_read_back(kinds: ModuleType) -> None:
    made = kinds.Scalars(
        "é", 2**63 - 1, 1.5, True, b"\x00\xff", -3, -4, 3, 2**64 - 1, 0.5, 0.25,
        datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=UTC), {"a": [1]}, 7, 1,
        kinds.Point(1.0, 2.0),
    )  # fmt: skip
    assert kinds.Scalars.from_json(made.to_json()) == made
    assert kinds.Scalars.from_json(codec_of(kinds.Scalars).encode_json(made)) == made
    choices = kinds.Choices(plain=3, wide=b"x", thing=kinds.Named("n"), tagged="l")
    assert kinds.Choices.from_json(choices.to_json()) == choices.from_proto(choices.to_proto())


def test_what_is_written_is_read_by_protobuf(kinds: ModuleType) -> None:
    made = kinds.Scalars(
        text="é", whole=-5, real=math.inf, raw=b"\xfb\xff", color=2,
        when=datetime(2024, 2, 29, 12, 34, 56, 500_000, tzinfo=UTC),
    )  # fmt: skip
    written = codec_of(kinds.Scalars).encode_json(made).decode()
    assert reference(kinds.Scalars, written).to_proto() == made.to_proto()
