"""What a job is: its kinds and states, the moves between them, and the record that the store keeps.

QUEUED -> RUNNING -> COMPLETED or ERRORED is the plain way; a cancel takes QUEUED to CANCELED, and
RUNNING over CANCELING to CANCELED; one that is to keep what it has goes over STOPPING to COMPLETED.
"""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kitfox.errors import FailedPrecondition

__all__ = [
    "MOVES",
    "TERMINAL",
    "DataRecord",
    "IllegalMove",
    "Job",
    "JobFilter",
    "JobKind",
    "JobOptions",
    "JobPage",
    "JobState",
    "Library",
    "Order",
    "Progress",
    "RetentionRules",
    "check_move",
]


class JobKind(enum.StrEnum):
    """What sort of work a job is; jobs of different kinds know nothing of each other."""

    TRAINING = "training"
    """Makes a model, in a worker process of its own."""
    PREDICTION = "prediction"
    """Runs a model on one request, in a server's process."""


class JobState(enum.StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    """It is in the store and waits for a free place."""
    RUNNING = "RUNNING"
    """Somebody has claimed it: a scheduler whose worker trains, or a server that runs a model."""
    STOPPING = "STOPPING"
    """Somebody asked it to end early and to keep what it has."""
    CANCELING = "CANCELING"
    """Somebody asked for its end while it ran; it is being stopped."""
    CANCELED = "CANCELED"
    """It ended on request: nothing of it runs any more, and it has no result."""
    COMPLETED = "COMPLETED"
    """Its result (a model, an answer) lies, whole and synced, in its place."""
    ERRORED = "ERRORED"
    """It ended without a result; `reasons` says why."""


MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED}),
    # Back to QUEUED: the one who claimed it ended before a worker began, or in the middle of work
    # that can be done again.
    JobState.RUNNING: frozenset(
        {
            JobState.COMPLETED,
            JobState.ERRORED,
            JobState.STOPPING,
            JobState.CANCELING,
            JobState.QUEUED,
        }
    ),
    # To CANCELED: there was nothing to keep.
    JobState.STOPPING: frozenset(
        {
            JobState.COMPLETED,
            JobState.ERRORED,
            JobState.CANCELING,
            JobState.CANCELED,
            JobState.QUEUED,
        }
    ),
    # To COMPLETED: the result was in its place when the request to cancel came.
    JobState.CANCELING: frozenset({JobState.CANCELED, JobState.COMPLETED}),
    JobState.CANCELED: frozenset(),
    JobState.COMPLETED: frozenset(),
    JobState.ERRORED: frozenset(),
}
"""The states that may follow each state."""

TERMINAL: frozenset[JobState] = frozenset(state for state, after in MOVES.items() if not after)
"""The states in which a job stays for ever."""


class Order(enum.StrEnum):
    """What the one who works on a job is told when it gives a sign of life."""

    GO = "go"
    """Go on."""
    STOP = "stop"
    """End early and keep what there is."""
    CANCEL = "cancel"
    """End; nothing is kept."""
    LOST = "lost"
    """The attempt does not count any more: whatever it still writes is refused."""


class IllegalMove(FailedPrecondition):
    """A change of state that `MOVES` does not hold.

    Args:
        before: The state to leave.
        after: The state to enter.
    """

    def __init__(self, before: JobState, after: JobState) -> None:
        self.before = before
        self.after = after
        allowed = ", ".join(sorted(MOVES[before])) or "nothing: it is final"
        super().__init__(f"A job cannot go from {before} to {after}; it may go to {allowed}")


def check_move(before: JobState, after: JobState) -> None:
    """Raises `IllegalMove` unless `MOVES` allows the step."""
    if after not in MOVES[before]:
        raise IllegalMove(before, after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A package of the author that a worker imports before it looks for the module."""

    package: str
    """The name to import."""
    path: str = ""
    """The entry of `sys.path` that it needs; empty if it is installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a training says it is."""

    fraction: float | None = None
    """0 to 1, where it can be told."""
    step: int | None = None
    """The step that was done last."""
    total: int | None = None
    """The number of steps there will be, where it is known."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the training measures, by name: the newest value of each."""
    message: str = ""
    """What it is about, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecord:
    """What one parameter of a training was trained with, for the record."""

    parameter: str
    """The parameter that it came in by."""
    kind: str
    """What sort of source it is, such as `file`, `directory`, `inline` or `s3`."""
    name: str
    """Which one: a path or an address; empty for data that came with the request."""
    rows: int | None = None
    """How many items were read, where they were read to the end."""
    size: int | None = None
    """Bytes."""
    sha256: str = ""
    """The digest; empty where it was not taken, as for very large data."""
    changed: str = ""
    """What tells another content of the same name: time of the last change, or an ETag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """How a training is to be run, as its caller asks."""

    priority: int | None = None
    """Higher goes first; equals in the order in which they came; None: 0. Here and below: of one
    that repeats another, None is as that one."""
    retries: int | None = None
    """How often it is begun again when its worker dies; None: as the module or the settings say."""
    promote: bool | None = None
    """Whether its model becomes the current version; None: as the settings say."""
    resume_path: str = ""
    """A checkpoint to begin from."""
    retry_of: str = ""
    """The ended job that this one tries again."""
    again_of: str = ""
    """The job whose record this one repeats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job as the store knows it. A change makes a new record."""

    id: str
    """What callers know it by: UUID text."""
    kind: JobKind = JobKind.TRAINING
    """What sort of work it is."""
    state: JobState = JobState.QUEUED
    """Where it is in its life."""
    module_id: str
    """Which module trains, or predicts."""
    module_name: str = ""
    """That module's name, for people."""
    module_version: str = ""
    """That module's version when the job was accepted."""
    model_name: str = ""
    """What the caller calls the model: of a training, the one that comes out; else the one that
    is asked."""
    parameters: str | None = None
    """JSON object: the arguments of `train`, or the request to predict from. None where it was
    not asked for: it may be as large as the training data, so lists leave it in the store."""
    libraries: tuple[Library, ...] = ()
    """What the worker imports."""
    model_paths: Mapping[str, str] = field(default_factory=dict)
    """Where each model lies that the parameters name by id."""
    data_base_dir: str = ""
    """Training files with a relative name are looked for here; empty: in the working directory."""
    working_dir: str = ""
    """The worker's working directory; empty: the scheduler's."""
    output_path: str = ""
    """Where the model will lie."""
    overwrite: bool = False
    """Whether a model that lies there already is replaced; else the training fails."""
    log_path: str = ""
    """The file that has all that the training printed and logged."""
    created: datetime.datetime
    """When it was accepted (aware, UTC, as all times here)."""
    started: datetime.datetime | None = None
    """When it was last claimed."""
    finished: datetime.datetime | None = None
    """When it entered a terminal state."""
    attempt: int = 0
    """How often it was claimed; what an earlier attempt still tries to write is refused."""
    worker_host: str = ""
    """The machine on which its scheduler, or its server, runs; empty before the first claim."""
    worker_pid: int | None = None
    """The process that trains: set when the worker begins."""
    worker_start: str = ""
    """When that process started, in the kernel's words; tells it from a later one of its number."""
    heartbeat: datetime.datetime | None = None
    """When the one who works on it last gave a sign of life."""
    progress: Progress | None = None
    """What the training last reported, if it reports."""
    log_tail: str = ""
    """The end of the log."""
    reasons: tuple[str, ...] = ()
    """Why it is ERRORED, or had to be begun again: sentences."""
    failure: str = ""
    """What made it ERRORED: `input` (a wrong value or type), `memory` (there was not enough), or
    empty for anything else."""
    peak_memory: int | None = None
    """The most memory that the worker held, in bytes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it ran on: versions of Python, Kitfox and the libraries, platform, host."""
    method: str = ""
    """The RPC that a prediction does, such as `HelloWorldTaskPredict`."""
    request_id: str = ""
    """Identifies the call that asked for it, where that is known."""
    priority: int = 0
    """Higher goes first; equals in the order in which they came."""
    retries: int = 0
    """How many deaths of its workers it may survive."""
    deaths: int = 0
    """How many of its workers have died."""
    beats: int = 0
    """Counts the signs of life: what matters is whether it has changed, not what time it is."""
    scheduler: str = ""
    """Who claimed it: host, process and when that started."""
    checkpoint: str = ""
    """The newest checkpoint that is whole."""
    resume_path: str = ""
    """The checkpoint of another job that it begins from."""
    retry_of: str = ""
    """The ended job that it tries again."""
    again_of: str = ""
    """The job whose record it repeats."""
    pinned: bool = False
    """Whether it is kept for as long as somebody says so."""
    promotion: str = ""
    """Whether its model becomes the current version: empty is no, else `wanted`, then `done` or
    `failed`."""
    data: tuple[DataRecord, ...] = ()
    """What it was trained with."""
    output_bytes: int | None = None
    """How large its model is."""
    removed: datetime.datetime | None = None
    """When its removal began; callers do not see it any more."""

    @property
    def duration(self) -> datetime.timedelta | None:
        """From the claim to the end; None while there is no end, or was no start."""
        if self.started is None or self.finished is None:
            return None
        # The clock may have been put back, or be another one than that of the worker.
        return max(self.finished - self.started, datetime.timedelta(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs somebody wants to see: those that all of it fits."""

    states: frozenset[JobState] = frozenset(JobState)
    """The states that they may be in."""
    module: str = ""
    """The module's id or name; empty: any."""
    model_name: str = ""
    """The model's name; empty: any."""
    text: str = ""
    """What id or model name contain; with `*` or `?` in it, a pattern for the whole of either."""
    created_from: datetime.datetime | None = None
    """Accepted at this moment or later."""
    created_before: datetime.datetime | None = None
    """Accepted earlier than this."""
    promotion: str = ""
    """What has become of the promotion; empty: anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """Some of the jobs that fit a filter."""

    jobs: tuple[Job, ...]
    """In order; without parameters and without the end of the log."""
    next_token: str = ""
    """What asks for the page after; empty on the last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionRules:
    """How much is kept of jobs that have ended; None is without limit."""

    seconds: float | None = None
    """For how long a job with a model is kept after its end."""
    count: int | None = None
    """How many ended jobs are kept."""
    bytes: int | None = None
    """How much of the disk the logs and models of ended jobs may take."""
    failed_seconds: float | None = None
    """For how long a job without a model is kept after its end."""
