"""Small things that authors import: augmentors, enums by name, attribute dicts."""

import enum
import random
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from kitfox.data import DataStream, dataobject
from kitfox.modules import ModuleBase, module
from kitfox.toolkit import backends
from kitfox.toolkit.attribute_config import Config, ImmutableConfig
from kitfox.toolkit.augmentors import AugmentorBase
from kitfox.toolkit.enum_names import Munch, enums, import_enum, import_enums


class Shift(AugmentorBase):
    """Adds a little; leaves tens out."""

    def _augment(self, obj: int) -> int | None:
        return None if obj % 10 == 0 else obj + self.random.randrange(100)


def test_augmented_streams_give_the_same_each_time() -> None:
    stream = DataStream.from_iterable([1, 2, 10]).augment(Shift(random_seed=4), 2)
    first = list(stream)
    assert first == list(stream)
    assert first[:3] == [1, 2, 10]
    assert first[5] == first[8] == 10
    expected = random.Random(4).randrange(100)  # noqa: S311 # no secret
    assert first[3] == 1 + expected


def test_none_can_be_a_variant() -> None:
    assert Shift(produces_none=True).augment(10) is None


def test_an_augmentor_without_its_method_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        AugmentorBase()  # type: ignore[abstract] # that is the test


def test_enums_are_found_by_name_and_by_number() -> None:
    @dataobject("author_objects_test")
    class Hue(enum.Enum):
        RED = 1
        BLUE = 7

    assert enums.Hue is Hue
    assert repr(enums.HueRev) == "Munch({0: 'PLACEHOLDER_UNSET', 1: 'RED', 7: 'BLUE'})"
    names: dict[str, Any] = {}
    import_enums(names)
    assert (names["Hue"], names["HueRev"][7]) == (Hue, "BLUE")
    assert import_enum(Hue.get_proto_class()) == ("Hue", "HueRev")  # type: ignore[attr-defined] # as decorated
    with pytest.raises(AttributeError, match="NoSuchHue"):
        enums.NoSuchHue  # noqa: B018 # that is the test


def test_the_items_of_a_munch_are_attributes() -> None:
    assert Munch(RED=1).RED == 1
    with pytest.raises(AttributeError):
        Munch().RED  # noqa: B018 # that is the test


def test_an_enum_that_no_class_stands_for_has_no_names() -> None:
    descriptor = FieldDescriptorProto.DESCRIPTOR.enum_types_by_name["Type"]
    with pytest.raises(ValueError, match=r"stands for google\.protobuf"):
        import_enum(descriptor)


def test_there_is_one_backend() -> None:
    @module("author-objects-backend", "Plain", "1.0.0")
    class Plain(ModuleBase):
        pass

    assert backends.module_backend_registry()[Plain.MODULE_ID] == {"LOCAL": Plain}
    assert backends.get_valid_module_ids()[Plain.MODULE_ID] == "Plain"
    assert [*backends.module_backend_types()] == [*backends.module_backend_classes()] == ["LOCAL"]
    assert backends.backend_types.LOCAL == backends.LocalBackend.backend_type == "LOCAL"


@pytest.mark.parametrize("kind", [Config, ImmutableConfig])
def test_a_configuration_reads_yaml_and_variables(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tuning.yml"
    file.write_text("tuning: {rate: 1, deep: {a: x}}\n")
    monkeypatch.setenv("TUNING_RATE", "0.5")
    config = kind.from_yaml(str(file))
    assert (config.tuning.rate, config.tuning.deep.a, config.absent) == (0.5, "x", None)
    assert kind.from_yaml(str(file), override_env_vars=False).tuning.rate == 1


def test_only_one_of_them_can_be_changed() -> None:
    given = {"a": {"b": 1}}
    config: Any = Config(given)
    config.a.b = 2
    config.c = 3
    assert (config.a.b, config.c, given) == (2, 3, {"a": {"b": 1}})
    with pytest.raises(AttributeError):
        ImmutableConfig(given).a = 1
