"""From the registry of modules to the method table of one library."""

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import kitfox.interfaces.common.data_model.producer  # noqa: F401 -- declares a shared message
from kitfox.caikit import install_if_asked
from kitfox.data import DataObjectBase
from kitfox.data.registry import known_classes
from kitfox.errors import InvalidArgument
from kitfox.interfaces.runtime.data_model import (
    PredictionJob,
    PredictionJobInfoRequest,
    PredictionJobStatusResponse,
    TrainingJob,
)
from kitfox.modules import MethodSignature, ModuleBase, TaskBase, element_type, module_registry
from kitfox.services import names as naming
from kitfox.services.batch_training import process_methods
from kitfox.services.fixed import fixed_methods, management_methods, training_methods
from kitfox.services.methods import BodyStyle, Method, MethodTable, Purpose, Route
from kitfox.services.model_mesh import model_mesh_methods
from kitfox.services.names import Names
from kitfox.services.protocols import protocol_methods
from kitfox.services.requests import (
    Fields,
    inference_fields,
    request_class,
    training_request_class,
)

__all__ = ["build_table", "import_library", "library_modules"]

_JOB_ACTIONS = {
    Purpose.JOB_STATUS: ("GetPredictionJobStatus", "How a job of {task} goes."),
    Purpose.JOB_CANCEL: ("CancelPredictionJob", "Ends a job of {task}."),
    Purpose.JOB_RESULT: ("GetPredictionJobResult", "What an ended job of {task} answered."),
}
_SHARED_PACKAGES = "caikit_data_model."
_KINDS = ((False, False), (False, True), (True, False), (True, True))


def import_library(library: str) -> ModuleType:
    """Imports the package to serve.

    Raises:
        InvalidArgument: There is no such package, or it has no modules.
    """
    if not library:
        raise InvalidArgument(
            "runtime.library is not set: expected the name of the Python package to serve"
        )
    install_if_asked()
    try:
        package = importlib.import_module(library)
    except ModuleNotFoundError as err:
        if err.name != library:
            raise
        raise InvalidArgument(
            f"runtime.library: no Python package {library!r} can be imported; "
            "is its folder in runtime.python_path?"
        ) from err
    if not library_modules(library):
        raise InvalidArgument(
            f"runtime.library: package {library!r} defines no module (a class with @module)"
        )
    return package


def library_modules(library: str) -> list[type[ModuleBase]]:
    """The module classes that a library defines and that have a task, in order of their ids."""
    return [
        cls
        for _, cls in sorted(module_registry().items())
        if cls.__module__.split(".")[0] == library and cls.tasks
    ]


def build_table(
    library: str,
    *,
    names: Names,
    route_prefix: str = "api/v1",
    inference: bool = True,
    training: bool = True,
    jobs: bool = True,
    protocols: bool = False,
) -> MethodTable:
    """The methods that a library's modules give, and those that every server has.

    Args:
        library: The package's name; it has been imported.
        names: The names of services and messages.
        route_prefix: What every inference and training route starts with.
        inference: Whether to include the inference methods.
        training: Whether to include the training methods.
        jobs: Whether to include the jobs of the inference methods, if those are included.
        protocols: Whether to include health, reflection and our own management of models and
            trainings: servers have them, and the files of a library do not tell of them.

    Raises:
        InvalidArgument: Two modules of one task contradict each other.
    """
    modules = library_modules(library)
    prefix = "/" + route_prefix.strip("/")
    rows: list[Method] = []
    services: list[str] = []
    if inference:
        predictions = sorted(_inference(modules, names, prefix), key=lambda method: method.name)
        rows += predictions
        services.append(names.inference_service)
        if jobs:
            rows += sorted(_jobs(predictions, names), key=lambda method: method.name)
            services.append(names.job_service)
    if training:
        rows += sorted(_training(modules, names, prefix), key=lambda method: method.name)
        services.append(names.training_service)
    rows += fixed_methods(inference=inference, training=training)
    if protocols:
        rows += [*management_methods(prefix), *model_mesh_methods()] if inference else []
        rows += [*training_methods(prefix), *process_methods()] if training else []
        rows += protocol_methods()
    messages = [*_job_messages(rows, names), *_declared_messages(library)]
    return MethodTable(rows, services=services, messages=messages)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Implementations:
    """The methods of all modules that do one task in one kind of streaming."""

    task: type[TaskBase]
    input_streaming: bool
    output_streaming: bool
    signatures: dict[type[ModuleBase], MethodSignature]

    def response(self) -> type[DataObjectBase]:
        """The class that all modules of the task return; of streams, that of the elements."""
        found = {
            element_type(signature.return_type) if self.output_streaming else signature.return_type
            for signature in self.signatures.values()
        }
        if len(found) > 1:
            listing = ", ".join(
                f"{signature.return_type} in {module.__qualname__}"
                for module, signature in self.signatures.items()
            )
            raise InvalidArgument(
                f"task {self.task.__name__} has different return types: {listing}"
            )
        response = found.pop()
        if isinstance(response, type) and issubclass(response, DataObjectBase):
            return response
        # Checked against the task when the module was defined: the task's own type stands for it.
        declared: Any = self.task.get_output_type(self.output_streaming)
        output: Any = element_type(declared) if self.output_streaming else declared
        found_class: type[DataObjectBase] = output
        return found_class


def _implementations(modules: list[type[ModuleBase]]) -> Iterator[_Implementations]:
    for task in _tasks(modules):
        for input_streaming, output_streaming in _KINDS:
            signatures = {
                module: signature
                for module in modules
                for takes, gives, signature in module.get_inference_signatures(task)
                if (takes, gives) == (input_streaming, output_streaming)
            }
            if signatures:
                yield _Implementations(
                    task=task,
                    input_streaming=input_streaming,
                    output_streaming=output_streaming,
                    signatures=signatures,
                )


def _tasks(modules: Iterable[type[ModuleBase]]) -> list[type[TaskBase]]:
    return list(dict.fromkeys(task for module in modules for task in module.tasks))


def _inference(modules: list[type[ModuleBase]], names: Names, prefix: str) -> Iterator[Method]:
    for found in _implementations(modules):
        yield _prediction(found, names, prefix)


def _prediction(found: _Implementations, names: Names, prefix: str) -> Method:
    rpc = naming.rpc_name(
        found.task.__name__,
        input_streaming=found.input_streaming,
        output_streaming=found.output_streaming,
    )
    fields = inference_fields(found.task, found.signatures, input_streaming=found.input_streaming)
    required = found.task.get_required_parameters(found.input_streaming)
    annotations = fields.annotations
    return Method(
        service=names.inference_service,
        name=rpc,
        request=request_class(naming.request_name(rpc), fields, names),
        response=found.response(),
        purpose=Purpose.INFERENCE,
        task=found.task,
        input_streaming=found.input_streaming,
        output_streaming=found.output_streaming,
        route=Route(
            verb="POST",
            path=f"{prefix}/task/{naming.route_segment(rpc)}",
            style=BodyStyle.STREAM if found.input_streaming else BodyStyle.INFERENCE,
            inputs={name: kind for name, kind in annotations.items() if name in required},
            options={name: kind for name, kind in annotations.items() if name not in required},
        ),
        parameters=annotations,
        signatures=found.signatures,
        description=found.task.__doc__ or "",
    )


def _jobs(predictions: list[Method], names: Names) -> Iterator[Method]:
    """The four methods of jobs that go with each unary prediction."""
    for row in predictions:
        if row.route is None or row.is_streaming:
            continue
        task = row.name.removesuffix("Predict")
        job = f"{row.route.path}/job"
        start = replace(row, service=names.job_service, name=f"{task}StartPredictionJob")
        yield replace(
            start,
            response=PredictionJob,
            purpose=Purpose.JOB_START,
            description=f"Starts a job that does what {task} does; the answer has the job's id.",
            route=replace(row.route, path=job),
        )
        for purpose, response, verb, path in (
            (Purpose.JOB_STATUS, PredictionJobStatusResponse, "GET", job),
            (Purpose.JOB_CANCEL, PredictionJobStatusResponse, "DELETE", job),
            (Purpose.JOB_RESULT, row.response, "GET", f"{job}/results"),
        ):
            action, description = _JOB_ACTIONS[purpose]
            yield replace(
                start,
                name=f"{task}{action}",
                request=PredictionJobInfoRequest,
                response=response,
                purpose=purpose,
                route=Route(verb=verb, path=path, style=BodyStyle.QUERY),
                description=description.format(task=task),
            )


def _declared_messages(library: str) -> list[type[DataObjectBase]]:
    """The data objects of the library and those that every library has, used by methods or not."""
    return [
        cls
        for cls in known_classes()
        if issubclass(cls, DataObjectBase)
        and (cls.__module__.split(".")[0] == library or cls.full_name.startswith(_SHARED_PACKAGES))
    ]


def _job_messages(rows: list[Method], names: Names) -> list[type[DataObjectBase]]:
    """Messages named like the methods of jobs: caikit declares them, and its methods use none."""
    fields = Fields(annotations={"prediction_id": str}, optional=frozenset())
    return [request_class(row.name, fields, names) for row in rows if row.purpose in _JOB_ACTIONS]


def _training(modules: list[type[ModuleBase]], names: Names, prefix: str) -> Iterator[Method]:
    for module in modules:
        if module.TRAIN_SIGNATURE is None:
            continue
        rpc = naming.training_rpc_name(module.tasks[0].__name__, module.__name__)
        yield Method(
            service=names.training_service,
            name=rpc,
            request=training_request_class(rpc, module, names),
            response=TrainingJob,
            purpose=Purpose.TRAINING,
            route=Route(verb="POST", path=f"{prefix}/{rpc}", style=BodyStyle.MESSAGE),
            module=module,
            description=module.train.__doc__ or "",
        )
