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

from kitfox.services.protocol_file import add_service, protocol_file

__all__ = ["foreign_files"]

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
    "loadModel": "LoadModelRequest LoadModelResponse",
    "unloadModel": "UnloadModelRequest UnloadModelResponse",
    "predictModelSize": "PredictModelSizeRequest PredictModelSizeResponse",
    "modelSize": "ModelSizeRequest ModelSizeResponse",
    "runtimeStatus": "RuntimeStatusRequest RuntimeStatusResponse",
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
    mesh = protocol_file("model-runtime.proto", "mmesh", _MODEL_MESH)
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
    add_service(mesh, "ModelRuntime", _MODEL_MESH_METHODS)
    process = protocol_file("process.proto", "processproto", _PROCESS)
    add_service(process, "Process", {"Run": "ProcessRequest ProcessResponse"})
    return mesh, process
