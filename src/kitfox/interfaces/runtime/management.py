"""Data objects of the service that manages models: the package `kitfox.models`."""

import datetime
from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject

__all__ = [
    "ClearQuarantineRequest",
    "ClearQuarantineResponse",
    "ListModelsRequest",
    "ListModelsResponse",
    "ModelDescription",
    "ModelIdRequest",
    "ModelPart",
    "PromoteModelRequest",
    "QuarantineResponse",
    "QuarantinedRequest",
    "RollBackModelRequest",
]

_PACKAGE = "kitfox.models"


@dataobject(package=_PACKAGE)
class ListModelsRequest(DataObjectBase):
    """Asks for the models that there are, a page at a time."""

    filter: Annotated[str | None, FieldNumber(1)]
    """What the id must contain; with `*` or `?` in it, a pattern for the whole id."""
    state: Annotated[str | None, FieldNumber(2)]
    """The state that the models must be in."""
    page_size: Annotated[int | None, FieldNumber(3)]
    """The most models of a page: 100 unless given, 1000 at most."""
    page_token: Annotated[str | None, FieldNumber(4)]
    """The `next_page_token` of the page before."""
    all: Annotated[bool | None, FieldNumber(5)]
    """Whether the list also has what can be asked for without being in the models folder under a
    name of its own: versions that are not current, trained models, and downloaded ones."""


@dataobject(package=_PACKAGE)
class ModelIdRequest(DataObjectBase):
    """Names a model."""

    model_id: Annotated[str, FieldNumber(1)]
    """A name, `name@version`, or the id of a training."""


@dataobject(package=_PACKAGE)
class ModelPart(DataObjectBase):
    """A piece of a zip file with a model's folder; over REST the pieces are the body."""

    model_id: Annotated[str | None, FieldNumber(1)]
    """The model, or with `name@version` a version; in the first piece."""
    data: Annotated[bytes | None, FieldNumber(2)]


@dataobject(package=_PACKAGE)
class PromoteModelRequest(DataObjectBase):
    """Asks for a version to become the current one."""

    name: Annotated[str, FieldNumber(1)]
    """The model."""
    version: Annotated[str, FieldNumber(2)]
    """One of its versions, or the id of a training."""


@dataobject(package=_PACKAGE)
class RollBackModelRequest(DataObjectBase):
    """Asks for the version to become current that was so before."""

    name: Annotated[str, FieldNumber(1)]
    """The model."""


@dataobject(package=_PACKAGE)
class ModelDescription(DataObjectBase):
    """What is known of a model."""

    model_id: Annotated[str, FieldNumber(1)]
    state: Annotated[str, FieldNumber(2)]
    """`available`: on disk and not loaded; `loading`; `ready`; `unloading`: its last calls finish;
    `failed`: it did not load; `incomplete`: what is on disk cannot be loaded."""
    path: Annotated[str | None, FieldNumber(3)]
    size: Annotated[int | None, FieldNumber(4)]
    """Bytes of its files."""
    memory: Annotated[int | None, FieldNumber(5)]
    """Bytes by which the server grew when it was loaded, where that could be measured."""
    version: Annotated[str | None, FieldNumber(6)]
    """The version that the id stands for."""
    versions: Annotated[list[str], FieldNumber(7)]
    """All that are there."""
    module_id: Annotated[str | None, FieldNumber(8)]
    module_name: Annotated[str | None, FieldNumber(9)]
    module_version: Annotated[str | None, FieldNumber(10)]
    tasks: Annotated[list[str], FieldNumber(11)]
    """The names of its tasks."""
    replicas: Annotated[int | None, FieldNumber(12)]
    """In how many places it is loaded, ready to answer."""
    queue_length: Annotated[int | None, FieldNumber(13)]
    """The calls that wait for it."""
    in_flight: Annotated[int | None, FieldNumber(14)]
    """The calls that are being answered, those that wait among them."""
    calls: Annotated[int | None, FieldNumber(15)]
    """The calls that it has run since it was loaded."""
    loaded_at: Annotated[datetime.datetime | None, FieldNumber(16)]
    load_seconds: Annotated[float | None, FieldNumber(17)]
    """How long loading and warming up took."""
    last_error: Annotated[str | None, FieldNumber(18)]
    """Why it cannot be loaded, or why its newest version could not."""
    log: Annotated[list[str], FieldNumber(19)]
    """The last lines of what was printed and logged before that, and where it was raised."""
    quarantined: Annotated[int | None, FieldNumber(20)]
    """How many requests it refuses because they ended its processes."""


@dataobject(package=_PACKAGE)
class ListModelsResponse(DataObjectBase):
    """A page of models, in the order of their names; trained ones come last, the newest first."""

    models: Annotated[list[ModelDescription], FieldNumber(1)]
    next_page_token: Annotated[str | None, FieldNumber(2)]
    """Asks for the next page; there is none on the last one."""


@dataobject(package=_PACKAGE)
class QuarantinedRequest(DataObjectBase):
    """A request that is refused because it ended two replicas of its model."""

    digest: Annotated[str, FieldNumber(1)]
    """Identifies it."""
    method: Annotated[str, FieldNumber(2)]
    """The method of the module."""
    reason: Annotated[str, FieldNumber(3)]
    """How the last replica ended."""
    since: Annotated[datetime.datetime, FieldNumber(4)]
    refused: Annotated[int, FieldNumber(5)]
    """How often it was refused since."""


@dataobject(package=_PACKAGE)
class QuarantineResponse(DataObjectBase):
    """The requests that a model refuses, oldest first."""

    requests: Annotated[list[QuarantinedRequest], FieldNumber(1)]


@dataobject(package=_PACKAGE)
class ClearQuarantineRequest(DataObjectBase):
    """Asks for requests to be run again."""

    model_id: Annotated[str, FieldNumber(1)]
    digest: Annotated[str | None, FieldNumber(2)]
    """Of the one request; without it, all."""


@dataobject(package=_PACKAGE)
class ClearQuarantineResponse(DataObjectBase):
    """How many requests are no longer refused."""

    cleared: Annotated[int, FieldNumber(1)]
