"""How a job is written in the store's tables, and read again: plain text and whole numbers."""

import datetime
import functools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from kitfox.training.database import Row
from kitfox.training.jobs import DataRecord, Job, JobKind, JobState, Library, Progress

__all__ = [
    "COLUMNS",
    "SELECT",
    "SELECT_WITH_LOG",
    "data_text",
    "environment_text",
    "now",
    "numbers",
    "progress_text",
    "state_names",
    "storable",
    "to_job",
    "to_number",
    "to_row",
]

_NAMES = (
    "id, kind, state, module_id, module_name, module_version, model_name, libraries, model_paths, "
    "data_base_dir, working_dir, output_path, overwrite, log_path, created, started, finished, "
    "attempt, worker_host, worker_pid, worker_start, heartbeat, progress, reasons, peak_memory, "
    "environment, method, request_id, priority, retries, deaths, beats, scheduler, checkpoint, "
    "resume_path, retry_of, again_of, pinned, promotion, data, output_bytes, removed, "
    "failure"
)
COLUMNS = tuple(_NAMES.split(", "))
"""What a row says of a job; parameters and the end of the log have tables of their own."""
SELECT = f"SELECT {_NAMES} FROM jobs "  # noqa: S608 -- constants of this file
"""Begins a query for jobs."""
SELECT_WITH_LOG = (
    f"SELECT {_NAMES}, (SELECT job_logs.log_tail FROM job_logs WHERE job_id = jobs.id) AS log_tail "  # noqa: S608 -- constants of this file
    "FROM jobs "
)
"""The same, with the end of the log."""


def now() -> int:
    """The present moment, as the store writes it."""
    return _number(datetime.datetime.now(datetime.UTC))


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def to_number(moment: datetime.datetime | None) -> int | None:
    """A moment in microseconds since 1970."""
    return None if moment is None else _number(moment)


def _number(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(number: int | None) -> datetime.datetime | None:
    return None if number is None else _EPOCH + number * _MICROSECOND


def state_names(states: Collection[JobState]) -> str:
    """The states as a list of SQL texts; safe, as they are names of the enum."""
    return ", ".join(f"'{JobState(state).value}'" for state in states) or "NULL"


def numbers(found: Iterable[int]) -> str:
    """Numbers as a list of SQL literals."""
    return ", ".join(str(int(number)) for number in found) or "NULL"


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def progress_text(progress: Progress | None) -> str | None:
    """Progress as its column has it."""
    return None if progress is None else json.dumps(asdict(progress))


def environment_text(environment: Mapping[str, str] | None) -> str | None:
    """An environment as its column has it."""
    return None if environment is None else json.dumps(dict(environment))


def data_text(data: Iterable[DataRecord] | None) -> str | None:
    """What was trained with, as its column has it."""
    return None if data is None else json.dumps([asdict(record) for record in data])


def to_row(job: Job) -> dict[str, object]:
    """All columns of a job."""
    row: dict[str, object] = {name: getattr(job, name) for name in COLUMNS}
    row.update(
        kind=job.kind.value,
        state=job.state.value,
        libraries=json.dumps([asdict(library) for library in job.libraries]),
        model_paths=json.dumps(dict(job.model_paths)),
        overwrite=int(job.overwrite),
        created=to_number(job.created),
        started=to_number(job.started),
        finished=to_number(job.finished),
        heartbeat=to_number(job.heartbeat),
        progress=progress_text(job.progress),
        reasons=json.dumps(job.reasons),
        environment=environment_text(job.environment),
        pinned=int(job.pinned),
        data=data_text(job.data),
        removed=to_number(job.removed),
    )
    return row


@functools.lru_cache(maxsize=64)
def _libraries(text: str) -> tuple[Library, ...]:
    """The libraries of a row: nearly all rows have the same ones."""
    return tuple(Library(**library) for library in json.loads(text))


def _loads(text: str) -> Any:
    """What a text of JSON says; short for one that says nothing, as most do."""
    return [] if text == "[]" else {} if text == "{}" else json.loads(text)


def to_job(row: Row) -> Job:
    """The job of a row."""
    values = dict(row)
    progress = values["progress"]
    values.update(
        kind=JobKind(values["kind"]),
        state=JobState(values["state"]),
        libraries=_libraries(values["libraries"]),
        model_paths=_loads(values["model_paths"]),
        overwrite=bool(values["overwrite"]),
        created=_moment(values["created"]),
        started=_moment(values["started"]),
        finished=_moment(values["finished"]),
        heartbeat=_moment(values["heartbeat"]),
        progress=Progress(**json.loads(progress)) if progress else None,
        log_tail=values.get("log_tail") or "",
        reasons=tuple(_loads(values["reasons"])),
        environment=json.loads(values["environment"]),
        pinned=bool(values["pinned"]),
        data=tuple(DataRecord(**record) for record in _loads(values["data"])),
        removed=_moment(values["removed"]),
    )
    return Job(**values)
