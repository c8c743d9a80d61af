"""Methods that an author wrote anew are used wherever an object is read or written."""

import json
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from google.protobuf.message import Message

from kitfox.data import DataObjectBase, codec_of, dataobject

PACKAGE = "tests.overrides"


@dataobject(PACKAGE)
class Temperature(DataObjectBase):
    """Kelvin on the wire, Celsius in Python."""

    degrees: float
    inner: list["Temperature"] | None

    def fill_proto(self, proto: Message) -> Message:
        super().fill_proto(proto)
        proto.degrees = self.degrees + 273.0  # type: ignore[attr-defined] # its field
        return proto

    @classmethod
    def from_proto(cls, proto: Message) -> Self:
        made = super().from_proto(proto)
        made.degrees -= 273.0
        return made


@dataobject(PACKAGE)
class Brief(DataObjectBase):
    words: list[str]
    inner: "Brief | None"

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": len(self.words),
            "inner": self.inner and self.inner.to_dict(),
            "raw": b"\xff",
            "when": datetime(2024, 1, 1, tzinfo=UTC),
            "ratio": float("inf"),
        }


@dataobject(PACKAGE)
class Packed(DataObjectBase):
    text: str

    def to_proto(self) -> Message:
        message = super().to_proto()
        message.text = self.text[::-1]  # type: ignore[attr-defined] # its field
        return message


@dataobject(PACKAGE)
class Holder(DataObjectBase):
    one: Temperature | None
    many: list[Temperature]
    either: int | Packed
    brief: Brief | None


def holder() -> Holder:
    return Holder(
        Temperature(1.0, None), [Temperature(2.0, [Temperature(3.0, [])])], Packed("ab"), None
    )


def test_messages_are_filled_in_the_authors_way() -> None:
    message: Any = holder().to_proto()
    assert message.one.degrees == 274.0
    assert message.many[0].inner[0].degrees == 276.0
    assert message.either_packed.text == "ba"
    assert codec_of(Holder).encode(holder()) == message.SerializeToString()
    assert (
        codec_of(Packed).encode(Packed("ab"))
        == Packed("ba").fill_proto(Packed.get_proto_class()()).SerializeToString()
    )


def test_messages_are_read_in_the_authors_way() -> None:
    read = Holder.from_proto(holder().to_proto())
    assert read.one == Temperature(1.0, [])
    assert read.many[0].inner == [Temperature(3.0, [])]
    data = codec_of(Holder).encode(holder())
    assert codec_of(Holder).decode(data) == read
    assert codec_of(Holder).decode_fields(data)["one"] == Temperature(1.0, [])
    assert Temperature.from_binary_buffer(Temperature(5.0, []).to_binary_buffer()).degrees == 5.0


def test_dictionaries_and_json_are_made_in_the_authors_way() -> None:
    made = Holder.from_json({})
    made.brief = Brief(["a", "b"], Brief([], None))
    written = {
        "count": 2,
        "inner": {
            "count": 0,
            "inner": None,
            "raw": "/w==",
            "when": "2024-01-01T00:00:00Z",
            "ratio": "Infinity",
        },
        "raw": "/w==",
        "when": "2024-01-01T00:00:00Z",
        "ratio": "Infinity",
    }
    assert json.loads(codec_of(Holder).encode_json(made))["brief"] == written
    assert made.to_dict()["brief"]["count"] == 2
    assert json.loads(made.to_json())["brief"]["inner"]["raw"] == "/w=="


def test_what_they_refuse_is_told_with_its_place() -> None:
    wrong = holder()
    wrong.many[0].degrees = "warm"  # type: ignore[assignment] # what is tested
    with pytest.raises(TypeError, match=r"degrees: expected float, got str"):
        wrong.to_proto()
