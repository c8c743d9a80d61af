"""Data objects of the service that manages trainings: the package `kitfox.trainings`."""

import datetime
from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, JsonDict, dataobject

__all__ = [
    "ArchivePart",
    "FollowTrainingRequest",
    "ListTrainingsRequest",
    "ListTrainingsResponse",
    "PinTrainingRequest",
    "RepeatTrainingRequest",
    "TrainingData",
    "TrainingDescription",
    "TrainingEvent",
    "TrainingIdRequest",
    "TrainingLog",
    "TrainingLogRequest",
    "TrainingProgress",
]

_PACKAGE = "kitfox.trainings"


@dataobject(package=_PACKAGE)
class ListTrainingsRequest(DataObjectBase):
    """Asks for trainings, a page at a time."""

    filter: Annotated[str | None, FieldNumber(1)]
    """What the id or the model's name must contain; with `*` or `?` in it, a pattern for all of
    one of them."""
    states: Annotated[list[str], FieldNumber(2)]
    """The states that they may be in; all unless given."""
    module: Annotated[str | None, FieldNumber(3)]
    """The id or the name of the module that they train."""
    model_name: Annotated[str | None, FieldNumber(4)]
    """What their model is called."""
    created_from: Annotated[datetime.datetime | None, FieldNumber(5)]
    """The earliest time of submission."""
    created_before: Annotated[datetime.datetime | None, FieldNumber(6)]
    """They were submitted before this time."""
    oldest_first: Annotated[bool | None, FieldNumber(7)]
    """Whether the oldest come first; else the newest do."""
    page_size: Annotated[int | None, FieldNumber(8)]
    """The most trainings of a page: 100 unless given, 1000 at most."""
    page_token: Annotated[str | None, FieldNumber(9)]
    """The `next_page_token` of the page before."""


@dataobject(package=_PACKAGE)
class TrainingIdRequest(DataObjectBase):
    """Names a training."""

    training_id: Annotated[str, FieldNumber(1)]


@dataobject(package=_PACKAGE)
class FollowTrainingRequest(DataObjectBase):
    """Asks to be told how a training goes until it ends."""

    training_id: Annotated[str, FieldNumber(1)]
    log_from: Annotated[int | None, FieldNumber(2)]
    """The byte of the log to go on from: the `log_offset` of the last event that was seen. From
    the log's beginning unless given."""


@dataobject(package=_PACKAGE)
class TrainingLogRequest(DataObjectBase):
    """Asks for a part of a training's log."""

    training_id: Annotated[str, FieldNumber(1)]
    offset: Annotated[int | None, FieldNumber(2)]
    """The byte to begin at: a `next_offset`, or 0 for the beginning."""
    limit: Annotated[int | None, FieldNumber(3)]
    """The most bytes: 64 KiB unless given, 1 MiB at most."""


@dataobject(package=_PACKAGE)
class TrainingLog(DataObjectBase):
    """A part of a training's log, in whole lines where it has any."""

    text: Annotated[str, FieldNumber(1)]
    next_offset: Annotated[int, FieldNumber(2)]
    """Where the next part begins."""


@dataobject(package=_PACKAGE)
class RepeatTrainingRequest(DataObjectBase):
    """Asks for a training like an earlier one."""

    training_id: Annotated[str, FieldNumber(1)]
    """The earlier one."""
    model_name: Annotated[str | None, FieldNumber(2)]
    """What the model will be called; as then unless given."""
    parameters: Annotated[JsonDict | None, FieldNumber(3)]
    """Parameters of `train` that are to be different."""


@dataobject(package=_PACKAGE)
class PinTrainingRequest(DataObjectBase):
    """Asks for a training to be kept for ever, or no longer."""

    training_id: Annotated[str, FieldNumber(1)]
    pinned: Annotated[bool, FieldNumber(2)]


@dataobject(package=_PACKAGE)
class ArchivePart(DataObjectBase):
    """A piece of a zip file with a trained model; over REST the pieces are the body."""

    data: Annotated[bytes, FieldNumber(1)]
    filename: Annotated[str | None, FieldNumber(2)]
    """What the file may be called; in the first piece."""


@dataobject(package=_PACKAGE)
class TrainingProgress(DataObjectBase):
    """How far a training says it is."""

    fraction: Annotated[float | None, FieldNumber(1)]
    """0 to 1, where it can be told."""
    step: Annotated[int | None, FieldNumber(2)]
    """The step that was done last."""
    total: Annotated[int | None, FieldNumber(3)]
    """The number of steps there will be."""
    metrics: Annotated[dict[str, float], FieldNumber(4)]
    """What the training measures, by name: the newest value of each."""
    message: Annotated[str | None, FieldNumber(5)]
    """What it is about, in words."""


@dataobject(package=_PACKAGE)
class TrainingEvent(DataObjectBase):
    """How a training goes now, and what it has logged since the event before."""

    training_id: Annotated[str, FieldNumber(1)]
    state: Annotated[str, FieldNumber(2)]
    progress: Annotated[TrainingProgress | None, FieldNumber(3)]
    log: Annotated[list[str], FieldNumber(4)]
    """Lines of the log, without their ends."""
    log_offset: Annotated[int, FieldNumber(5)]
    """The byte of the log behind these lines."""
    reasons: Annotated[list[str], FieldNumber(6)]
    """Why it failed."""
    time: Annotated[datetime.datetime, FieldNumber(7)]
    """When this was seen."""


@dataobject(package=_PACKAGE)
class TrainingData(DataObjectBase):
    """What a training was made from, as it was then."""

    parameter: Annotated[str, FieldNumber(1)]
    """The parameter of `train`."""
    kind: Annotated[str, FieldNumber(2)]
    """What sort of source it was."""
    name: Annotated[str, FieldNumber(3)]
    """The file, the folder or the address."""
    rows: Annotated[int | None, FieldNumber(4)]
    """The data objects that were read."""
    size: Annotated[int | None, FieldNumber(5)]
    """Bytes."""
    sha256: Annotated[str | None, FieldNumber(6)]
    changed: Annotated[str | None, FieldNumber(7)]
    """When it was changed last, or its tag in a remote store."""


@dataobject(package=_PACKAGE)
class TrainingDescription(DataObjectBase):
    """What is known of a training. Lists leave out environment, data, parameters and log."""

    training_id: Annotated[str, FieldNumber(1)]
    state: Annotated[str, FieldNumber(2)]
    """`QUEUED`: it waits for its turn; `RUNNING`; `STOPPING`: asked to end early and to keep what
    it has; `CANCELING`: it is being ended; `CANCELED`; `COMPLETED`; `ERRORED`."""
    module_id: Annotated[str, FieldNumber(3)]
    module_name: Annotated[str | None, FieldNumber(4)]
    module_version: Annotated[str | None, FieldNumber(5)]
    model_name: Annotated[str | None, FieldNumber(6)]
    created: Annotated[datetime.datetime, FieldNumber(7)]
    started: Annotated[datetime.datetime | None, FieldNumber(8)]
    finished: Annotated[datetime.datetime | None, FieldNumber(9)]
    duration_seconds: Annotated[float | None, FieldNumber(10)]
    """From its last start to its end."""
    attempt: Annotated[int, FieldNumber(11)]
    """How often it was started."""
    retries: Annotated[int, FieldNumber(12)]
    """How often it is begun again when its process dies."""
    priority: Annotated[int, FieldNumber(13)]
    """The higher ones run first."""
    progress: Annotated[TrainingProgress | None, FieldNumber(14)]
    reasons: Annotated[list[str], FieldNumber(15)]
    """Why it failed."""
    peak_memory: Annotated[int | None, FieldNumber(16)]
    """The most bytes that its process held."""
    path: Annotated[str | None, FieldNumber(17)]
    """Where its model lies."""
    size: Annotated[int | None, FieldNumber(18)]
    """Bytes of its model."""
    environment: Annotated[dict[str, str], FieldNumber(19)]
    """What it ran on: versions of Python and packages, platform, host."""
    data: Annotated[list[TrainingData], FieldNumber(20)]
    """What it was made from."""
    parameters: Annotated[JsonDict | None, FieldNumber(21)]
    """What `train` was given; keys and passwords are left out."""
    checkpoint: Annotated[str | None, FieldNumber(22)]
    """The newest model that it has put aside on the way."""
    retry_of: Annotated[str | None, FieldNumber(23)]
    """The training that this one takes up again."""
    again_of: Annotated[str | None, FieldNumber(24)]
    """The training that this one repeats."""
    pinned: Annotated[bool, FieldNumber(25)]
    """Whether it is kept for ever."""
    promotion: Annotated[str | None, FieldNumber(26)]
    """Of a model that is to become the current one of its name: `wanted`, `done` or `failed`."""
    log_tail: Annotated[str | None, FieldNumber(27)]
    """The end of its log."""
    request_id: Annotated[str | None, FieldNumber(28)]
    """Identifies the call that asked for it."""


@dataobject(package=_PACKAGE)
class ListTrainingsResponse(DataObjectBase):
    """A page of trainings."""

    trainings: Annotated[list[TrainingDescription], FieldNumber(1)]
    next_page_token: Annotated[str | None, FieldNumber(2)]
    """Asks for the next page; there is none on the last one."""
