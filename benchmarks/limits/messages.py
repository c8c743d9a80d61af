"""The messages of the work, as generated code would have them."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MESSAGES = 500
HELLO = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
SAMPLES = "/caikit.runtime.Samples.SamplesService"

_TYPES = {"string": 9, "int64": 3, "double": 1}
_FIELDS = {
    "HelloWorldInput": {"name": "string"},
    "HelloWorldTaskRequest": {"text_input": "HelloWorldInput"},
    "Greeting": {"greeting": "string"},
    "Text": {"text": "string"},
    "Point": {"x": "int64", "y": "double", "name": "string"},
    "Path": {"points": "*Point"},
    "PathTaskRequest": {"path": "Path"},
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="work.proto", package="work", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = 3 if kind.startswith("*") else 1
            added = message.field.add(name=field, number=number, label=label)
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type, added.type_name = 11, f".work.{kind.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    get = message_factory.GetMessageClass
    return {name: get(pool.FindMessageTypeByName(f"work.{name}")) for name in _FIELDS}


_CLASSES = _classes()
HelloWorldTaskRequest = _CLASSES["HelloWorldTaskRequest"]
Greeting = _CLASSES["Greeting"]
Text = _CLASSES["Text"]
Point = _CLASSES["Point"]
Path = _CLASSES["Path"]
PathTaskRequest = _CLASSES["PathTaskRequest"]


def hello(request: Any) -> Any:
    """The work of the template's example."""
    return Greeting(greeting=f"Hello {request.text_input.name}")


def copied(request: Any) -> Any:
    """A path of the same points, each of them read and made anew."""
    points = [Point(x=point.x, y=point.y, name=point.name) for point in request.path.points]
    return Path(points=points)
