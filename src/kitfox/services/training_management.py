"""Managing the trainings of a server: listing, showing, stopping, trying again, keeping, removing.

It is what the service `kitfox.trainings.Trainings` does, except for its streams.
"""

import asyncio
import datetime
import json
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, ModelNotFound
from kitfox.interfaces.runtime.trainings import (
    ListTrainingsResponse,
    TrainingData,
    TrainingDescription,
    TrainingIdRequest,
    TrainingLog,
    TrainingProgress,
)
from kitfox.models import ModelManager
from kitfox.services.methods import Context, Handler, Purpose
from kitfox.services.training_changes import check_changes
from kitfox.services.training_options import training_options
from kitfox.training import Job, JobFilter, JobState, Progress, TrainingService
from kitfox.training.redaction import redacted

__all__ = ["TrainingRecords", "described_progress"]

_PAGE, _LARGEST_PAGE = 100, 1000
_LOG_PART = 1 << 16
_LONGEST_PARAMETERS = 1 << 16
_LONGEST_PARAMETER = 1 << 12


class TrainingRecords:
    """What the service does.

    Args:
        trainings: The trainings.
        models: Where models are found that a training starts from, and unloaded that are removed.
    """

    def __init__(self, trainings: TrainingService, models: ModelManager) -> None:
        self._trainings = trainings
        self._models = models

    def handler(self, purpose: Purpose) -> Handler:
        """What does the work of a row."""
        handlers: dict[Purpose, Handler] = {
            Purpose.TRAINING_LIST: self._list,
            Purpose.TRAINING_SHOW: self._show,
            Purpose.TRAINING_LOG: self._log,
            Purpose.TRAINING_STOP: self._stop,
            Purpose.TRAINING_RETRY: self._retry,
            Purpose.TRAINING_REPEAT: self._repeat,
            Purpose.TRAINING_PIN: self._pin,
            Purpose.TRAINING_DELETE: self._delete,
        }
        return handlers[purpose]

    async def _list(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        size = fields.get("page_size") or _PAGE
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidArgument(f"page_size: expected 1 to {_LARGEST_PAGE}, got {size}")
        wanted = JobFilter(
            states=_states(fields.get("states") or ()),
            module=fields.get("module") or "",
            model_name=fields.get("model_name") or "",
            text=fields.get("filter") or "",
            created_from=_aware(fields.get("created_from")),
            created_before=_aware(fields.get("created_before")),
        )
        page = await asyncio.to_thread(
            self._trainings.page,
            wanted,
            limit=size,
            token=fields.get("page_token") or "",
            newest_first=not fields.get("oldest_first"),
        )
        return ListTrainingsResponse(
            trainings=[_description(job) for job in page.jobs],
            next_page_token=page.next_token or None,
        )

    async def _show(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        return await self._described(fields.get("training_id") or "")

    async def _log(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        part = await asyncio.to_thread(
            self._trainings.log,
            fields.get("training_id") or "",
            offset=fields.get("offset") or 0,
            limit=fields.get("limit") or _LOG_PART,
        )
        return TrainingLog(text=part.text, next_offset=part.next_offset)

    async def _stop(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        job = await asyncio.to_thread(self._trainings.stop, fields.get("training_id") or "")
        return await self._described(job.id)

    async def _retry(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        job = await asyncio.to_thread(
            self._trainings.retry,
            fields.get("training_id") or "",
            request_id=context.request_id,
        )
        return await self._described(job.id)

    async def _repeat(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        return await asyncio.to_thread(self._start_again, fields, context)

    def _start_again(self, fields: dict[str, Any], context: Context) -> TrainingDescription:
        training_id, changes = fields.get("training_id") or "", fields.get("parameters") or {}
        check_changes(self._trainings.get(training_id).module_id, changes)
        paths = {
            model_id: self._find(model_id)
            for value in changes.values()
            if isinstance(value, dict) and isinstance(model_id := value.get("model_id"), str)
        }
        job = self._trainings.repeat(
            training_id,
            changes,
            model_name=fields.get("model_name"),
            model_paths=paths,
            options=training_options(context.metadata),
            request_id=context.request_id,
        )
        return self._describe(job.id)

    def _find(self, model_id: str) -> str:
        path = self._models.store.find(model_id)
        if path is None:
            raise ModelNotFound(model_id, self._models.store.names())
        return str(path)

    async def _pin(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        training_id, pinned = fields.get("training_id") or "", bool(fields.get("pinned"))
        await asyncio.to_thread(self._trainings.pin, training_id, pinned)
        return await self._described(training_id)

    async def _delete(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        training_id = fields.get("training_id") or ""
        await asyncio.to_thread(self._trainings.delete, training_id)
        for name in [*self._models.loaded, *self._models.loading]:
            if name == training_id or name.endswith(f"@{training_id}"):
                self._models.unload(name, why="its training was removed")
        return TrainingIdRequest(training_id=training_id)

    async def _described(self, training_id: str) -> TrainingDescription:
        return await asyncio.to_thread(self._describe, training_id)

    def _describe(self, training_id: str) -> TrainingDescription:
        """All that is known of a training. Reads the store."""
        job = self._trainings.get(training_id)
        parameters = self._trainings.parameters(training_id)
        return _description(
            job,
            environment=dict(job.environment),
            data=[
                TrainingData(
                    parameter=item.parameter,
                    kind=item.kind,
                    name=item.name,
                    rows=item.rows,
                    size=item.size,
                    sha256=item.sha256 or None,
                    changed=item.changed or None,
                )
                for item in job.data
            ],
            parameters=_shown_parameters(parameters),
            log_tail=job.log_tail,
        )


def _states(names: Any) -> frozenset[JobState]:
    known = ", ".join(JobState)
    for name in names:
        if name not in JobState.__members__:
            raise InvalidArgument(f"states: {name!r}: expected some of: {known}")
    return frozenset(map(JobState, names)) or frozenset(JobState)


def _aware(moment: datetime.datetime | None) -> datetime.datetime | None:
    """A time of UTC unless it says of where it is."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=datetime.UTC)


def _shown_parameters(text: str) -> dict[str, Any]:
    """A training's parameters without secrets, and without data that came with the request."""
    found = redacted(json.loads(text))
    if len(text) > _LONGEST_PARAMETERS:
        for name, value in found.items():
            length = len(json.dumps(value))
            if length > _LONGEST_PARAMETER:
                found[name] = f"... {length:,} bytes of JSON ..."
    shown: dict[str, Any] = found
    return shown


def described_progress(progress: Progress | None) -> TrainingProgress | None:
    """A training's progress as its callers see it."""
    if progress is None:
        return None
    return TrainingProgress(
        fraction=progress.fraction,
        step=progress.step,
        total=progress.total,
        metrics=dict(progress.metrics),
        message=progress.message or None,
    )


def _description(job: Job, **known: Any) -> TrainingDescription:
    duration = job.duration
    values: dict[str, Any] = {
        "training_id": job.id,
        "state": job.state.value,
        "module_id": job.module_id,
        "module_name": job.module_name,
        "module_version": job.module_version,
        "model_name": job.model_name,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        # The clock may have been set back meanwhile.
        "duration_seconds": None if duration is None else max(0.0, duration.total_seconds()),
        "attempt": job.attempt,
        "retries": job.retries,
        "priority": job.priority,
        "progress": described_progress(job.progress),
        "reasons": list(job.reasons),
        "peak_memory": job.peak_memory,
        "path": job.output_path if job.state is JobState.COMPLETED else None,
        "size": job.output_bytes,
        "environment": {},
        "data": [],
        "checkpoint": job.checkpoint or None,
        "retry_of": job.retry_of or None,
        "again_of": job.again_of or None,
        "pinned": job.pinned,
        "promotion": job.promotion or None,
        "request_id": job.request_id or None,
        **known,
    }
    made: Any = TrainingDescription
    description: TrainingDescription = made(**values)
    return description
