"""Bytes go both ways between our codecs and protobuf's own classes of the exported files."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitfox.data import DataObjectBase, codec_of
from kitfox.export import library_info, openapi_document, write_protos
from kitfox.services import MethodTable
from tests.export.conftest import compiled

MESSAGES = [
    "exportlab.data_model.Shape",
    "exportlab.data_model.Scalars",
    "exportlab.files.exportlab.Message",
    "caikit.runtime.Exportlab.SketchTaskRequest",
    "caikit.runtime.Exportlab.SketchTaskSketcherTrainRequest",
    "caikit_data_model.runtime.TrainingStatusResponse",
    "caikit_data_model.common.runtime.ModelInfoResponse",
]

# A field with a default has it when it is not set, and is written with it.
WITH_DEFAULT = {"weight"}

StockClass = Callable[[str], type[Message]]


@pytest.fixture(scope="session")
def stock(table: MethodTable, tmp_path_factory: pytest.TempPathFactory) -> StockClass:
    """Classes of protobuf's own, from the exported files, in a pool of their own."""
    folder: Path = tmp_path_factory.mktemp("protos")
    pool = DescriptorPool()
    for file in compiled(write_protos(table, folder)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _int(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(min_value=low, max_value=high)


def _float(width: Any) -> st.SearchStrategy[Any]:
    return st.floats(allow_nan=False, allow_infinity=False, width=width)


SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=8),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: _int(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: _int(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: _int(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: _int(0, 2**64 - 1),
    FieldDescriptor.TYPE_DOUBLE: _float(64),
    FieldDescriptor.TYPE_FLOAT: _float(32),
}


@st.composite
def filled(draw: st.DrawFn, cls: type[Message], depth: int = 0) -> Message:
    """Messages with any of their fields set."""
    message = cls()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    descriptor: Descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.seconds = draw(_int(-62_135_596_800, 253_402_300_799))
        message.nanos = draw(_int(0, 999_999)) * 1000
        return
    if descriptor.full_name == "google.protobuf.Struct":
        leaf = st.none() | st.booleans() | _float(64).filter(_written_alike) | st.text(max_size=4)
        message.update(draw(st.dictionaries(st.text(max_size=4), leaf, max_size=3)))
        return
    done: set[str] = set()
    for field in descriptor.fields:
        union = field.containing_oneof.name if field.containing_oneof else ""
        deep = bool(field.message_type) and depth > 2
        if union in done or deep or not (field.name in WITH_DEFAULT or draw(st.booleans())):
            continue
        done |= {union} - {""}
        _set(draw, message, field, depth)


def _written_alike(number: float) -> bool:
    return not (number == 0 and math.copysign(1, number) < 0)  # a Struct's -0.0 becomes 0


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    kind = field.message_type
    if kind and kind.GetOptions().map_entry:
        entries = getattr(message, field.name)
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        for item in draw(st.lists(SCALARS[key.type], max_size=2, unique=True)):
            if value.message_type:
                _fill(draw, entries[item], depth + 1)
            else:
                entries[item] = draw(_scalar(value))
    elif field.is_repeated:
        items = getattr(message, field.name)
        for _ in range(draw(_int(1, 2))):
            if kind:
                _fill(draw, items.add(), depth + 1)
            else:
                items.append(draw(_scalar(field)))
    elif kind:
        getattr(message, field.name).SetInParent()
        _fill(draw, getattr(message, field.name), depth + 1)
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.type]


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_protobuf_wrote_is_read_and_written_again(
    name: str, stock: StockClass, data: st.DataObject
) -> None:
    sent = data.draw(filled(stock(name)))
    codec = codec_of(DataObjectBase.get_class_for_name(name))
    received = codec.decode(sent.SerializeToString())
    assert stock(name).FromString(codec.encode(received)) == sent


@pytest.fixture(scope="session")
def document(table: MethodTable) -> dict[str, Any]:
    return openapi_document(table, info=library_info("exportlab"))


@pytest.mark.parametrize("name", ["Shape-Output", "Scalars-Output", "TrainingStatusResponse"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_answers_fit_the_schema_of_the_openapi_document(
    name: str, stock: StockClass, document: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever a message holds."""
    schema = document["components"]["schemas"][name]
    codec = codec_of(DataObjectBase.get_class_for_name(schema["title"]))
    sent = data.draw(filled(stock(schema["title"])))
    answer = msgspec.json.decode(codec.encode_json(codec.decode(sent.SerializeToString())))
    jsonschema.validate(answer, {"$ref": f"#/components/schemas/{name}", **document})
