"""Enums: their protobuf form, names and numbers, aliases and the placeholder."""

import enum
from types import ModuleType
from typing import Any

import pytest

from kitfox.data import DataObjectBase, codec_of, dataobject
from kitfox.data.enums import reverse_names
from kitfox.errors import ValidationError

PACKAGE = "tests.enums"


@dataobject(PACKAGE)
class Mood(enum.Enum):
    CALM = 2
    QUIET = 2  # noqa: PIE796 # an alias
    WILD = -5


@dataobject(PACKAGE)
class Level(enum.IntEnum):
    HIGH = 3
    LOW = 0


@dataobject(PACKAGE)
class Felt(DataObjectBase):
    mood: Mood
    level: Level
    moods: list[Mood]
    by_day: dict[str, Mood]
    either: Mood | str
    maybe: Mood | None


def values(cls: Any) -> list[tuple[str, int]]:
    return [(item.name, item.number) for item in cls.get_proto_class().values]


def test_an_enum_without_zero_gets_a_placeholder() -> None:
    assert values(Mood) == [("PLACEHOLDER_UNSET", 0), ("CALM", 2), ("QUIET", 2), ("WILD", -5)]


def test_the_zero_comes_first() -> None:
    assert values(Level) == [("LOW", 0), ("HIGH", 3)]


def test_a_second_placeholder_in_a_package_has_the_name_of_its_enum() -> None:
    @dataobject(PACKAGE)
    class Taste(enum.Enum):
        SWEET = 1

    assert values(Taste) == [("TASTE_PLACEHOLDER_UNSET", 0), ("SWEET", 1)]


def test_only_aliases_set_allow_alias(kinds: ModuleType) -> None:
    assert Mood.get_proto_class().GetOptions().allow_alias  # type: ignore[attr-defined] # added
    assert not kinds.Color.get_proto_class().GetOptions().allow_alias


def test_a_name_of_another_enum_of_the_package_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Other\.CALM: Mood in the package .* has that name"):

        @dataobject(PACKAGE)
        class Other(enum.Enum):
            CALM = 1


@pytest.mark.parametrize("value", ["text", 2**31, 1.5, True, None])
def test_members_are_integers_of_32_bits(value: Any) -> None:
    make: Any = enum.Enum
    made = make("Odd", {"MEMBER": value})
    with pytest.raises(TypeError, match=r"Odd\.MEMBER is .*integers of 32 bits"):
        dataobject(PACKAGE)(made)


def test_class_methods_tell_names_and_numbers() -> None:
    mood: Any = Mood
    assert mood.to_dict() == {"CALM": 2, "QUIET": 2, "WILD": -5}
    assert mood.to_munch().WILD == -5
    with pytest.raises(AttributeError):
        _ = mood.to_munch().NOPE
    assert mood.full_name == "tests.enums.Mood"
    assert reverse_names(Mood) == {0: "PLACEHOLDER_UNSET", 2: "QUIET", -5: "WILD"}


def test_members_and_numbers_are_written_alike() -> None:
    made: Any = Felt(Mood.WILD, Level.HIGH, [Mood.CALM], {"mon": Mood.WILD}, Mood.CALM, None)
    numbers: Any = Felt(-5, 3, [2], {"mon": -5}, Mood.CALM, None)  # type: ignore[arg-type, list-item, dict-item] # as allowed
    assert made.to_binary_buffer() == numbers.to_binary_buffer()
    assert codec_of(Felt).encode_json(made) == codec_of(Felt).encode_json(numbers)
    assert Felt.from_proto(made.to_proto()).mood == -5  # type: ignore[comparison-overlap] # a number


def test_names_are_shown_of_aliases_the_last() -> None:
    made = Felt.from_json({"mood": "CALM", "moods": [-5, "QUIET"], "either_mood": "CALM"})
    assert made.to_dict() == {
        "mood": "QUIET",
        "level": "LOW",
        "moods": ["WILD", "QUIET"],
        "by_day": {},
        "either_mood": "QUIET",
        "maybe": None,
    }


def test_json_of_requests_gives_members_and_protobufs_gives_numbers() -> None:
    codec = codec_of(Felt)
    for text in (b'{"mood": "WILD", "moods": ["CALM", -5]}', b'{"mood": -5, "moods": [2, "WILD"]}'):
        assert codec.decode_json(text).mood is Mood.WILD
        assert codec.decode_json(text).moods == [Mood.CALM, Mood.WILD]
        assert codec.decode_protobuf_json(text).mood == -5  # type: ignore[comparison-overlap] # a number


@pytest.mark.parametrize("value", ["NOPE", "wild", 7, 0, True, 1.5, [], {}, "2"])
def test_json_that_names_no_member_is_refused(value: Any) -> None:
    for convert in (codec_of(Felt).convert_json, codec_of(Felt).convert_protobuf_json):
        if value == 0 and value is not False and convert == codec_of(Felt).convert_protobuf_json:
            continue  # the placeholder has a number
        with pytest.raises(ValidationError) as caught:
            convert({"mood": value})
        (fault,) = caught.value.fields
        assert (fault.where, fault.kind) == ("mood", "enum")
        assert "expected one of CALM (2), WILD (-5), got" in fault.message


def test_the_placeholder_is_read_as_it_is_written() -> None:
    unset = Felt.from_binary_buffer(b"")
    assert unset.mood == 0  # type: ignore[comparison-overlap] # a number
    written = codec_of(Felt).encode_json(unset)
    assert b'"mood":"PLACEHOLDER_UNSET"' in written
    assert codec_of(Felt).decode_json(b'{"mood": "PLACEHOLDER_UNSET"}').mood == 0


def test_a_number_that_came_over_the_wire_goes_on() -> None:
    """protobuf's enums are open: a newer client may know more members."""
    codec = codec_of(Felt)
    made = codec.decode(b"\x08\x63")
    assert made.mood == 99  # type: ignore[comparison-overlap] # a number
    assert codec.encode(made) == b"\x08\x63"
    assert b'"mood":99' in codec.encode_json(made)
    with pytest.raises(KeyError):
        made.to_dict()


@pytest.mark.parametrize("value", ["CALM", 2**31, 1.5, True, Level.HIGH])
def test_values_that_are_neither_members_nor_numbers_are_refused(value: Any) -> None:
    made = Felt.from_json({})
    made.mood = value
    for write in (made.to_proto, lambda: codec_of(Felt).encode_json(made)):
        with pytest.raises(TypeError, match=r"^Felt\.mood: "):
            write()
