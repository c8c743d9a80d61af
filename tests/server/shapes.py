"""The library of all call shapes, its server, and how to call it with a stock gRPC client."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.conftest import Server

PROJECT = Path(__file__).with_name("shapes_project")
SERVICE = "caikit.runtime.Shapes.ShapesService"
KINDS = {
    "one": "TalkTaskPredict",
    "many": "ServerStreamingTalkTaskPredict",
    "gather": "ClientStreamingTalkTaskPredict",
    "answer": "BidiStreamingTalkTaskPredict",
    "journal": "JournalTaskPredict",
    "context": "ContextTaskPredict",
}
MODELS = ("plain", "asynchronous")

_TYPES = {"string": 9, "int64": 3, "double": 1}


def _message(name: str, fields: dict[str, str], required: tuple[str, ...]) -> Any:
    """A message class as a client's generated code would have it."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test", syntax="proto3")
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = message.field.add(name=field, number=number, label=1, type=_TYPES[kind])
        if field not in required:
            message.oneof_decl.add(name=f"_{field}")
            added.oneof_index = len(message.oneof_decl) - 1
            added.proto3_optional = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


REQUESTS = {
    "one": _message("One", {"text": "string", "pause": "double", "size": "int64"}, ("text",)),
    "many": _message(
        "Many",
        {
            "text": "string",
            "count": "int64",
            "pause": "double",
            "size": "int64",
            "fail_at": "int64",
        },
        ("text",),
    ),
    "gather": _message("Gather", {"texts": "string", "separator": "string"}, ("texts",)),
    "answer": _message("Answer", {"texts": "string", "pause": "double"}, ("texts",)),
    "journal": _message("Journal", {"text": "string"}, ("text",)),
    "context": _message("Context", {"text": "string"}, ("text",)),
}
WORD = _message("Word", {"text": "string", "number": "int64"}, ("text", "number"))


class ShapesServer(Server):
    """A server of the library, with one-line calls."""

    @classmethod
    def make(cls, folder: Path, **environment: str) -> "ShapesServer":
        project = folder / PROJECT.name
        if not project.exists():
            shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(project, environment)

    def method(self, channel: Any, shape: str) -> Any:
        """The callable of one shape; `channel` is a grpc or a grpc.aio one."""
        takes = "stream" if shape in ("gather", "answer") else "unary"
        gives = "stream" if shape in ("many", "answer") else "unary"
        return getattr(channel, f"{takes}_{gives}")(
            f"/{SERVICE}/{KINDS[shape]}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=WORD.FromString,
        )

    def journal(self) -> dict[str, int]:
        """What the modules have noted so far."""
        with self.channel() as channel:
            answer = self.method(channel, "journal")(
                REQUESTS["journal"](), metadata=model("plain"), timeout=60
            )
        found: dict[str, int] = json.loads(answer.text)
        return found

    def in_flight(self) -> int:
        """The calls that are being worked on."""
        return self.metric("calls_in_flight")


def model(name: str, *more: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The metadata that names a model."""
    return (("mm-model-id", name), *more)


def request(shape: str, **fields: Any) -> Any:
    return REQUESTS[shape](**fields)


def requests(shape: str, *texts: str, **fields: Any) -> Iterator[Any]:
    """A stream of requests; the other fields are in the first."""
    for index, text in enumerate(texts):
        yield REQUESTS[shape](texts=text, **(fields if index == 0 else {}))


def texts(words: Iterable[Any]) -> list[str]:
    return [word.text for word in words]
