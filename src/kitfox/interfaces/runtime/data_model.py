"""Data objects of the packages `caikit_data_model.runtime` and `caikit_data_model.common.runtime`.

They are the requests and answers of the services that every server offers beside its library's.
"""

import datetime
from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, File, JsonDict, dataobject
from kitfox.interfaces.common.data_model import JobStatus
from kitfox.interfaces.runtime.context import RuntimeServerContextType

__all__ = [
    "DeployModelRequest",
    "ModelInfo",
    "ModelInfoRequest",
    "ModelInfoResponse",
    "ModelPointer",
    "PredictionJob",
    "PredictionJobInfoRequest",
    "PredictionJobStatusResponse",
    "RuntimeInfoRequest",
    "RuntimeInfoResponse",
    "RuntimeServerContextType",
    "TrainingInfoRequest",
    "TrainingJob",
    "TrainingStatusResponse",
    "UndeployModelRequest",
]

_INFO = "caikit_data_model.common.runtime"
_RUNTIME = "caikit_data_model.runtime"


@dataobject(package=_INFO)
class RuntimeInfoRequest(DataObjectBase):
    """Asks which software the server runs."""


@dataobject(package=_INFO)
class RuntimeInfoResponse(DataObjectBase):
    """Which software the server runs."""

    runtime_version: Annotated[str | None, FieldNumber(1)]
    """Of the image, as configured."""
    python_packages: Annotated[dict[str, str], FieldNumber(2)]
    """Versions by name of the package."""


@dataobject(package=_INFO)
class ModelInfoRequest(DataObjectBase):
    """Asks for models by their ids; without any, for all that are loaded."""

    model_ids: Annotated[list[str], FieldNumber(1)]


@dataobject(package=_INFO)
class ModelInfo(DataObjectBase):
    """What is known of one model; of one that is still loading, its name only."""

    model_path: Annotated[str | None, FieldNumber(1)]
    name: Annotated[str, FieldNumber(2)]
    """The id that calls name it by."""
    size: Annotated[int | None, FieldNumber(3)]
    """Bytes that it is reckoned to take."""
    metadata: Annotated[JsonDict | None, FieldNumber(4)]
    """The `public_model_info` of its module."""
    loaded: Annotated[bool, FieldNumber(7)]
    module_id: Annotated[str | None, FieldNumber(5)]
    module_metadata: Annotated[dict[str, str] | None, FieldNumber(6)]
    """The name and the version of its module."""


@dataobject(package=_INFO)
class ModelInfoResponse(DataObjectBase):
    """What is known of the models that were asked for."""

    models: Annotated[list[ModelInfo], FieldNumber(1)]


@dataobject(package=_RUNTIME)
class ModelPointer(DataObjectBase):
    """Names a model that a training starts from."""

    model_id: str


@dataobject(package=_RUNTIME)
class TrainingJob(DataObjectBase):
    """The answer to a training that was accepted."""

    training_id: str
    model_name: str


@dataobject(package=_RUNTIME)
class TrainingInfoRequest(DataObjectBase):
    """Names a training."""

    training_id: str


@dataobject(package=_RUNTIME)
class TrainingStatusResponse(DataObjectBase):
    """How far a training has come."""

    training_id: str
    state: JobStatus
    submission_timestamp: datetime.datetime
    completion_timestamp: datetime.datetime
    reasons: list[str]
    """Why it failed."""


@dataobject(package=_RUNTIME)
class PredictionJob(DataObjectBase):
    """The answer to an inference job that was accepted."""

    prediction_id: str


@dataobject(package=_RUNTIME)
class PredictionJobInfoRequest(DataObjectBase):
    """Names an inference job."""

    prediction_id: str


@dataobject(package=_RUNTIME)
class PredictionJobStatusResponse(DataObjectBase):
    """How far an inference job has come."""

    prediction_id: str
    state: JobStatus
    submission_timestamp: datetime.datetime
    completion_timestamp: datetime.datetime
    reasons: list[str]
    """Why it failed."""


@dataobject(package=_RUNTIME)
class DeployModelRequest(DataObjectBase):
    """Brings a model to the server as the files of its folder."""

    model_id: str
    model_files: list[File]


@dataobject(package=_RUNTIME)
class UndeployModelRequest(DataObjectBase):
    """Takes a model off the server; also the answer when that is done."""

    model_id: str
