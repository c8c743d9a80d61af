"""The rows of the protocols that every server speaks beside its own: gRPC health and reflection.

Their messages are those of the protocols' own `.proto` files. The work is done in `health` and
`reflection`.
"""

import enum
from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from kitfox.data import DataObjectBase
from kitfox.services.methods import Method, Purpose
from kitfox.services.protocol_file import add_service, data_objects, protocol_file

__all__ = [
    "HEALTH_SERVICE",
    "V1",
    "V1ALPHA",
    "ServingStatus",
    "health_methods",
    "protocol_methods",
    "reflection_messages",
    "reflection_methods",
    "reflection_service",
]

HEALTH_SERVICE = "grpc.health.v1.Health"
"""The full name of the health service."""
V1, V1ALPHA = "grpc.reflection.v1", "grpc.reflection.v1alpha"
"""The packages of the two versions of reflection."""
_QUESTION = "oneof message_request"
_ANSWER = "oneof message_response"


def protocol_methods() -> list[Method]:
    """The rows of all protocols."""
    return [*health_methods(), *reflection_methods()]


class ServingStatus(enum.IntEnum):
    """The answers, as the protocol numbers them."""

    UNKNOWN = 0
    """Not used."""
    SERVING = 1
    """It can be called."""
    NOT_SERVING = 2
    """It is known, and cannot be called now."""
    SERVICE_UNKNOWN = 3
    """There is nothing of this name; only a watch says so, since the name may come to be."""


def _health_file() -> FileDescriptorProto:
    file = protocol_file(
        "grpc/health/v1/health.proto",
        "grpc.health.v1",
        {
            "HealthCheckRequest": {"service": "string 1"},
            "HealthCheckResponse": {"status": "enum ServingStatus 1"},
            "HealthListRequest": {},
            "HealthListResponse": {"statuses": "map .HealthCheckResponse 1"},
        },
    )
    states = file.message_type[1].enum_type.add(name="ServingStatus")
    for status in ServingStatus:
        states.value.add(name=status.name, number=status)
    check = "HealthCheckRequest {}HealthCheckResponse"
    add_service(
        file,
        "Health",
        {
            "Check": check.format(""),
            "List": "HealthListRequest HealthListResponse",
            "Watch": check.format("stream "),
        },
    )
    return file


@lru_cache(maxsize=1)
def health_methods() -> tuple[Method, ...]:
    """The rows of the health service."""
    messages = data_objects(_health_file())
    check = messages["HealthCheckRequest"], messages["HealthCheckResponse"]
    listing = messages["HealthListRequest"], messages["HealthListResponse"]
    return (
        _row("Check", Purpose.HEALTH_CHECK, check, "Whether something can serve."),
        _row("List", Purpose.HEALTH_LIST, listing, "What can serve and what cannot."),
        _row("Watch", Purpose.HEALTH_WATCH, check, "The same as Check, now and at each change."),
    )


def _row(
    name: str,
    purpose: Purpose,
    types: tuple[type[DataObjectBase], type[DataObjectBase]],
    description: str,
) -> Method:
    request, response = types
    return Method(
        service=HEALTH_SERVICE,
        name=name,
        request=request,
        response=response,
        purpose=purpose,
        output_streaming=purpose is Purpose.HEALTH_WATCH,
        description=description,
    )


def _reflection_file(package: str) -> FileDescriptorProto:
    file = protocol_file(
        f"{package.replace('.', '/')}/reflection.proto",
        package,
        {
            "ServerReflectionRequest": {
                "host": "string 1",
                "file_by_filename": f"{_QUESTION} string 3",
                "file_containing_symbol": f"{_QUESTION} string 4",
                "file_containing_extension": f"{_QUESTION} .ExtensionRequest 5",
                "all_extension_numbers_of_type": f"{_QUESTION} string 6",
                "list_services": f"{_QUESTION} string 7",
            },
            "ExtensionRequest": {"containing_type": "string 1", "extension_number": "int32 2"},
            "ServerReflectionResponse": {
                "valid_host": "string 1",
                "original_request": ".ServerReflectionRequest 2",
                "file_descriptor_response": f"{_ANSWER} .FileDescriptorResponse 4",
                "all_extension_numbers_response": f"{_ANSWER} .ExtensionNumberResponse 5",
                "list_services_response": f"{_ANSWER} .ListServiceResponse 6",
                "error_response": f"{_ANSWER} .ErrorResponse 7",
            },
            "FileDescriptorResponse": {"file_descriptor_proto": "repeated bytes 1"},
            "ExtensionNumberResponse": {
                "base_type_name": "string 1",
                "extension_number": "repeated int32 2",
            },
            "ListServiceResponse": {"service": "repeated .ServiceResponse 1"},
            "ServiceResponse": {"name": "string 1"},
            "ErrorResponse": {"error_code": "int32 1", "error_message": "string 2"},
        },
    )
    rpc = "stream ServerReflectionRequest stream ServerReflectionResponse"
    add_service(file, "ServerReflection", {"ServerReflectionInfo": rpc})
    return file


def reflection_service(package: str) -> str:
    """The full name of the service of one version of reflection."""
    return f"{package}.ServerReflection"


@lru_cache(maxsize=2)
def reflection_messages(package: str) -> Mapping[str, type[DataObjectBase]]:
    """The messages of one version of reflection, by name."""
    return data_objects(_reflection_file(package))


def reflection_methods() -> tuple[Method, ...]:
    """The rows of both versions of reflection."""
    return tuple(
        Method(
            service=reflection_service(package),
            name="ServerReflectionInfo",
            request=reflection_messages(package)["ServerReflectionRequest"],
            response=reflection_messages(package)["ServerReflectionResponse"],
            purpose=Purpose.REFLECTION,
            input_streaming=True,
            output_streaming=True,
            description="Descriptors of the services and of their messages.",
        )
        for package in (V1, V1ALPHA)
    )
