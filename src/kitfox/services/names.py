"""The names of services, RPCs, messages and routes, as caikit's clients know them."""

import re
from dataclasses import dataclass

__all__ = ["Names", "route_segment", "rpc_name", "task_name", "training_rpc_name"]

_STREAMING = {
    (False, False): "",
    (False, True): "ServerStreaming",
    (True, False): "ClientStreaming",
    (True, True): "BidiStreaming",
}


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in text.split("_"))


def task_name(class_name: str) -> str:
    """`Balance_SheetTask` gives `BalanceSheetTask`."""
    return _camel(class_name)


def rpc_name(task: str, *, input_streaming: bool = False, output_streaming: bool = False) -> str:
    """The inference RPC of a task: `HelloWorldTaskPredict`, `ServerStreamingSplitTaskPredict`."""
    return f"{_STREAMING[input_streaming, output_streaming]}{task_name(task)}Predict"


def request_name(rpc: str) -> str:
    """The request message of an inference RPC: `HelloWorldTaskRequest`."""
    return rpc.removesuffix("Predict") + "Request"


def training_rpc_name(task: str, module: str) -> str:
    """The training RPC of a module: `HelloWorldTaskHelloWorldModuleTrain`."""
    return f"{task_name(task)}{_camel(module)}Train"


def route_segment(rpc: str) -> str:
    """The route of an inference RPC: `HelloWorldTaskPredict` gives `hello-world`."""
    stem = rpc.removesuffix("Predict")
    stem = stem.removesuffix("Task") or stem
    return re.sub(r"(?<!^)(?=[A-Z])", "-", stem).lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """The names that depend on the library."""

    library: str
    """The Python package that is served."""
    domain: str
    """Its name in messages and services: `caikit_text_kit` is `TextKit`."""
    package: str
    """The protobuf package of the generated services and request messages."""

    @classmethod
    def of(cls, library: str, *, domain: str = "", package: str = "") -> "Names":
        """The names for a library, where `domain` and `package` override the derived ones."""
        derived = domain or _camel(library.replace("caikit_", ""))
        return cls(library=library, domain=derived, package=package or f"caikit.runtime.{derived}")

    @property
    def inference_service(self) -> str:
        """The full name of the inference service."""
        return f"{self.package}.{self.domain}Service"

    @property
    def job_service(self) -> str:
        """The full name of the service of inference jobs."""
        return f"{self.package}.{self.domain}JobService"

    @property
    def training_service(self) -> str:
        """The full name of the training service."""
        return f"{self.package}.{self.domain}TrainingService"
