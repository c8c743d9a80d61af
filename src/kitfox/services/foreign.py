"""The descriptors of two protocols that others define and that caikit's servers speak as well.

`mmesh.ModelRuntime` is how a model mesh loads and unloads models; `processproto.Process` is a batch
entry to training. Their messages come from files of their own, not from data objects.
"""

from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

__all__ = ["foreign_files"]

_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}
_MODEL = {"modelId": "string 1", "modelType": "string 2", "modelPath": "string 3"}
_MODEL_MESH: Mapping[str, Mapping[str, str]] = {
    "LoadModelRequest": {**_MODEL, "modelKey": "string 4"},
    "LoadModelResponse": {"sizeInBytes": "uint64 1", "maxConcurrency": "uint32 2"},
    "UnloadModelRequest": {"modelId": "string 1"},
    "UnloadModelResponse": {},
    "PredictModelSizeRequest": {**_MODEL, "modelKey": "string 4"},
    "PredictModelSizeResponse": {"sizeInBytes": "uint64 1"},
    "ModelSizeRequest": {"modelId": "string 1"},
    "ModelSizeResponse": {"sizeInBytes": "uint64 1"},
    "RuntimeStatusRequest": {},
    "RuntimeStatusResponse": {
        "status": "enum Status 1",
        "capacityInBytes": "uint64 2",
        "maxLoadingConcurrency": "uint32 3",
        "modelLoadingTimeoutMs": "uint32 4",
        "defaultModelSizeInBytes": "uint64 5",
        "runtimeVersion": "string 6",
        "numericRuntimeVersion": "uint64 7",
        "methodInfos": "map MethodInfo 8",
        "limitModelConcurrency": "bool 9",
        "allowAnyMethod": "bool 10",
    },
}
_MODEL_MESH_METHODS = {
    "loadModel": "LoadModel",
    "unloadModel": "UnloadModel",
    "predictModelSize": "PredictModelSize",
    "modelSize": "ModelSize",
    "runtimeStatus": "RuntimeStatus",
}
_PROCESS: Mapping[str, Mapping[str, str]] = {
    "ProcessRequest": {
        "trainingID": "string 1",
        "customTrainingID": "string 6",
        "request_dict": "map string 2",
        "training_input_dir": "string 3",
        "training_output_dir": "string 4",
        "data_input_dir": "repeated string 5",
        "data_inputs": "map string 7",
    },
    "ProcessResponse": {
        "trainingID": "string 1",
        "customTrainingID": "string 3",
        "response_dict": "map string 2",
    },
}


@lru_cache(maxsize=1)
def foreign_files() -> tuple[FileDescriptorProto, ...]:
    """The two files, made once."""
    mesh = _file("model-runtime.proto", "mmesh", _MODEL_MESH)
    status = next(item for item in mesh.message_type if item.name == "RuntimeStatusResponse")
    info = DescriptorProto(name="MethodInfo")
    info.field.add(
        name="idInjectionPath",
        number=1,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type=FieldDescriptorProto.TYPE_UINT32,
    )
    status.nested_type.insert(0, info)
    states = status.enum_type.add(name="Status")
    for number, name in enumerate(("STARTING", "READY", "FAILING")):
        states.value.add(name=name, number=number)
    _add_service(mesh, "ModelRuntime", _MODEL_MESH_METHODS)
    process = _file("process.proto", "processproto", _PROCESS)
    _add_service(process, "Process", {"Run": "Process"})
    return mesh, process


def _file(
    name: str, package: str, messages: Mapping[str, Mapping[str, str]]
) -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    for message, fields in messages.items():
        descriptor = file.message_type.add(name=message)
        for field, text in fields.items():
            _add_field(descriptor, field, text.split(), f".{package}.{message}")
    return file


def _add_field(message: DescriptorProto, name: str, words: list[str], scope: str) -> None:
    *modifiers, kind, number = words
    field = message.field.add(
        name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    if modifiers == ["map"]:
        entry = _map_entry(message, name, kind, scope)
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f"{scope}.{entry}"
    elif modifiers == ["enum"]:
        field.type = FieldDescriptorProto.TYPE_ENUM
        field.type_name = f"{scope}.{kind}"
    else:
        field.type = _TYPES[kind]
        if modifiers:
            field.label = FieldDescriptorProto.LABEL_REPEATED


def _map_entry(message: DescriptorProto, field: str, kind: str, scope: str) -> str:
    """Adds what a map is on the wire: a nested message of key and value; gives its name."""
    name = "".join(part[:1].upper() + part[1:] for part in field.split("_")) + "Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    _add_field(entry, "key", ["string", "1"], scope)
    if kind in _TYPES:
        _add_field(entry, "value", [kind, "2"], scope)
    else:
        value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        value.type = FieldDescriptorProto.TYPE_MESSAGE
        value.type_name = f"{scope}.{kind}"
    return name


def _add_service(file: FileDescriptorProto, name: str, methods: Mapping[str, str]) -> None:
    service = file.service.add(name=name)
    for method, stem in methods.items():
        service.method.add(
            name=method,
            input_type=f".{file.package}.{stem}Request",
            output_type=f".{file.package}.{stem}Response",
        )
