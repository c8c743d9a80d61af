"""Stubs, messages and request classes of the library that the process's settings name.

package = ServicePackageFactory.get_service_package(
    ServicePackageFactory.ServiceType.INFERENCE
)
stub = package.stub_class(channel)
stub.HelloWorldTaskPredict(package.messages.HelloWorldTaskRequest(...), metadata=[...])
"""

import enum
from typing import cast

from kitfox.client import ServicePackage, service_package
from kitfox.client.stubs import ServiceKind
from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument
from kitfox.modules import ModuleBase, TaskBase
from kitfox.services import MethodTable, Names, build_table, import_library
from kitfox.services.names import request_name, rpc_name, training_rpc_name
from kitfox.toolkit.settings import get_config

__all__ = [
    "ServicePackage",
    "ServicePackageFactory",
    "get_inference_request",
    "get_train_params",
    "get_train_request",
]


class ServicePackageFactory:
    """Makes what clients need of the configured library's services."""

    class ServiceType(enum.Enum):
        """What a service is for."""

        INFERENCE = 1
        """Run models."""
        TRAINING = 2
        """Start trainings."""
        TRAINING_MANAGEMENT = 3
        """Tell how trainings go, and end them."""
        INFO = 4
        """Tell what the server runs and what models it has."""
        MODEL_MANAGEMENT = 5
        """Add and remove models."""
        JOB_INFERENCE = 6
        """Run models later, as jobs."""

    @classmethod
    def get_service_package(cls, service_type: ServiceType) -> ServicePackage:
        """The stub and the messages of one service of `runtime.library`.

        Raises:
            ValueError: The library is not configured, cannot be imported, or has no such service.
        """
        names = _names()
        kind = cast("ServiceKind", service_type.name.lower())
        return service_package(names.library, kind, domain=names.domain, package=names.package)


def get_inference_request(
    task_or_module_class: type[TaskBase] | type[ModuleBase],
    input_streaming: bool = False,
    output_streaming: bool = False,
) -> type[DataObjectBase]:
    """The request class of a task, or of a module's first task.

    Args:
        task_or_module_class: The task, or the module.
        input_streaming: Whether the request is streamed.
        output_streaming: Whether the answer is streamed.

    Raises:
        ValueError: The configured library has no such request.
    """
    if issubclass(task_or_module_class, ModuleBase):
        task = _first_task(task_or_module_class)
    else:
        task = task_or_module_class
    rpc = rpc_name(
        task.__name__, input_streaming=input_streaming, output_streaming=output_streaming
    )
    return _message(request_name(rpc))


def get_train_request(module_class: type[ModuleBase]) -> type[DataObjectBase]:
    """The request class of a module's training.

    Raises:
        ValueError: The configured library has no such request.
    """
    return _message(f"{_training_rpc(module_class)}Request")


def get_train_params(module_class: type[ModuleBase]) -> type[DataObjectBase]:
    """The class of the field `parameters` in the request of a module's training.

    Raises:
        ValueError: The configured library has no such request.
    """
    return _message(f"{_training_rpc(module_class)}Parameters")


def _training_rpc(module_class: type[ModuleBase]) -> str:
    return training_rpc_name(_first_task(module_class).__name__, module_class.__name__)


def _first_task(module_class: type[ModuleBase]) -> type[TaskBase]:
    if not module_class.tasks:
        raise InvalidArgument(f"module {module_class.__qualname__} has no task, so no requests")
    return module_class.tasks[0]


def _message(name: str) -> type[DataObjectBase]:
    names = _names()
    full_name = f"{names.package}.{name}"
    try:
        return DataObjectBase.get_class_for_name(full_name)
    except ValueError:  # the services were not made yet
        _table(names)
    return DataObjectBase.get_class_for_name(full_name)


def _table(names: Names) -> MethodTable:
    import_library(names.library)
    return build_table(names.library, names=names)


def _names() -> Names:
    runtime = get_config().runtime
    generation = runtime.service_generation
    return Names.of(
        runtime.library or "",
        domain=generation.domain or "",
        package=generation.package or "",
    )
