"""Unions: which member a value goes to, and how members are set and read."""

from datetime import datetime
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import pytest

from kitfox.data import (
    DataObjectBase,
    FieldNumber,
    IntSequence,
    JsonDict,
    OneofField,
    codec_of,
    dataobject,
    make_dataobject,
)

PACKAGE = "tests.unions"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float


@dataobject(PACKAGE)
class Wide(DataObjectBase):
    any_of: float | str | bool | bytes | int | datetime | Point | JsonDict
    lists: list[int] | list[str] | list[Point] | list[bool]
    narrow: np.int32 | np.int64
    late: bytes | str
    defaulted: int | str = "dflt"


@pytest.mark.parametrize(
    ("value", "member"),
    [
        (True, "any_of_bool"),
        (3, "any_of_int"),
        (1.5, "any_of_float"),
        ("a", "any_of_str"),
        (b"\xff", "any_of_bytes"),
        (b"text", "any_of_str"),
        (datetime(2024, 1, 1), "any_of_datetime"),
        (Point(1.0), "any_of_point"),
        ({"a": 1}, "any_of_jsondict"),
        (np.int64(3), "any_of_int"),
        (np.float32(0.5), "any_of_float"),
        (np.True_, "any_of_bool"),
        (None, None),
        (object(), None),
    ],
)
def test_the_member_follows_from_the_value(value: Any, member: str | None) -> None:
    made = Wide.from_json({})
    made.any_of = value
    assert made.which_oneof("any_of") == member


@pytest.mark.parametrize(
    ("value", "member"),
    [
        ([1], "lists_int_sequence"),
        (["a"], "lists_str_sequence"),
        ([Point(1.0)], "lists_point_sequence"),
        ([True], "lists_bool_sequence"),
        ([], "lists_int_sequence"),
        (("a",), "lists_str_sequence"),
        ([np.int64(1)], "lists_int_sequence"),
        ([1.5], None),
    ],
)
def test_a_list_goes_by_its_first_element(value: Any, member: str | None) -> None:
    made = Wide.from_json({})
    made.lists = value
    assert made.which_oneof("lists") == member


def test_an_integer_goes_where_it_fits() -> None:
    assert Wide.from_json({"narrow_int32": 1}).which_oneof("narrow") == "narrow_int32"
    made = Wide.from_json({})
    made.narrow = 2**40  # type: ignore[assignment] # plain ints
    assert made.which_oneof("narrow") == "narrow_int64"
    assert Wide.from_proto(made.to_proto()).narrow == 2**40


def test_a_member_can_be_set_by_name() -> None:
    cls: Any = Wide
    made = cls(any_of_float=3)
    assert (made.which_oneof("any_of"), made.any_of, made.any_of_float) == ("any_of_float", 3, 3)
    assert (made.any_of_int, made.any_of_str) == (None, None)
    made.any_of_str = "a"
    assert (made.which_oneof("any_of"), made.any_of_float) == ("any_of_str", None)
    made.any_of = 3
    assert made.which_oneof("any_of") == "any_of_int"
    made.any_of_str = None
    assert made.any_of == 3
    made.any_of_int = None
    assert (made.any_of, made.which_oneof("any_of")) == (None, None)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"any_of_int": 1, "any_of_str": "a"}),
        ((), {"any_of": 1, "any_of_str": "a"}),
        ((1,), {"any_of_str": "a"}),
    ],
)
def test_two_alternatives_are_refused(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match=r"Wide: .* are alternatives of one union; give one"):
        Wide(*args, **kwargs)


def test_a_chosen_member_is_kept_on_the_wire() -> None:
    cls: Any = Wide
    made = cls(any_of_float=3)
    assert cls.from_proto(made.to_proto()).which_oneof("any_of") == "any_of_float"
    assert b'"any_of_float":3' in codec_of(Wide).encode_json(made)


def test_a_value_that_its_chosen_member_does_not_take_is_refused() -> None:
    cls: Any = Wide
    with pytest.raises(TypeError, match=r"^Wide\.any_of: expected int, got str$"):
        cls(any_of_int="a").to_proto()


def test_a_bool_may_go_to_an_int_where_there_is_no_bool(kinds: ModuleType) -> None:
    made = kinds.Choices(plain=True)
    assert kinds.Choices.from_proto(made.to_proto()).plain == 1
    assert codec_of(kinds.Choices).encode_json(made) == b'{"plain_int":1}'


def test_a_default_holds_for_a_union_too() -> None:
    assert Wide.from_json({}).defaulted == "dflt"
    assert Wide.from_binary_buffer(b"").which_oneof("defaulted") == "defaulted_str"
    assert codec_of(Wide).decode_json(b"{}").defaulted == "dflt"


def test_a_list_may_be_given_as_its_message() -> None:
    made = Wide.from_json({})
    made.lists_int_sequence = IntSequence([1, 2])  # type: ignore[attr-defined] # set by name
    assert Wide.from_proto(made.to_proto()).lists == [1, 2]
    assert made.to_dict()["lists_int_sequence"] == {"values": [1, 2]}


def test_shared_sequences_are_for_elements_that_have_one() -> None:
    made = make_dataobject(
        name="Shared",
        annotations={"x": list[int] | list[str]},
        package=PACKAGE,
        shared_sequences=True,
    )
    (first, _) = made.get_proto_class().DESCRIPTOR.fields
    assert first.message_type is not None
    assert first.message_type.full_name == "caikit_data_model.common.IntSequence"
    assert made.from_json({"x_int_sequence": {"values": [1]}}).to_kwargs() == {"x": [1]}
    with pytest.raises(TypeError, match="lists of these only: int, float, str, bool"):
        make_dataobject(
            name="Unshared",
            annotations={"x": list[Point] | list[str]},
            package=PACKAGE,
            shared_sequences=True,
        )


def test_a_single_named_alternative_is_a_union_too() -> None:
    made = make_dataobject(
        name="Lone",
        annotations={"x": Annotated[int, OneofField("only"), FieldNumber(4)]},
        package=PACKAGE,
    )
    assert made.fields == ("only",)
    assert made.from_json({"only": 0}).which_oneof("x") == "only"
    assert made.from_json({}).which_oneof("x") is None


def test_unions_of_unions_are_flat() -> None:
    inner = int | str
    made = make_dataobject(name="Flat", annotations={"x": inner | None | float}, package=PACKAGE)
    assert made.fields == ("x_int", "x_str", "x_float")
