"""Files of other protocols, and data objects over messages of pools of their own."""

from typing import Any

import pytest
from google.protobuf import descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from kitfox.data import DataObjectBase, codec_of
from kitfox.data.registry import known_classes
from kitfox.services import MethodTable
from kitfox.services.descriptors import descriptor_set, service_files
from kitfox.services.fixed import fixed_methods
from kitfox.services.protocol_file import add_service, data_objects, protocol_file
from kitfox.services.protocols import protocol_methods

FILE = protocol_file(
    "other/zoo.proto",
    "other.zoo",
    {
        "Animal": {"name": "string 1", "legs": "uint32 2", "wild": "bool 3", "print": "bytes 4"},
        "Zoo": {
            "animals": "repeated .Animal 1",
            "keepers": "map string 2",
            "cages": "map .Animal 3",
            "numbers": "repeated int32 4",
            "favourite": "oneof best .Animal 5",
            "motto": "oneof best string 6",
            "size": "uint64 7",
        },
    },
)
add_service(FILE, "Keeper", {"Feed": "Animal stream Zoo"})
CLASSES = data_objects(FILE)
Animal: Any = CLASSES["Animal"]
Zoo: Any = CLASSES["Zoo"]

animals = st.builds(
    Animal,
    name=st.text(max_size=9),
    legs=st.integers(0, 2**32 - 1),
    wild=st.booleans(),
    print=st.binary(max_size=9),
)
best: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {"favourite": animals}
)
best |= st.fixed_dictionaries({"motto": st.text(max_size=9)})


@given(
    st.lists(animals, max_size=3),
    st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    st.dictionaries(st.text(max_size=9), animals, max_size=3),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    best,
)
def test_what_is_written_is_read_again(
    listed: list[Any],
    keepers: dict[str, str],
    cages: dict[str, Any],
    numbers: list[int],
    choice: dict[str, Any],
) -> None:
    zoo = Zoo(animals=listed, keepers=keepers, cages=cages, numbers=numbers, size=7, **choice)
    codec = codec_of(Zoo)
    assert codec.decode(codec.encode(zoo)) == zoo


@pytest.mark.parametrize("choice", [{}, {"motto": ""}, {"favourite": Animal(name="fox")}])
def test_only_the_member_of_a_union_that_was_set_is_there(choice: dict[str, Any]) -> None:
    codec = codec_of(Zoo)
    fields = codec.decode_fields(codec.encode(Zoo(**choice)))
    assert {name: fields[name] for name in ("motto", "favourite") if name in fields}.keys() == (
        choice.keys()
    )


def test_the_service_is_as_described() -> None:
    (service,) = FILE.service
    (method,) = service.method
    assert (method.input_type, method.output_type) == (".other.zoo.Animal", ".other.zoo.Zoo")
    assert (method.client_streaming, method.server_streaming) == (False, True)


@pytest.mark.parametrize("name", ["other.zoo.Zoo", "grpc.health.v1.HealthCheckRequest"])
def test_the_names_are_left_to_the_generated_code_of_the_protocol(name: str) -> None:
    protocol_methods()
    assert name not in [cls.full_name for cls in known_classes() if issubclass(cls, DataObjectBase)]
    if name.startswith("other"):  # that of health is in this process, by the stock client
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindMessageTypeByName(name)


def test_a_protocol_that_defines_its_service_keeps_its_file() -> None:
    table = MethodTable([*fixed_methods(), *protocol_methods()])
    files = [
        "grpc/health/v1/health.proto",
        "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto",
    ]
    assert [file.name for file in service_files(table)][-3:] == files
    every = [file.name for file in descriptor_set(table).file]
    assert len(set(every)) == len(every)
    assert set(files) < set(every)
