"""What a class may look like, and what the author is told when it cannot be served."""

import enum
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, Dict, List, Optional, Union  # noqa: UP035 # older code

import pytest

from kitfox.data import (
    DataObjectBase,
    FieldNumber,
    JsonDict,
    OneofField,
    codec_of,
    dataobject,
    make_dataobject,
)

PACKAGE = "tests.definition"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float
    y: float


class Undecorated(DataObjectBase):
    z: int


class Colour(enum.Enum):
    RED = 1


counter = itertools.count()


def define(**annotations: Any) -> type[DataObjectBase]:
    return make_dataobject(
        name="Tried", annotations=annotations, package=f"tests.tried{next(counter)}"
    )


def proto_fields(cls: type[DataObjectBase]) -> list[tuple[str, int]]:
    return [(item.name, item.number) for item in cls.get_proto_class().DESCRIPTOR.fields]


# names


def test_the_package_may_be_given_in_three_ways() -> None:
    @dataobject
    class WithoutPackage(DataObjectBase):
        x: int

    @dataobject("tests.positional")
    class Positional(DataObjectBase):
        x: int

    @dataobject(package="tests.keyword")
    class Keyword(DataObjectBase):
        x: int

    assert WithoutPackage.full_name == "caikit_data_model.WithoutPackage"
    assert Positional.full_name == "tests.positional.Positional"
    assert Keyword.full_name == "tests.keyword.Keyword"


def test_a_message_is_in_a_file_of_its_own() -> None:
    descriptor = Point.get_proto_class().DESCRIPTOR
    assert descriptor.full_name == "tests.definition.Point"
    assert descriptor.file.name == "tests.definition.point.proto"
    assert list(descriptor.file.message_types_by_name) == ["Point"]


def test_the_same_shape_may_be_defined_again() -> None:
    first = make_dataobject(name="Again", annotations={"x": int}, package=PACKAGE)
    second = make_dataobject(name="Again", annotations={"x": int}, package=PACKAGE)
    assert first is not second
    assert first.get_proto_class() is second.get_proto_class()
    assert DataObjectBase.get_class_for_name("tests.definition.Again") is second
    assert second.from_binary_buffer(first.from_json({"x": 3}).to_binary_buffer()).to_dict() == {
        "x": 3
    }


def test_another_shape_under_the_same_name_is_refused() -> None:
    make_dataobject(name="Twice", annotations={"x": int}, package=PACKAGE)
    with pytest.raises(TypeError, match=r"tests\.definition\.Twice is defined already"):
        make_dataobject(name="Twice", annotations={"x": str}, package=PACKAGE)


def test_names_that_differ_only_in_case_are_refused() -> None:
    make_dataobject(name="Cased", annotations={"x": int}, package=PACKAGE)
    with pytest.raises(TypeError, match="must differ in more than upper and lower case"):
        make_dataobject(name="CASED", annotations={"x": int}, package=PACKAGE)


@pytest.mark.parametrize("package", ["a b", "a..b", "1a", "ä"])
def test_a_package_is_made_of_ascii_names(package: str) -> None:
    with pytest.raises(TypeError, match="cannot be in a protobuf name"):
        make_dataobject(name="Misnamed", annotations={"x": int}, package=package)


def test_a_message_may_have_another_name_than_its_class() -> None:
    made = make_dataobject(
        name="Inside", annotations={"x": int}, proto_name="Outside", package=PACKAGE
    )
    assert (made.__name__, made.full_name) == ("Inside", "tests.definition.Outside")


@pytest.mark.parametrize("cls", [int, str, type("Free", (), {})])
def test_other_classes_are_refused(cls: type[Any]) -> None:
    with pytest.raises(ValueError, match=r"must derive from DataObjectBase or enum\.Enum"):
        dataobject(PACKAGE)(cls)


def test_a_package_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="the package is text, got int"):
        dataobject(5)  # type: ignore[call-overload] # what is tested


# field types


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (dict, "write JsonDict"),
        (dict[str, list[int]], "lists do not hold lists or maps"),
        (Dict[str, Any], ""),  # noqa: UP006 # older code
        (list, "needs the type of its elements"),
        (list[list[int]], "lists do not hold lists or maps"),
        (List[Dict[str, int]], "maps hold single values"),  # noqa: UP006 # older code
        (dict[float, str], "keys of a map are str or int"),
        (dict[Point, str], "keys of a map are str or int"),
        (complex, "complex has no protobuf type"),
        (object, "object has no protobuf type"),
        (set[int], "set"),
        (tuple[int, str], "tuple"),
        (Callable[[], None], "has no protobuf type"),
        (5, "5 has no protobuf type"),
        ("int(", "Forward reference must be an expression"),
        (None, "only None as its value"),
        (Undecorated, "put @dataobject above the class Undecorated"),
        (Colour, "put @dataobject above the enum Colour"),
        (int | list, "a list needs the type"),
        (int | dict[str, int], "write JsonDict"),
    ],
)
def test_what_cannot_be_a_field_is_refused_with_what_can(annotation: Any, words: str) -> None:
    if words == "":
        assert define(x=annotation).fields == ("x",)
        return
    with pytest.raises(TypeError) as caught:
        define(x=annotation)
    text = str(caught.value)
    assert text.startswith("Tried.x: ")
    assert words in text
    assert "possible are str, int, float" in text


def test_a_class_that_does_not_exist_yet_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Tried\.x: name 'Later' is not defined; define the class"):
        define(x="Later")


def test_a_failed_definition_leaves_nothing_behind() -> None:
    with pytest.raises(TypeError):
        make_dataobject(name="Failing", annotations={"x": complex}, package=PACKAGE)
    made = make_dataobject(name="Failing", annotations={"x": int}, package=PACKAGE)
    assert made.fields == ("x",)


def test_a_class_may_name_itself() -> None:
    @dataobject(PACKAGE)
    class Tree(DataObjectBase):
        value: int
        left: "Tree | None"
        children: list["Tree"]
        by_name: dict[str, "Tree"]
        either: "int | Tree"

    tree = Tree(1, Tree.from_json({}), [Tree.from_json({"value": 3})], {"a": Tree.from_json({})}, 6)
    assert Tree.from_proto(tree.to_proto()) == Tree.from_json(tree.to_json())
    assert Tree.from_binary_buffer(tree.to_binary_buffer()).children[0].value == 3


def test_annotations_may_be_text() -> None:
    @dataobject(PACKAGE)
    class Text(DataObjectBase):
        x: "int"
        y: "Point | None"
        z: "int | str"

    assert Text.fields == ("x", "y", "z_int", "z_str")
    assert Text(1, None, "a").which_oneof("z") == "z_str"


def test_the_older_forms_of_annotations_are_the_same() -> None:
    older = define(a=List[str], b=Dict[str, int], c=Optional[int], d=Union[int, str])  # noqa: UP006, UP007, UP045
    newer = make_dataobject(
        name="Tried",
        annotations={"a": list[str], "b": dict[str, int], "c": int | None, "d": int | str},
        package=older.full_name.removesuffix(".Tried"),
    )
    assert older.get_proto_class() is newer.get_proto_class()


def test_class_variables_are_no_fields() -> None:
    @dataobject(PACKAGE)
    class Counted(DataObjectBase):
        LIMIT: ClassVar[int] = 5
        other: "ClassVar[str]" = "o"
        x: int

    assert Counted.fields == ("x",)
    assert (Counted.LIMIT, Counted.other) == (5, "o")


# field names and numbers


@pytest.mark.parametrize("name", ["to_proto", "fields", "full_name", "backend", "from_json"])
def test_names_of_methods_are_reserved(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name!r} is taken by a method or attribute"):
        define(**{name: int})


@pytest.mark.parametrize("name", ["class", "é", "__x", "1a", "a-b", ""])
def test_names_that_protobuf_or_python_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="a field name is made of ASCII letters"):
        define(**{name: int})


def test_names_that_compiled_code_uses_too_are_free() -> None:
    names = "self cls value values data message member item key result part target append other"
    made: Any = define(**dict.fromkeys(names.split(), int), new=int | str, fill=list[Point])
    given = {name: index for index, name in enumerate(names.split())}
    original = made(**given, new="a", fill=[Point(1.0, 2.0)])
    assert made.from_proto(original.to_proto()) == original
    assert made.from_json(original.to_json()) == original
    assert codec_of(made).decode_json(json.dumps({**given, "new": "a"})).to_kwargs() == {
        **given,
        "new": "a",
        "fill": None,
    }


def test_two_fields_with_one_json_name_are_refused() -> None:
    with pytest.raises(TypeError, match="duplicate json_name"):
        define(foo_bar=int, fooBar=int)


def test_a_member_of_a_union_cannot_have_the_name_of_a_field() -> None:
    with pytest.raises(TypeError, match=r"Tried\.x_int: two protobuf fields have this name"):
        define(x=int | str, x_int=int)


def test_a_number_may_be_chosen_and_others_count_on() -> None:
    made = make_dataobject(
        name="Counting",
        annotations={
            "late": Annotated[str, FieldNumber(10)],
            "early": Annotated[int, FieldNumber(2)],
            "free": bool,
            "pick": Annotated[int, FieldNumber(20)] | Annotated[str, OneofField("word")],
            "last": int,
        },
        package=PACKAGE,
    )
    assert proto_fields(made) == [
        ("late", 10),
        ("early", 2),
        ("free", 3),
        ("pick_int", 20),
        ("word", 5),
        ("last", 6),
    ]


def test_a_number_that_is_taken_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Tried\.y: field number 2 is taken by 'x'"):
        define(x=Annotated[int, FieldNumber(2)], y=int)


@pytest.mark.parametrize("number", [0, -1, 2**29, 19000, 19999])
def test_a_number_that_protobuf_does_not_have_is_refused(number: int) -> None:
    with pytest.raises(TypeError, match=f"field number {number} is outside"):
        define(x=Annotated[int, FieldNumber(number)])


# presence and defaults


def test_optional_and_default_make_an_optional_field() -> None:
    @dataobject(PACKAGE)
    class Present(DataObjectBase):
        plain: int
        optional: int | None
        hidden: Annotated[int | None, FieldNumber(3)]
        default: int = 5
        nothing: str | None = None
        many: list[int] = field(default_factory=list)
        either: int | str = 3

    present = {
        item.name
        for item in Present.get_proto_class().DESCRIPTOR.fields
        if item.containing_oneof is not None and item.containing_oneof.name == f"_{item.name}"
    }
    assert present == {"optional", "default", "nothing"}


def test_a_default_that_all_objects_would_share_is_refused() -> None:
    defaults: list[Any] = [[], {}, Point(1.0, 2.0)]
    for default in defaults:
        with pytest.raises(ValueError, match="write field"):
            make_dataobject(
                name="Sharing", annotations={"x": list[int]}, attrs={"x": default}, package=PACKAGE
            )


# parents


def test_fields_of_parents_come_first() -> None:
    class Bare(DataObjectBase):
        first: int

    @dataobject(PACKAGE)
    class Middle(Bare):
        second: str

    @dataobject(PACKAGE)
    class Lowest(Middle):
        third: float
        first: int = 7

    assert Lowest.fields == ("first", "second", "third")
    assert Lowest(first=7, second="s", third=0.5).to_dict() == {
        "first": 7,
        "second": "s",
        "third": 0.5,
    }
    assert Lowest(second="s", third=1.0).first == 7


def test_a_mixin_without_fields_may_be_a_parent() -> None:
    class Loud:
        __slots__ = ()

        def shout(self) -> str:
            return self.word.upper()  # type: ignore[attr-defined, no-any-return] # of the other

    @dataobject(PACKAGE)
    class Word(Loud, DataObjectBase):
        word: str

    assert Word("a").shout() == "A"


def test_a_subclass_without_decorator_is_read_as_itself() -> None:
    class Special(Point):
        def norm(self) -> float:
            return self.x + self.y

    read = Special.from_proto(Point(1.0, 2.0).to_proto())
    assert type(read) is Special
    assert read.norm() == 3.0
    assert codec_of(Special).decode_json(b'{"x": 1, "y": 2}') == Special(1.0, 2.0)


# dataclasses


def test_data_objects_are_dataclasses() -> None:
    @dataobject(PACKAGE)
    class Plain(DataObjectBase):
        x: int
        y: str = "y"

    made: Any = Plain(1)
    assert replace(made, y="z") == Plain(1, "z")
    assert is_dataclass(made)
    assert [item.name for item in fields(made)] == ["x", "y"]


def test_a_dataclass_below_keeps_its_defaults() -> None:
    @dataobject(PACKAGE)
    @dataclass
    class Below(DataObjectBase):
        x: int = 3
        y: list[str] = field(default_factory=lambda: ["a"])

    assert Below().to_dict() == {"x": 3, "y": ["a"]}
    assert repr(Below()).startswith("{\n")
    assert Below() == Below()
    assert Below().y is not Below().y


def test_methods_that_the_author_wrote_stay() -> None:
    @dataobject(PACKAGE)
    class Own(DataObjectBase):
        x: int

        def __init__(self, text: str) -> None:
            self.x = len(text)

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    assert Own("abc").x == 3
    assert Own("abc") == 5
    assert hash(Own("")) == 7
    assert repr(Own("")) == "own"
    assert Own.from_json({"x": 9}).x == 9


def test_a_class_keeps_its_docstring_or_its_lack_of_one() -> None:
    assert Point.__doc__ is None

    @dataobject(PACKAGE)
    class Documented(DataObjectBase):
        """What it is."""

        x: int

    assert Documented.__doc__ == "What it is."


# any number of classes


def test_defining_many_classes_takes_little_time() -> None:
    """A library of a thousand classes must not slow its start; the bound is very wide."""
    begin = time.process_time()
    for index in range(200):
        make_dataobject(
            name=f"Mass{index}",
            annotations={"a": str, "b": int, "c": list[Point], "d": JsonDict | None},
            package="tests.mass",
        )
    assert (time.process_time() - begin) / 200 < 0.02
