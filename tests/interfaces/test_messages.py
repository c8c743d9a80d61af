"""Every message and enum that caikit ships is ours too: file, package, fields, numbers, labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

import kitfox.interfaces.common.data_model as common
import kitfox.interfaces.nlp.data_model as nlp
import kitfox.interfaces.runtime.data_model as runtime
from kitfox.data import codec_of
from tests.interfaces.conftest import GOLDEN, file_of

CLASSES = {
    value.full_name: value
    for module in (common, runtime, nlp)
    for value in (getattr(module, name) for name in module.__all__)
    if getattr(value, "full_name", "")
}
SHIPPED = [
    file.name
    for file in FileDescriptorSet.FromString((GOLDEN / "descriptors.binpb").read_bytes()).file
    if file.package.startswith("caikit_data_model")
]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_is_ours_too(
    name: str, recorded_files: dict[str, FileDescriptorProto]
) -> None:
    recorded = recorded_files[name]
    kinds: tuple[Any, ...] = (recorded.message_type, recorded.enum_type)
    (content,) = (item for kind in kinds for item in kind)
    ours = file_of(CLASSES[f"{recorded.package}.{content.name}"])
    assert sorted(ours.dependency) == sorted(recorded.dependency)
    ours.ClearField("dependency")
    expected = FileDescriptorProto()
    expected.CopyFrom(recorded)
    expected.ClearField("dependency")
    assert ours == expected


def test_nothing_else_is_shipped() -> None:
    assert {file_of(cls).name for cls in CLASSES.values()} == set(SHIPPED)


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every object schema of an OpenAPI document that has the title of a message."""
    if isinstance(value, dict):
        if "properties" in value and str(value.get("title", "")).startswith("caikit_data_model."):
            yield value
        for item in value.values():
            yield from _schemas(item)
    elif isinstance(value, list):
        for item in value:
            yield from _schemas(item)


NULLABLE = {
    schema["title"]: {
        name: {"type": "null"} in entry.get("anyOf", [])
        for name, entry in schema["properties"].items()
    }
    for schema in _schemas(json.loads(Path(GOLDEN / "openapi.json").read_text()))
}


@pytest.mark.parametrize("name", sorted(NULLABLE))
def test_json_takes_null_for_the_same_fields(name: str) -> None:
    schema = codec_of(CLASSES[name]).schema
    assert {field.name: field.nullable for field in schema.fields} == NULLABLE[name]


def test_narrow_numbers_are_plain_ones_in_python() -> None:
    details = nlp.TokenStreamDetails(
        finish_reason=nlp.FinishReason.TIME_LIMIT,
        generated_tokens=2**32 - 1,
        seed=2**64 - 1,
        input_token_count=3,
    )
    again = nlp.TokenStreamDetails.from_binary_buffer(details.to_binary_buffer())
    assert type(again.generated_tokens) is int
    assert (again.generated_tokens, again.seed) == (2**32 - 1, 2**64 - 1)
    with pytest.raises(ValueError, match="generated_tokens"):
        nlp.TokenStreamDetails(
            finish_reason=nlp.FinishReason.ERROR,
            generated_tokens=-1,
            seed=None,
            input_token_count=0,
        ).to_proto()


def test_a_stream_result_is_a_result() -> None:
    assert issubclass(nlp.TokenizationStreamResult, nlp.TokenizationResults)
    assert issubclass(nlp.ChunkerTokenizationStreamResult, nlp.TokenizationStreamResult)
    assert issubclass(nlp.TokenClassificationStreamResult, nlp.TokenClassificationResults)
    assert issubclass(nlp.ClassifiedGeneratedTextStreamResult, nlp.ClassifiedGeneratedTextResult)


def test_generated_text_is_written_as_recorded() -> None:
    token = nlp.GeneratedToken(text="one", logprob=-0.5, rank=1)
    result = nlp.GeneratedTextResult(
        generated_text="one",
        generated_tokens=1,
        finish_reason=nlp.FinishReason.EOS_TOKEN,
        producer_id=common.ProducerId(name="textkit", version="9.9.9"),
        input_token_count=1,
        seed=None,
        tokens=[token],
        input_tokens=None,
    )
    assert result.to_binary_buffer().hex() == (
        "0a036f6e651001180222100a07746578746b69741205392e392e3928013a100a036f6e6519000000000000e0bf2001"
    )
    assert json.loads(result.to_json()) == {
        "generated_text": "one",
        "generated_tokens": 1,
        "finish_reason": "EOS_TOKEN",
        "producer_id": {"name": "textkit", "version": "9.9.9"},
        "input_token_count": 1,
        "seed": None,
        "tokens": [{"text": "one", "logprob": -0.5, "rank": 1}],
        "input_tokens": None,
    }


def test_a_connection_has_the_defaults_of_the_remote_finder() -> None:
    connection = common.ConnectionInfo(hostname="models.example")
    assert connection.timeout == 60
    assert connection.retries == 1
    assert connection.max_session_age == -1
    assert connection.which_oneof("max_session_age") == "max_session_age_int"
    again = common.ConnectionInfo.from_json(
        {"hostname": "h", "tls": {"enabled": True, "ca_file": "ca.pem"}, "max_session_age": 0.5}
    )
    assert again.tls == common.ConnectionTlsInfo(enabled=True, ca_file="ca.pem")
    assert again.which_oneof("max_session_age") == "max_session_age_float"
    assert common.ConnectionInfo.from_proto(again.to_proto()).max_session_age == 0.5
