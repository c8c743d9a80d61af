"""`mmesh.ModelRuntime`: how a model mesh has models loaded and unloaded.

The mesh names a model by an id of its own and tells where it lies; that must be in the models
folder. What it is told of sizes and limits is what caikit tells it unless configured otherwise.
"""

import asyncio
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, NotFound
from kitfox.models import ModelManager, check_model_id, files_at
from kitfox.services.foreign import foreign_files
from kitfox.services.management import SIZE_FACTOR
from kitfox.services.methods import Context, Handler, Method, Purpose
from kitfox.services.protocol_file import data_objects

__all__ = ["MODEL_MESH_SERVICE", "ModelMesh", "model_mesh_methods"]

MODEL_MESH_SERVICE = "mmesh.ModelRuntime"
"""The full name of the service."""

_PURPOSES = {
    "loadModel": (Purpose.MESH_LOAD, "LoadModel", "Loads a model, and answers when it is ready."),
    "unloadModel": (Purpose.MESH_UNLOAD, "UnloadModel", "Unloads a model."),
    "predictModelSize": (Purpose.MESH_PREDICT_SIZE, "PredictModelSize", "What a model will take."),
    "modelSize": (Purpose.MESH_SIZE, "ModelSize", "What a loaded model takes."),
    "runtimeStatus": (Purpose.MESH_STATUS, "RuntimeStatus", "Whether models can be loaded."),
}
_READY = 1
_CONCURRENCY = 2
_CONCURRENCY_OF = {"keywords_text-rank": 8}
_STATUS = {
    "status": _READY,
    "capacityInBytes": 10 * 1024**3,
    "maxLoadingConcurrency": 2,
    "modelLoadingTimeoutMs": 121_000,
    "defaultModelSizeInBytes": 18 * 1024**2,
    "runtimeVersion": "real",
    "limitModelConcurrency": True,
}


@lru_cache(maxsize=1)
def _messages() -> Mapping[str, type[DataObjectBase]]:
    mesh, _ = foreign_files()
    return data_objects(mesh)


def model_mesh_methods() -> list[Method]:
    """The rows of the service."""
    return [
        Method(
            service=MODEL_MESH_SERVICE,
            name=name,
            request=_messages()[f"{stem}Request"],
            response=_messages()[f"{stem}Response"],
            purpose=purpose,
            description=description,
        )
        for name, (purpose, stem, description) in _PURPOSES.items()
    ]


class ModelMesh:
    """What the service does.

    Args:
        models: The models of the server.
    """

    def __init__(self, models: ModelManager) -> None:
        self._models = models

    def handler(self, purpose: Purpose) -> Handler:
        """What does the work of a row."""
        handlers: dict[Purpose, Handler] = {
            Purpose.MESH_LOAD: self._load,
            Purpose.MESH_UNLOAD: self._unload,
            Purpose.MESH_PREDICT_SIZE: self._predict_size,
            Purpose.MESH_SIZE: self._size,
            Purpose.MESH_STATUS: self._status,
        }
        return handlers[purpose]

    async def _load(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        model_id = check_model_id(fields.get("modelId", ""))
        model = self._models.peek(model_id)
        if model is None:
            path = self._path(fields.get("modelPath", ""))
            model = await self._models.load(model_id, path, follows_store=False)
        return _answer(
            "LoadModelResponse",
            sizeInBytes=model.size * SIZE_FACTOR,
            maxConcurrency=_CONCURRENCY_OF.get(fields.get("modelType", ""), _CONCURRENCY),
        )

    async def _unload(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        self._models.unload(check_model_id(fields.get("modelId", "")))
        return _answer("UnloadModelResponse")

    async def _predict_size(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        given = fields.get("modelPath", "")
        try:
            files = await asyncio.to_thread(files_at, self._path(given))
        except OSError as err:
            raise NotFound(
                f"Failed to estimate size of model {fields.get('modelId', '')!r}, "
                f"file {given!r} not found"
            ) from err
        return _answer("PredictModelSizeResponse", sizeInBytes=files.size * SIZE_FACTOR)

    async def _size(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        model_id = fields.get("modelId", "")
        model = self._models.peek(model_id)
        if model is None:
            raise NotFound(
                f"Unable to retrieve the size of model {model_id!r}; "
                "it is unregistered or unloaded."
            )
        return _answer("ModelSizeResponse", sizeInBytes=model.size * SIZE_FACTOR)

    async def _status(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        budget = self._models.budget.limit
        values = {**_STATUS, "capacityInBytes": budget} if budget else _STATUS
        return _answer("RuntimeStatusResponse", **values)

    def _path(self, given: str) -> Path:
        """Where a model lies that the mesh names by a path; no file is looked at for that.

        Raises:
            InvalidArgument: That is not in the models folder.
        """
        root = self._models.store.root
        top = os.path.abspath(root)  # noqa: PTH100 -- links are not to be followed here
        place = os.path.abspath(given) if given and "\0" not in given else ""  # noqa: PTH100
        if not place.startswith(top + os.sep):
            raise InvalidArgument(f"modelPath {given!r}: expected a path in the models folder")
        return root / os.path.relpath(place, top)


def _answer(name: str, **values: Any) -> DataObjectBase:
    made: Any = _messages()[name]
    answer: DataObjectBase = made(**values)
    return answer
