"""What the methods do: predict, train, and tell how a training goes.

No protocol is in sight here. A handler gets the fields that the caller set and the call's context;
it returns a data object or raises a `KitfoxError`.
"""

import asyncio
import contextlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import kitfox
from kitfox.data import DataObjectBase
from kitfox.errors import Internal, InvalidArgument, ModelNotFound
from kitfox.interfaces.common.data_model import JobStatus
from kitfox.interfaces.runtime.data_model import (
    ModelInfo,
    ModelInfoResponse,
    ModelPointer,
    RuntimeInfoResponse,
    TrainingJob,
    TrainingStatusResponse,
)
from kitfox.models import LoadedModel, ModelManager, ModelStore
from kitfox.modules import ModuleBase, module_registry
from kitfox.services.methods import Context, Handler, Method, Purpose
from kitfox.training import Job, JobState

__all__ = ["Trainings", "bind"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Operation:
    """A method of one loaded model, ready to be called."""

    function: Callable[..., Any]
    accepts: frozenset[str]
    """The fields that it takes."""
    required: frozenset[str]
    """The fields without which it cannot be called."""
    is_async: bool
    """Whether it runs on the event loop."""


class InferenceHandler:
    """Runs the method of the addressed model that implements a task.

    Args:
        method: The row of the method table.
        models: Where loaded models are.
    """

    def __init__(self, method: Method, models: ModelManager) -> None:
        self._models = models
        self._submit = models.executor.submit
        self._signatures = method.signatures
        self._annotations = method.parameters
        self._fields = frozenset(method.parameters)
        self._rpc = method.name

    async def __call__(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Answers one call."""
        model = self._models.peek(context.model_id) or await self._models.get(context.model_id)
        operation = model.operations.get(self)
        if operation is None:
            operation = self._bind(model)
        if not operation.required <= fields.keys():
            raise self._missing(operation, fields)
        if operation.accepts != self._fields:
            # The request has the fields of every module of the task; others' are not this one's.
            fields = {name: value for name, value in fields.items() if name in operation.accepts}
        if operation.is_async:
            result = await operation.function(**fields)
        else:
            result = await self._submit(operation.function, fields)
        if not isinstance(result, DataObjectBase):
            raise Internal(
                f"{self._rpc}: model {context.model_id!r} returned {type(result).__name__}, "
                "expected a data object"
            )
        return result

    def _bind(self, model: LoadedModel) -> _Operation:
        for cls in type(model.model).__mro__:
            signature = self._signatures.get(cls)
            if signature is not None:
                break
        else:
            raise InvalidArgument(
                f"Model {model.name!r} ({type(model.model).__name__}) does not support {self._rpc}"
            )
        names = frozenset(signature.parameters)
        operation = _Operation(
            function=getattr(model.model, signature.method_name),
            accepts=names & self._fields,
            required=frozenset(names - signature.defaults.keys()) & self._fields,
            is_async=signature.kind == "coroutine",
        )
        model.operations[self] = operation
        return operation

    def _missing(self, operation: _Operation, fields: Mapping[str, Any]) -> InvalidArgument:
        names = sorted(operation.required - fields.keys())
        expected = ", ".join(f"{name} ({_type_name(self._annotations[name])})" for name in names)
        return InvalidArgument(f"required inputs are missing: expected {expected}")


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


class Trainings(Protocol):
    """What the handlers need of the training service."""

    def start(
        self,
        module_cls: type[ModuleBase],
        parameters: Mapping[str, Any],
        model_name: str = "",
        *,
        model_paths: Mapping[str, str] | None = None,
    ) -> Job:
        """Records a training and wakes the scheduler; durable when it returns."""

    def get(self, training_id: str) -> Job:
        """The training's record."""

    def cancel(self, training_id: str) -> Job:
        """Asks for its end."""


class TrainingHandler:
    """Accepts a training of one module.

    Args:
        module: The module class to train.
        trainings: Records and runs trainings.
        store: Where models are found that a training starts from.
    """

    def __init__(self, module: type[ModuleBase], trainings: Trainings, store: ModelStore) -> None:
        self._trainings = trainings
        self._module = module
        self._store = store

    async def __call__(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Answers one call; the training's record is durable before the answer is sent."""
        if fields.get("output_path") is not None:
            raise InvalidArgument(
                "output_path: S3 output path not supported by this runtime; "
                "leave it out to write below runtime.training.output_dir"
            )
        name = fields.get("model_name") or ""
        # Looking for models and writing the record wait for the disk: not on the event loop.
        job = await asyncio.to_thread(self._start, fields.get("parameters"), name)
        return TrainingJob(training_id=job.id, model_name=name)

    def _start(self, parameters: DataObjectBase | None, name: str) -> Job:
        values: dict[str, Any] = {}
        paths: dict[str, str] = {}
        if parameters is not None:
            given = json.loads(parameters.to_json())
            values = {key: value for key, value in given.items() if value is not None}
            for key in values:
                pointer = getattr(parameters, key, None)
                if isinstance(pointer, ModelPointer):
                    paths[pointer.model_id] = self._find(pointer.model_id)
        return self._trainings.start(self._module, values, name, model_paths=paths)

    def _find(self, model_id: str) -> str:
        path = self._store.find(model_id)
        if path is None:
            raise ModelNotFound(model_id, self._store.names())
        return str(path)


class TrainingManagement:
    """Tells how trainings go, and cancels them."""

    def __init__(self, trainings: Trainings) -> None:
        self._trainings = trainings

    async def status(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """The state of one training."""
        job = await asyncio.to_thread(self._trainings.get, fields.get("training_id", ""))
        return _status(job)

    async def cancel(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Asks for the end of a training; one that has ended stays as it is."""
        job = await asyncio.to_thread(self._trainings.cancel, fields.get("training_id", ""))
        answer: dict[str, Any] = {
            "training_id": job.id,
            "state": _WIRE_STATES[job.state],
            "reasons": [],
        }
        return TrainingStatusResponse(**answer)


class Information:
    """Tells what runs here."""

    def __init__(self, models: ModelManager) -> None:
        self._models = models
        self._packages: dict[str, str] | None = None

    async def runtime(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Versions of the server and of the packages that define modules."""
        if self._packages is None:  # looked up once, and not on the event loop: it reads the disk
            self._packages = await asyncio.to_thread(_package_versions)
        return RuntimeInfoResponse(runtime_version="", python_packages=self._packages)

    async def models(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """The loaded models, or those of them that are named."""
        loaded = self._models.loaded
        names = fields.get("model_ids") or sorted(loaded)
        for name in names:
            if name not in loaded:
                raise ModelNotFound(name, loaded, "it is not loaded")
        return ModelInfoResponse(models=[_model_info(loaded[name]) for name in names])


def _package_versions() -> dict[str, str]:
    versions = {"kitfox": kitfox.__version__}
    for cls in module_registry().values():
        name = cls.__module__.split(".")[0]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _model_info(model: LoadedModel) -> ModelInfo:
    return ModelInfo(
        model_path=str(model.path),
        name=model.name,
        size=model.size,
        metadata=dict(model.model.public_model_info),
        loaded=True,
        module_id=model.model.MODULE_ID,
        module_metadata=dict(model.model.module_metadata),
    )


# On the wire there is no word for a training that is being cancelled: to its callers it is over.
_WIRE_STATES = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.CANCELING: JobStatus.CANCELED,
    JobState.CANCELED: JobStatus.CANCELED,
    JobState.COMPLETED: JobStatus.COMPLETED,
    JobState.ERRORED: JobStatus.ERRORED,
}


def _status(job: Job) -> TrainingStatusResponse:
    fields: dict[str, Any] = {
        "training_id": job.id,
        "state": _WIRE_STATES[job.state],
        "submission_timestamp": job.created,
        "completion_timestamp": job.finished,
        "reasons": list(job.reasons),
    }
    return TrainingStatusResponse(**fields)


def bind(method: Method, *, models: ModelManager, trainings: Trainings) -> Handler | None:
    """The function that does the work of a row of the method table.

    None for rows that are described but not served yet: streams, inference jobs and the
    management of models.
    """
    match method.purpose:
        case Purpose.INFERENCE if not (method.input_streaming or method.output_streaming):
            return InferenceHandler(method, models)
        case Purpose.RUNTIME_INFO:
            return Information(models).runtime
        case Purpose.MODELS_INFO:
            return Information(models).models
        case Purpose.TRAINING:
            assert method.module is not None, method.name  # noqa: S101 -- the table's promise
            return TrainingHandler(method.module, trainings, models.store)
        case Purpose.TRAINING_STATUS:
            return TrainingManagement(trainings).status
        case Purpose.TRAINING_CANCEL:
            return TrainingManagement(trainings).cancel
        case _:
            return None
