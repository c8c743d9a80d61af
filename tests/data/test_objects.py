"""Objects behave as plain Python objects with typed slots."""

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from kitfox.data import DataObjectBase, DataStream, JsonDict, dataobject, make_dataobject

PACKAGE = "tests.objects"


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float
    y: float


@dataobject(PACKAGE)
class Shape(DataObjectBase):
    name: str
    points: list[Point]
    label: int | str
    extra: JsonDict
    when: datetime
    raw: bytes
    centre: Point | None


@dataobject(PACKAGE)
class Positive(DataObjectBase):
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"value must not be negative, got {self.value}")


@dataobject(PACKAGE)
class Holder(DataObjectBase):
    items: list[Positive]
    one: Positive | None


@dataobject(PACKAGE)
class Slotted(DataObjectBase):
    _private_slots = ("_cache",)

    x: int


@dataobject(PACKAGE)
class Stubborn(DataObjectBase):
    value: int

    def __reduce__(self) -> tuple[Any, ...]:
        return Stubborn, (self.value + 1,)


def shape() -> Shape:
    return Shape(
        "tri",
        [Point(0.0, 0.0), Point(1.0, 0.5)],
        "blue",
        {"a": [1, None, {"b": "c"}]},
        datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        b"\x00\xff",
        None,
    )


# construction


def test_arguments_go_by_position_and_by_name() -> None:
    assert Point(1.0, y=2.0) == Point(x=1.0, y=2.0)


@pytest.mark.parametrize("kwargs", [{"z": 1}, {"X": 1}])
def test_wrong_names_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected keyword"):
        Point(**kwargs)


def test_too_many_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        Point(1, 2, 3)  # type: ignore[call-arg] # what is tested


def test_what_is_not_given_is_none() -> None:
    assert Point().x is None  # type: ignore[call-arg] # allowed, though editors advise against


def test_an_attribute_that_is_no_field_cannot_be_set() -> None:
    with pytest.raises(AttributeError, match="'Point' object has no attribute 'z'"):
        Point(1.0, 2.0).z = 3  # type: ignore[attr-defined] # what is tested


def test_private_slots_can_be_set() -> None:
    slotted: Any = Slotted(1)
    slotted._cache = "kept"
    assert slotted._cache == "kept"
    assert slotted.to_dict() == {"x": 1}


def test_objects_have_no_dictionary() -> None:
    assert not hasattr(Point(1.0, 2.0), "__dict__")


def test_patterns_match_by_position() -> None:
    match Point(1.0, 2.0):
        case Point(x, 2.0):
            assert x == 1.0
        case _:
            pytest.fail("no match")


# equality, copies, text


def test_equality_is_by_field_and_class() -> None:
    assert shape() == shape()
    other = shape()
    other.points[1].y = 7.0
    assert shape() != other
    point: object = Point(1.0, 2.0)
    assert point != Positive(1)
    assert point != "text"


def test_objects_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1.0, 2.0))


@pytest.mark.parametrize(
    "how",
    [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],  # noqa: S301 # our own
)
def test_copies_are_equal(how: Any) -> None:
    original = shape()
    copied = how(original)
    assert copied == original
    assert copied is not original
    assert copied.which_oneof("label") == "label_str"


def test_the_chosen_member_of_a_union_survives_pickling() -> None:
    @dataobject("tests.objects.local")
    class Local(DataObjectBase):
        x: int | float

    made = copy.deepcopy(Local.from_json({"x_float": 3}))
    assert made.which_oneof("x") == "x_float"


def test_objects_of_classes_made_at_run_time_can_be_pickled() -> None:
    made = make_dataobject(
        name="Pickled", annotations={"x": int, "y": int | float}, package=PACKAGE
    )
    original = made.from_json({"x": 1, "y_float": 2})
    loaded = pickle.loads(pickle.dumps(original))  # noqa: S301 # our own bytes
    assert loaded == original
    assert loaded.which_oneof("y") == "y_float"
    assert copy.copy(original) == original


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(protocol: int) -> None:
    original = shape()
    loaded = pickle.loads(pickle.dumps(original, protocol))  # noqa: S301 # our own bytes
    assert loaded == original
    assert loaded.which_oneof("label") == "label_str"
    positive = Positive.__new__(Positive)  # without the constructor: the slot was never set
    unset = pickle.loads(pickle.dumps(positive, protocol))  # noqa: S301 # our own bytes
    assert not hasattr(unset, "value")


def test_pickling_reads_what_a_backend_still_has() -> None:
    class Backend:
        def get_attribute(self, cls: type, name: str) -> float:
            return {"x": 1.5, "y": 2.5}[name]

        def cache_attribute(self, name: str, value: float) -> None:
            pass

    lazy = Point.from_backend(Backend())
    loaded = pickle.loads(pickle.dumps(lazy))  # noqa: S301 # our own bytes
    assert loaded == Point(1.5, 2.5)
    assert loaded.backend is None


def test_an_author_may_pickle_in_another_way() -> None:
    made = pickle.loads(pickle.dumps(Stubborn(1)))  # noqa: S301 # our own bytes
    assert made.value == 2


def test_repr_is_indented_json() -> None:
    assert repr(Point(1.0, 2.0)) == '{\n  "x": 1.0,\n  "y": 2.0\n}'
    assert '"é"' in repr(Shape.from_json({"name": "é"}))


def test_repr_never_fails() -> None:
    made = shape()
    made.extra = object()  # type: ignore[assignment] # what is tested
    assert repr(made) == "Shape(" + ", ".join(f"{name}=..." for name in Shape.fields) + ")"


# dictionaries and JSON


def test_to_dict_shows_all_fields() -> None:
    assert shape().to_dict() == {
        "name": "tri",
        "points": [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 0.5}],
        "label_str": "blue",
        "extra": {"a": [1, None, {"b": "c"}]},
        "when": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        "raw": b"\x00\xff",
        "centre": None,
    }


def test_from_dict_takes_what_to_dict_gives() -> None:
    assert Shape.from_dict(shape().to_dict()) == shape()
    with pytest.raises(ValueError, match=r"points\[0\]\.x"):
        Shape.from_dict({"points": [{"x": "far"}]})


def test_to_kwargs_gives_what_the_constructor_takes() -> None:
    assert Shape(**shape().to_kwargs()) == shape()
    assert shape().to_kwargs()["points"][0] == Point(0.0, 0.0)


def test_to_json_passes_arguments_on() -> None:
    made = shape()
    made.name, made.raw, made.when = "é", b"\xff", datetime(2024, 1, 1, tzinfo=UTC)
    assert '"\\u00e9"' in made.to_json()
    assert '"é"' in made.to_json(ensure_ascii=False)
    assert made.to_json(sort_keys=True).startswith('{"centre": null, "extra": {')
    assert '"raw": "/w=="' in made.to_json()
    assert '"when": "2024-01-01T00:00:00Z"' in made.to_json()


# introspection


def test_defaults_can_be_asked_for() -> None:
    @dataobject(PACKAGE)
    class Defaulted(DataObjectBase):
        a: int
        b: int = 3
        c: str | None = None

    assert Defaulted.get_field_defaults() == {"b": 3, "c": None}


def test_the_class_of_a_field_can_be_asked_for() -> None:
    assert Shape.get_field_message_type("points") is Point
    assert Shape.get_field_message_type("name") is None
    with pytest.raises(AttributeError, match="no field 'nope'"):
        Shape.get_field_message_type("nope")


def test_classes_can_be_found_by_message_and_name() -> None:
    assert DataObjectBase.get_class_for_proto(Point(1.0, 2.0).to_proto()) is Point
    assert DataObjectBase.get_class_for_proto(Point.get_proto_class()) is Point
    assert DataObjectBase.get_class_for_proto(Point.get_proto_class().DESCRIPTOR) is Point
    assert DataObjectBase.get_class_for_name("tests.objects.Point") is Point
    with pytest.raises(ValueError, match="no data object class is named 'Nope'"):
        DataObjectBase.get_class_for_name("Nope")
    make_dataobject(name="Ambiguous", annotations={}, package="tests.one")
    make_dataobject(name="Ambiguous", annotations={}, package="tests.two")
    with pytest.raises(ValueError, match="ambiguous; write one of"):
        DataObjectBase.get_class_for_name("Ambiguous")


def test_an_unknown_message_has_no_class() -> None:
    with pytest.raises(AttributeError, match=r"no data object class stands for google\.protobuf"):
        DataObjectBase.get_class_for_proto(Struct())


def test_which_oneof_knows_only_unions() -> None:
    assert shape().which_oneof("label") == "label_str"
    with pytest.raises(KeyError):
        shape().which_oneof("name")


# checks after construction


def test_post_init_runs_whatever_the_object_is_made_of() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Positive(-1)
    with pytest.raises(ValueError, match="value must not be negative, got -1"):
        Positive.from_json({"value": -1})
    with pytest.raises(ValueError, match="value must not be negative, got -1"):
        Positive.from_binary_buffer(b"\x08" + b"\xff" * 9 + b"\x01")


def test_what_post_init_refuses_is_told_with_its_place() -> None:
    holder = Holder([Positive(1), Positive(2)], None)
    holder.items[1].value = -2
    data = holder.to_binary_buffer()
    with pytest.raises(ValueError, match=r"^items\[1\]: value must not be negative, got -2$"):
        Holder.from_binary_buffer(data)
    with pytest.raises(ValueError, match=r"^one: value must not be negative, got -3$"):
        Holder.from_json({"one": {"value": -3}})


# files and backends


def test_files_are_not_supported_unless_the_class_does() -> None:
    assert not Point.supports_file_operations
    with pytest.raises(NotImplementedError):
        Point(1.0, 2.0).to_file(None)
    with pytest.raises(NotImplementedError):
        Point.from_file(None)

    @dataobject(PACKAGE)
    class Saved(DataObjectBase):
        x: int

        def to_file(self, file_obj: Any) -> None:
            file_obj.append(self.x)

    assert Saved(1).supports_file_operations


class Backend:
    """Counts what is asked of it."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.asked: list[str] = []
        self.cached: dict[str, Any] = {}

    def get_attribute(self, cls: type[Any], name: str) -> Any:
        assert cls is Shape
        self.asked.append(name)
        return self.values.get(name)

    def cache_attribute(self, name: str, value: Any) -> None:
        self.cached[name] = value


def test_an_object_with_a_backend_reads_its_fields_when_they_are_used() -> None:
    backend = Backend(name="n", label=3, points=[Point(1.0, 2.0)])
    made = Shape.from_backend(backend)
    assert made.backend is backend
    assert backend.asked == []
    assert (made.name, made.name, made.label) == ("n", "n", 3)
    assert backend.asked == ["name", "label"]
    assert backend.cached == {"name": "n", "label": 3}
    assert made.which_oneof("label") == "label_int"
    assert Shape.from_proto(made.to_proto()).points == [Point(1.0, 2.0)]
    with pytest.raises(AttributeError):
        made.nope  # noqa: B018 # what is tested


def test_other_objects_have_no_backend() -> None:
    assert Point(1.0, 2.0).backend is None


def test_a_stream_of_objects_is_typed() -> None:
    stream = DataStream.from_iterable([Point(1.0, 2.0)])
    assert [point.x for point in stream] == [1.0]
