"""`processproto.Process`: a training that its caller waits for, as batch systems start one.

The module and its training request are texts in a map: `train_module` is the module's id,
`training_params` the request of the module's training method as protobuf JSON. The training is a
job like any other; only its caller is answered when it has ended.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from kitfox.data import DataObjectBase, codec_of
from kitfox.errors import Cancelled, Internal, InvalidArgument, KitfoxError
from kitfox.modules.parameters import stream_element
from kitfox.services.foreign import foreign_files
from kitfox.services.methods import Context, Method, MethodTable, Purpose
from kitfox.services.protocol_file import data_objects
from kitfox.services.training_events import TrainingEvents
from kitfox.training import Job, JobState

__all__ = ["PROCESS_SERVICE", "BatchTraining", "Start", "process_methods"]

PROCESS_SERVICE = "processproto.Process"
"""The full name of the service."""

Start = Callable[[Method, dict[str, Any], Context, str | None], Job]
"""Accepts a training: its method, the fields of its request, the call, an id if one is given."""


_ELSEWHERE = {"data", "jsondata", "s3files"}
"""Sources of data that are in no folder."""


@lru_cache(maxsize=1)
def _messages() -> Mapping[str, type[DataObjectBase]]:
    _, process = foreign_files()
    return data_objects(process)


def process_methods() -> list[Method]:
    """The row of the service."""
    return [
        Method(
            service=PROCESS_SERVICE,
            name="Run",
            request=_messages()["ProcessRequest"],
            response=_messages()["ProcessResponse"],
            purpose=Purpose.BATCH_TRAINING,
            description="Trains a module, and answers when the training has ended.",
        )
    ]


class BatchTraining:
    """What the service does.

    Args:
        table: Where the training methods of modules are.
        start: Accepts a training.
        events: Tells when it has ended.
    """

    def __init__(self, table: MethodTable, start: Start, events: TrainingEvents) -> None:
        self._methods = {
            row.module.MODULE_ID: row
            for row in table
            if row.purpose is Purpose.TRAINING and row.module is not None
        }
        self._start = start
        self._events = events

    async def __call__(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Answers one call. A caller who goes away lets go of the training and does not end it."""
        asked = fields.get("request_dict") or {}
        method = self._method(asked.get("train_module", ""))
        given, custom = fields.get("trainingID") or "", fields.get("customTrainingID") or ""
        request = _request(method, asked.get("training_params", ""))
        # Looking for files and writing the record wait for the disk: not on the event loop.
        folder = fields.get("training_input_dir") or ""
        job = await asyncio.to_thread(
            lambda: self._start(
                method, _with_files_of(folder, method, request), context, custom or given or None
            )
        )
        ended = await self._events.end(job.id)
        if ended.state is not JobState.COMPLETED:
            raise _failure(ended)
        made: Any = _messages()["ProcessResponse"]
        answer: DataObjectBase = made(trainingID=given or job.id, customTrainingID=custom)
        return answer

    def _method(self, module_id: str) -> Method:
        if module_id not in self._methods:
            known = ", ".join(sorted(self._methods)) or "none"
            raise InvalidArgument(
                f"request_dict.train_module: {module_id!r} is no module that can be trained here; "
                f"expected the id of one: {known}"
            )
        return self._methods[module_id]


def _request(method: Method, text: str) -> dict[str, Any]:
    """The fields of a training request."""
    if not text:
        return {}
    try:
        message = codec_of(method.request).decode_protobuf_json(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"request_dict.training_params: {error}") from error
    return {
        name: value
        for name in ("model_name", "output_path", "parameters")
        if (value := getattr(message, name)) is not None
    }


def _with_files_of(folder: str, method: Method, request: dict[str, Any]) -> dict[str, Any]:
    """The request with the full names of those of its files that are in a folder."""
    parameters = request.get("parameters")
    signature = None if method.module is None else method.module.TRAIN_SIGNATURE
    if not folder or parameters is None or signature is None:
        return request
    values = json.loads(parameters.to_json())
    for name, kind in signature.parameters.items():
        if stream_element(kind) is not None and isinstance(values.get(name), dict):
            values[name] = _moved(values[name], Path(folder).absolute())
    return {**request, "parameters": type(parameters).from_json(values)}


def _moved(source: Any, folder: Path) -> Any:
    """A source of data with the files that are in a folder named by their full names."""
    if not isinstance(source, dict) or "bucket" in source:
        return source
    moved: dict[str, Any] = {}
    for key, value in source.items():
        if key in ("filename", "dirname") and isinstance(value, str):
            moved[key] = _found(value, folder)
        elif key == "files" and isinstance(value, list):
            moved[key] = [_found(name, folder) for name in value]
        else:
            moved[key] = value if key in _ELSEWHERE else _moved(value, folder)
    return moved


def _found(name: str, folder: Path) -> str:
    try:
        return str(folder / name) if name and (folder / name).exists() else name
    except (OSError, ValueError):  # no name that a file can have
        return name


def _failure(job: Job) -> KitfoxError:
    """Why there is no model."""
    reasons = "; ".join(job.reasons) or "it gave no reason"
    if job.state is JobState.CANCELED:
        return Cancelled(f"Training {job.id} was cancelled")
    if job.failure == "input":
        return InvalidArgument(
            "Exception raised during training. This may be a problem with your input: " + reasons
        )
    what = "OOM error" if job.failure == "memory" else "Unhandled exception"
    return Internal(f"{what} during training: {reasons}")
