"""gRPC stubs made from a library's classes: no `.proto` file, no generated code.

service = service_package("example", "inference")
with grpc.insecure_channel("localhost:8085") as channel:
    stub = service.stub_class(channel)
    request = service.messages.HelloWorldTaskRequest(text_input=...)
    stub.HelloWorldTaskPredict(request, metadata=[("mm-model-id", "example")])
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kitfox.errors import InvalidArgument
from kitfox.services import Method, MethodTable, Names, Purpose, build_table, import_library
from kitfox.services.descriptors import descriptor_set
from kitfox.services.fixed import MODELS_SERVICE, TRAININGS_SERVICE

if TYPE_CHECKING:
    import grpc

__all__ = ["ServiceKind", "ServicePackage", "service_package"]

ServiceKind = Literal[
    "inference",
    "training",
    "training_management",
    "info",
    "model_management",
    "job_inference",
    "models",
    "trainings",
]
_PURPOSES: dict[str, set[Purpose]] = {
    "inference": {Purpose.INFERENCE},
    "training": {Purpose.TRAINING},
    "training_management": {Purpose.TRAINING_STATUS, Purpose.TRAINING_CANCEL},
    "info": {Purpose.RUNTIME_INFO, Purpose.MODELS_INFO},
    "model_management": {Purpose.DEPLOY, Purpose.UNDEPLOY},
    "job_inference": {
        Purpose.JOB_START,
        Purpose.JOB_STATUS,
        Purpose.JOB_RESULT,
        Purpose.JOB_CANCEL,
    },
}
_SERVICES = {"models": MODELS_SERVICE, "trainings": TRAININGS_SERVICE}
"""Services that servers have beside their library's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePackage:
    """What a client needs of one service."""

    service: str
    """The service's full name."""
    descriptor: ServiceDescriptor
    """The service, its methods and their messages, in a descriptor pool of their own."""
    stub_class: type[Any]
    """Constructed with a channel; has a callable for each RPC, like a generated stub."""
    messages: SimpleNamespace
    """The request and response message classes by simple name."""


def service_package(
    library: str, kind: ServiceKind, *, domain: str = "", package: str = ""
) -> ServicePackage:
    """The stub and messages of one of a library's services.

    Args:
        library: The Python package that defines the modules; it is imported if need be.
        kind: Which of the services.
        domain: As `runtime.service_generation.domain`, if the server's is set.
        package: As `runtime.service_generation.package`, if the server's is set.

    Raises:
        InvalidArgument: The library cannot be imported, or has no such service.
    """
    import_library(library)
    names, own = Names.of(library, domain=domain, package=package), _SERVICES.get(kind, "")
    table = build_table(library, names=names, protocols=bool(own))
    if own:
        methods = [method for method in table if method.service == own]
    else:
        methods = [method for method in table if method.purpose in _PURPOSES[kind]]
    if not methods:
        raise InvalidArgument(f"library {library!r} has no service for {kind.replace('_', ' ')}")
    return ServicePackage(
        service=methods[0].service,
        descriptor=_descriptor(table, methods[0].service),
        stub_class=_stub_class(methods),
        messages=_messages(methods),
    )


def _descriptor(table: MethodTable, service: str) -> ServiceDescriptor:
    pool = DescriptorPool()
    for file in descriptor_set(table).file:
        pool.AddSerializedFile(file.SerializeToString())
    found: ServiceDescriptor = pool.FindServiceByName(service)
    return found


def _messages(methods: list[Method]) -> SimpleNamespace:
    """The message classes of the methods and everything inside them, by simple name."""
    pending: list[Any] = [
        cls.get_proto_class().DESCRIPTOR for row in methods for cls in (row.request, row.response)
    ]
    classes: dict[str, type[Message]] = {}
    while pending:
        descriptor = pending.pop()
        if descriptor.name not in classes:
            classes[descriptor.name] = GetMessageClass(descriptor)
            pending += [field.message_type for field in descriptor.fields if field.message_type]
    return SimpleNamespace(**classes)


def _stub_class(methods: list[Method]) -> type[Any]:
    def __init__(self: Any, channel: "grpc.Channel") -> None:  # noqa: N807 -- becomes a method
        for method in methods:
            takes = "stream" if method.input_streaming else "unary"
            gives = "stream" if method.output_streaming else "unary"
            call = getattr(channel, f"{takes}_{gives}")(
                method.path,
                request_serializer=method.request.get_proto_class().SerializeToString,
                response_deserializer=method.response.get_proto_class().FromString,
            )
            setattr(self, method.name, call)

    name = methods[0].service.rpartition(".")[2]
    return type(
        f"{name}Stub",
        (),
        {"__init__": __init__, "__doc__": f"Calls {methods[0].service} over a channel."},
    )
