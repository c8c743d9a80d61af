"""What the methods do beside inference: train, tell how a training goes, what is loaded.

No protocol is in sight here. A handler gets the fields that the caller set and the call's context;
it returns a data object or raises a `KitfoxError`.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import kitfox
from kitfox.config import VersionInfo
from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, ModelNotFound
from kitfox.interfaces.runtime.data_model import (
    ModelInfo,
    ModelInfoResponse,
    ModelPointer,
    RuntimeInfoResponse,
    TrainingJob,
    TrainingStatusResponse,
)
from kitfox.models import LoadedModel, ModelManager, ModelStore
from kitfox.modules import GrpcRequestContext, ModuleBase, module_registry
from kitfox.services.auto_promotion import AutoPromotion
from kitfox.services.batch_training import BatchTraining
from kitfox.services.health import Health
from kitfox.services.inference import InferenceHandler, StreamingInferenceHandler
from kitfox.services.job_states import WIRE_STATES
from kitfox.services.management import SIZE_FACTOR, Deployment, ModelManagement
from kitfox.services.methods import (
    Context,
    Handler,
    Method,
    MethodTable,
    Purpose,
    StreamHandler,
)
from kitfox.services.model_mesh import ModelMesh
from kitfox.services.model_upload import ModelUpload
from kitfox.services.reflection import Descriptions, Reflection
from kitfox.services.training_download import TrainingDownload
from kitfox.services.training_events import TrainingEvents
from kitfox.services.training_management import TrainingRecords
from kitfox.services.training_options import training_options
from kitfox.training import Job, JobState, TrainingService

__all__ = ["Predictions", "Services", "TrainingHandler", "bind"]


_REFRESH_SECONDS = 5.0
_MESH = {
    *(Purpose.MESH_LOAD, Purpose.MESH_UNLOAD, Purpose.MESH_PREDICT_SIZE),
    *(Purpose.MESH_SIZE, Purpose.MESH_STATUS),
}
_MANAGEMENT = {
    *(Purpose.MODEL_LIST, Purpose.MODEL_SHOW, Purpose.MODEL_LOAD, Purpose.MODEL_UNLOAD),
    *(Purpose.MODEL_RELOAD, Purpose.MODEL_PROMOTE, Purpose.MODEL_ROLL_BACK),
    *(Purpose.QUARANTINE_LIST, Purpose.QUARANTINE_CLEAR),
}
_TRAININGS = {
    *(Purpose.TRAINING_LIST, Purpose.TRAINING_SHOW, Purpose.TRAINING_LOG, Purpose.TRAINING_STOP),
    *(Purpose.TRAINING_RETRY, Purpose.TRAINING_REPEAT, Purpose.TRAINING_PIN),
    Purpose.TRAINING_DELETE,
}


class Predictions(Protocol):
    """What the handlers need of the inference jobs."""

    def handler(self, method: Method) -> Handler:
        """What does the work of a row that is about them."""


class TrainingHandler:
    """Accepts a training of one module.

    Args:
        module: The module class to train.
        trainings: Records and runs trainings.
        store: Where models are found that a training starts from.
    """

    def __init__(
        self, module: type[ModuleBase], trainings: TrainingService, store: ModelStore
    ) -> None:
        self._trainings = trainings
        self._module = module
        self._store = store

    async def __call__(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Answers one call; the training's record is durable before the answer is sent."""
        name = fields.get("model_name") or ""
        # Looking for models and writing the record wait for the disk: not on the event loop.
        job = await asyncio.to_thread(self.start, fields, context)
        return TrainingJob(training_id=job.id, model_name=name)

    def start(
        self, fields: dict[str, Any], context: Context, training_id: str | None = None
    ) -> Job:
        """Accepts a training; its record is durable when this returns.

        Args:
            fields: Those of the request that the caller set.
            context: The call's.
            training_id: An id from outside.
        """
        if fields.get("output_path") is not None:
            raise InvalidArgument(
                "output_path: S3 output path not supported by this runtime; "
                "leave it out to write below runtime.training.output_dir"
            )
        parameters, name = fields.get("parameters"), fields.get("model_name") or ""
        values = {} if parameters is None else _given(parameters, context)
        paths: dict[str, str] = {}
        for key in values:
            pointer = getattr(parameters, key, None)
            if isinstance(pointer, ModelPointer):
                paths[pointer.model_id] = self._find(pointer.model_id)
        return self._trainings.start(
            self._module,
            values,
            name,
            model_paths=paths,
            training_id=training_id,
            options=training_options(context.metadata),
            request_id=context.request_id,
        )

    def _find(self, model_id: str) -> str:
        path = self._store.find(model_id)
        if path is None:
            raise ModelNotFound(model_id, self._store.names())
        return str(path)


def _given(parameters: DataObjectBase, context: Context) -> dict[str, Any]:
    """The parameters that the caller gave, as JSON."""
    values = {
        key: value for key, value in json.loads(parameters.to_json()).items() if value is not None
    }
    if isinstance(context, GrpcRequestContext):
        # protobuf cannot tell a list or map that is empty from one that was not given.
        fields = parameters.get_proto_class().DESCRIPTOR.fields_by_name
        for key, value in list(values.items()):
            if not value and key in fields and fields[key].is_repeated:
                del values[key]
    return values


class TrainingManagement:
    """Tells how trainings go, and cancels them.

    Args:
        trainings: The trainings.
        models: Where a model is loaded that a training has replaced, perhaps.
        promotions: What makes a trained model the current one, where that is done.
    """

    def __init__(
        self,
        trainings: TrainingService,
        models: ModelManager,
        promotions: AutoPromotion | None = None,
    ) -> None:
        self._trainings = trainings
        self._models = models
        self._promotions = promotions

    async def status(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """The state of one training."""
        job = await asyncio.to_thread(self._trainings.get, fields.get("training_id", ""))
        if self._promotions and job.state is JobState.COMPLETED and job.promotion == "wanted":
            await self._promotions.settle(_REFRESH_SECONDS)
        elif job.state is JobState.COMPLETED and self._models.peek(job.model_name) is not None:
            await self._follow(job.model_name)
        return _status(job)

    async def _follow(self, model_name: str) -> None:
        """Has who knows that the training is complete be answered by what it made.

        A model that takes long to load is not waited for to the end.
        """
        refresh = asyncio.ensure_future(self._models.refresh(model_name))
        # One that does not load has been logged, and the one before it goes on.
        refresh.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait({refresh}, timeout=_REFRESH_SECONDS)

    async def cancel(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Asks for the end of a training; one that has ended stays as it is."""
        job = await asyncio.to_thread(self._trainings.cancel, fields.get("training_id", ""))
        answer: dict[str, Any] = {
            "training_id": job.id,
            "state": WIRE_STATES[job.state],
            "reasons": [],
        }
        return TrainingStatusResponse(**answer)


class Information:
    """Tells what runs here.

    Args:
        models: The models.
        versions: What the configuration says of versions.
    """

    def __init__(self, models: ModelManager, versions: VersionInfo) -> None:
        self._models = models
        self._versions = versions
        self._packages: dict[str, str] | None = None

    async def runtime(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Versions of the server and of the packages that define modules."""
        if self._packages is None:  # looked up once, and not on the event loop: it reads the disk
            asked = self._versions.python_packages
            self._packages = await asyncio.to_thread(_package_versions, asked)
        return RuntimeInfoResponse(
            runtime_version=self._versions.runtime_image, python_packages=self._packages
        )

    async def models(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """The models that are loaded or being loaded, or those of them that are named."""
        loaded, loading = self._models.loaded, self._models.loading
        names = fields.get("model_ids") or sorted({*loaded, *loading})
        infos = []
        for name in names:
            if name in loaded:
                infos.append(_model_info(loaded[name]))
            elif name in loading:
                unloaded: dict[str, Any] = {"name": name, "loaded": False}
                infos.append(ModelInfo(**unloaded))
            else:
                raise ModelNotFound(name, loaded, "it is not loaded")
        return ModelInfoResponse(models=infos)


def _package_versions(asked: Mapping[str, bool | str]) -> dict[str, str]:
    """The versions of packages by name.

    Args:
        asked: Under `all`, whether to tell of every package that is installed; the others are
            versions to be told as they are.
    """
    import importlib.metadata  # only here: few servers are ever asked

    given = {name: str(value) for name, value in asked.items() if name != "all"}
    if asked.get("all"):
        every = {item.name: item.version for item in importlib.metadata.distributions()}
        return every | {"kitfox": kitfox.__version__} | given
    versions = {"kitfox": kitfox.__version__}
    for cls in module_registry().values():
        name = cls.__module__.split(".")[0]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions | given


def _model_info(model: LoadedModel) -> ModelInfo:
    return ModelInfo(
        model_path=str(model.path),
        name=model.name,
        size=model.size * SIZE_FACTOR,
        metadata=model.execution.public_info(),
        loaded=True,
        module_id=model.module.MODULE_ID,
        module_metadata={"name": model.module.MODULE_NAME, "version": model.module.MODULE_VERSION},
    )


def _status(job: Job) -> TrainingStatusResponse:
    fields: dict[str, Any] = {
        "training_id": job.id,
        "state": WIRE_STATES[job.state],
        "submission_timestamp": job.created,
        "completion_timestamp": job.finished,
        "reasons": list(job.reasons),
    }
    return TrainingStatusResponse(**fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What does the work of all methods."""

    models: ModelManager
    trainings: TrainingService
    events: TrainingEvents
    promotions: AutoPromotion
    jobs: Predictions
    health: Health
    descriptions: Descriptions
    table: MethodTable
    versions: VersionInfo = field(default_factory=VersionInfo)


def bind(method: Method, services: Services) -> Handler | StreamHandler | None:
    """The function that does the work of a row of the method table.

    A `StreamHandler` for rows with streams. None for rows that are described but not served here.
    """
    models = services.models
    if method.purpose in _MANAGEMENT:
        return ModelManagement(models, services.trainings).handler(method.purpose)
    if method.purpose in _MESH:
        return ModelMesh(models).handler(method.purpose)
    if method.purpose in _TRAININGS:
        return TrainingRecords(services.trainings, models).handler(method.purpose)
    match method.purpose:
        case Purpose.INFERENCE if method.is_streaming:
            return StreamingInferenceHandler(method, models)
        case Purpose.INFERENCE:
            return InferenceHandler(method, models)
        case Purpose.RUNTIME_INFO:
            return Information(models, services.versions).runtime
        case Purpose.MODELS_INFO:
            return Information(models, services.versions).models
        case Purpose.DEPLOY:
            return Deployment(models).deploy
        case Purpose.MODEL_UPLOAD:
            return ModelUpload(models)
        case Purpose.UNDEPLOY:
            return Deployment(models).undeploy
        case Purpose.TRAINING:
            assert method.module is not None, method.name  # noqa: S101 -- the table's promise
            return TrainingHandler(method.module, services.trainings, models.store)
        case Purpose.BATCH_TRAINING:
            return _batch_training(services)
        case Purpose.TRAINING_STATUS:
            return TrainingManagement(services.trainings, models, services.promotions).status
        case Purpose.TRAINING_CANCEL:
            return TrainingManagement(services.trainings, models, services.promotions).cancel
        case Purpose.TRAINING_FOLLOW:
            return services.events.follow
        case Purpose.TRAINING_DOWNLOAD:
            return TrainingDownload(services.trainings)
        case Purpose.JOB_START | Purpose.JOB_STATUS | Purpose.JOB_RESULT | Purpose.JOB_CANCEL:
            return services.jobs.handler(method)
        case Purpose.HEALTH_CHECK:
            return services.health.check
        case Purpose.HEALTH_LIST:
            return services.health.list_all
        case Purpose.HEALTH_WATCH:
            return services.health.watch
        case Purpose.REFLECTION:
            return Reflection(method, services.descriptions)
        case _:
            return None


def _batch_training(services: Services) -> Handler:
    def start(
        method: Method, fields: dict[str, Any], context: Context, training_id: str | None
    ) -> Job:
        assert method.module is not None, method.name  # noqa: S101 -- the table's promise
        handler = TrainingHandler(method.module, services.trainings, services.models.store)
        return handler.start(fields, context, training_id)

    return BatchTraining(services.table, start, services.events)
