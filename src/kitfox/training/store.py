"""The job store: every query there is, each a method with a sentence.

What returns has been committed, and synced where the database syncs. All processes of a job store
(server, scheduler, workers) use this class, each with connections of its own. An object of it sees
the jobs of one kind, as if there were no others.
"""

import builtins
import copy
import datetime
import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from kitfox.errors import AlreadyExists, JobNotFound, ResourceExhausted
from kitfox.training.database import Connection, Row, open_database
from kitfox.training.jobs import TERMINAL, Job, JobKind, JobState, Library, Progress, check_move
from kitfox.training.migrations import migrate

__all__ = ["JobStore"]

_COLUMNS = (
    "id, kind, state, module_id, module_name, module_version, model_name, libraries, model_paths, "
    "data_base_dir, working_dir, output_path, overwrite, log_path, created, started, finished, "
    "attempt, worker_host, worker_pid, worker_start, heartbeat, progress, log_tail, reasons, "
    "peak_memory, environment, method, request_id"
)
_PLACES = ", ".join(f":{name}" for name in _COLUMNS.split(", "))
_SELECT = f"SELECT {_COLUMNS} FROM jobs "  # noqa: S608 -- constants of this file
_QUEUE_LIMITS = {
    JobKind.TRAINING: "training.queue_limit",
    JobKind.PREDICTION: "jobs.queue_limit",
}
"""The settings that say how many jobs may wait."""


class JobStore:
    """The jobs of one kind in one database.

    Args:
        url: `sqlite:///file` or a PostgreSQL URL as SQLAlchemy writes it.
        kind: Which jobs.
        create: Whether a SQLite file that does not exist is made.
        busy_timeout: How long, in seconds, to wait for another process that is writing.
    """

    def __init__(
        self,
        url: str,
        *,
        kind: JobKind = JobKind.TRAINING,
        create: bool = True,
        busy_timeout: float = 10.0,
    ) -> None:
        self.database = open_database(url, create=create, busy_timeout=busy_timeout)
        self.version = migrate(self.database)
        self.kind = kind

    @property
    def url(self) -> str:
        """How another process opens the same store."""
        return self.database.url

    def of(self, kind: JobKind) -> "JobStore":
        """The jobs of another kind in the same database, over the same connections."""
        store = copy.copy(self)
        store.kind = kind
        return store

    def close(self) -> None:
        """Lets go of all connections, also of those that `of` shares."""
        self.database.close()

    def add(self, job: Job, *, queue_limit: int | None = None) -> None:
        """Keeps a new job, unless as many as `queue_limit` wait already."""
        if job.kind is not self.kind:
            raise ValueError(f"job {job.id} is a {job.kind}; this store is for kind {self.kind}")
        with self.database.write() as connection:
            if queue_limit is not None:
                waiting = self._count(connection, JobState.QUEUED)
                if waiting >= queue_limit:
                    raise ResourceExhausted(
                        f"The {self.kind} queue is full: {waiting} jobs are waiting and the "
                        f"setting {_QUEUE_LIMITS[self.kind]} is {queue_limit}"
                    )
            if connection.query("SELECT 1 FROM jobs WHERE id = :id", id=job.id):
                raise AlreadyExists(f"There is a job with the id {job.id} already")
            connection.change(
                f"INSERT INTO jobs ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608 -- constants
                **_to_row(job),
            )
            connection.change(
                "INSERT INTO job_parameters (job_id, parameters) VALUES (:id, :parameters)",
                id=job.id,
                parameters=job.parameters or "{}",
            )

    def get(self, job_id: str) -> Job:
        """The job of that id, without its parameters; `JobNotFound` if there is none."""
        with self.database.read() as connection:
            return self._get(connection, job_id)

    def parameters(self, job_id: str) -> str:
        """The parameters of that job: JSON text. Those of a prediction go when it ends."""
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT parameters FROM job_parameters JOIN jobs ON job_id = id "
                "WHERE id = :id AND kind = :kind",
                id=job_id,
                kind=self.kind.value,
            )
        if not rows:
            raise self._unknown(job_id)
        return str(rows[0]["parameters"])

    def list(
        self,
        *,
        states: Collection[JobState] = tuple(JobState),
        limit: int = 100,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Job]:
        """The jobs in these states, in the order in which they were added, or its reverse."""
        order = "DESC" if newest_first else "ASC"
        with self.database.read() as connection:
            rows = connection.query(
                f"{_SELECT} WHERE kind = :kind AND state IN ({_names(states)}) "
                f"ORDER BY number {order} LIMIT :limit OFFSET :offset",
                kind=self.kind.value,
                limit=limit,
                offset=offset,
            )
        return [_from_row(row) for row in rows]

    def counts(self) -> dict[JobState, int]:
        """How many jobs there are in each state."""
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT state, COUNT(*) AS jobs FROM jobs WHERE kind = :kind GROUP BY state",
                kind=self.kind.value,
            )
        found = {row["state"]: int(row["jobs"]) for row in rows}
        return {state: found.get(state, 0) for state in JobState}

    def claim_next(self, *, host: str) -> Job | None:
        """Takes the job that has waited longest to RUNNING and begins its next attempt.

        One statement, so that of any number of schedulers one gets it. It is found again by the
        mark it leaves, as RETURNING is newer than the SQLite of systems still in use.
        """
        claim = secrets.token_hex(16)
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET state = 'RUNNING', claim = :claim, attempt = attempt + 1, "  # noqa: S608 -- constants
                "started = :now, worker_host = :host, worker_pid = NULL, worker_start = '', "
                "heartbeat = NULL, progress = NULL WHERE number = ("
                "SELECT number FROM jobs WHERE kind = :kind AND state = 'QUEUED' "
                f"ORDER BY number LIMIT 1 {self.database.skip_locked})",
                kind=self.kind.value,
                claim=claim,
                now=_to_number(_now()),
                host=host,
            )
            if not changed:
                return None
            rows = connection.query(_SELECT + "WHERE claim = :claim", claim=claim)
        return _from_row(rows[0])

    def begin(
        self, job_id: str, *, attempt: int, pid: int, start: str, environment: Mapping[str, str]
    ) -> Job | None:
        """Notes which process works on an attempt; None if that attempt is no longer wanted."""
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET worker_pid = :pid, worker_start = :start, heartbeat = :now, "
                "environment = :environment WHERE id = :id AND kind = :kind "
                "AND attempt = :attempt AND state = 'RUNNING' AND worker_pid IS NULL",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
                pid=pid,
                start=start,
                now=_to_number(_now()),
                environment=json.dumps(dict(environment)),
            )
            return self._get(connection, job_id) if changed else None

    def beat(
        self, job_id: str, *, attempt: int, progress: Progress | None = None, log_tail: str = ""
    ) -> bool:
        """Keeps a sign of life, the progress and the log; False if the attempt has ended."""
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET heartbeat = :now, progress = :progress, log_tail = :log_tail "
                "WHERE id = :id AND kind = :kind AND attempt = :attempt "
                "AND state IN ('RUNNING', 'CANCELING')",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
                now=_to_number(_now()),
                progress=_progress_text(progress),
                log_tail=_storable(log_tail),
            )
        return changed == 1

    def requeue(self, job_id: str, *, attempt: int) -> bool:
        """Sends a claimed job back into the queue, unless a worker process has begun it."""
        check_move(JobState.RUNNING, JobState.QUEUED)
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET state = 'QUEUED', started = NULL "
                "WHERE id = :id AND kind = :kind AND attempt = :attempt AND state = 'RUNNING' "
                "AND worker_pid IS NULL",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
            )
        return changed == 1

    def move(
        self,
        job_id: str,
        from_states: Collection[JobState],
        to_state: JobState,
        *,
        attempt: int | None = None,
        reasons: tuple[str, ...] = (),
        **measured: Any,
    ) -> Job | None:
        """Takes a job from one of some states to another; None if it is in none of them.

        Args:
            job_id: Which job.
            from_states: The states it may be in; `IllegalMove` if one of them does not lead there.
            to_state: The state it enters; a terminal one sets `finished`.
            attempt: The attempt that asks: refused if a later one has begun.
            reasons: Why, for ERRORED.
            measured: What else is known now: `log_tail`, `peak_memory`, `progress`.
        """
        for state in from_states:
            check_move(state, to_state)
        with self.database.write() as connection:
            return self._move(
                connection, job_id, from_states, to_state, attempt, reasons=reasons, **measured
            )

    def publish(
        self, job_id: str, *, attempt: int, put_in_place: Callable[[], None], **measured: Any
    ) -> Job | None:
        """Puts a result in its place and takes the job from RUNNING to COMPLETED, as one.

        `put_in_place` is called while nobody else can change the job, and only if this attempt is
        still the one that runs: a cancelled or an old attempt never publishes. None if it is not.
        Should the process die after it and before the commit, the scheduler finds a model by its
        manifest and completes the job; a prediction is made again.
        """
        with self.database.write() as connection:
            wanted = connection.query(
                "SELECT id FROM jobs WHERE id = :id AND kind = :kind AND attempt = :attempt "  # noqa: S608 -- constants
                f"AND state = 'RUNNING' {self.database.for_update}",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
            )
            if not wanted:
                return None
            put_in_place()
            return self._move(
                connection, job_id, [JobState.RUNNING], JobState.COMPLETED, attempt, **measured
            )

    def ended_before(self, moment: datetime.datetime, *, limit: int = 1000) -> builtins.list[str]:
        """The ids of jobs that have come to their end before a moment."""
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT id FROM jobs WHERE kind = :kind AND finished < :moment LIMIT :limit",
                kind=self.kind.value,
                moment=_to_number(moment),
                limit=limit,
            )
        return [row["id"] for row in rows]

    def remove(self, job_ids: Collection[str]) -> None:
        """Forgets jobs that have come to their end."""
        with self.database.write() as connection:
            for job_id in job_ids:
                which = "id = :id AND kind = :kind AND finished IS NOT NULL"
                connection.change(
                    "DELETE FROM job_parameters WHERE job_id = "  # noqa: S608 -- constants
                    f"(SELECT id FROM jobs WHERE {which})",
                    id=job_id,
                    kind=self.kind.value,
                )
                connection.change(
                    f"DELETE FROM jobs WHERE {which}",  # noqa: S608 -- constants
                    id=job_id,
                    kind=self.kind.value,
                )

    def _move(
        self,
        connection: Connection,
        job_id: str,
        from_states: Collection[JobState],
        to_state: JobState,
        attempt: int | None,
        *,
        reasons: tuple[str, ...] = (),
        log_tail: str | None = None,
        peak_memory: int | None = None,
        progress: Progress | None = None,
    ) -> Job | None:
        changed = connection.change(
            "UPDATE jobs SET state = :to_state, finished = COALESCE(:finished, finished), "  # noqa: S608 -- constants
            "reasons = :reasons, log_tail = COALESCE(:log_tail, log_tail), "
            "peak_memory = COALESCE(:peak_memory, peak_memory), "
            "progress = COALESCE(:progress, progress) "
            f"WHERE id = :id AND kind = :kind AND state IN ({_names(from_states)})"
            + ("" if attempt is None else f" AND attempt = {int(attempt)}"),
            id=job_id,
            kind=self.kind.value,
            to_state=to_state.value,
            finished=_to_number(_now()) if to_state in TERMINAL else None,
            reasons=json.dumps([_storable(reason) for reason in reasons]),
            log_tail=None if log_tail is None else _storable(log_tail),
            peak_memory=peak_memory,
            progress=_progress_text(progress),
        )
        if not changed:
            return None
        if self.kind is JobKind.PREDICTION and to_state in TERMINAL:
            # They are not needed any more, and may be large.
            connection.change("DELETE FROM job_parameters WHERE job_id = :id", id=job_id)
        return self._get(connection, job_id)

    def _get(self, connection: Connection, job_id: str) -> Job:
        rows = connection.query(
            _SELECT + "WHERE id = :id AND kind = :kind", id=job_id, kind=self.kind.value
        )
        if not rows:
            raise self._unknown(job_id)
        return _from_row(rows[0])

    def _unknown(self, job_id: str) -> JobNotFound:
        return JobNotFound(job_id, f"{self.kind}_id")

    def _count(self, connection: Connection, state: JobState) -> int:
        rows = connection.query(
            "SELECT COUNT(*) AS jobs FROM jobs WHERE kind = :kind AND state = :state",
            kind=self.kind.value,
            state=state.value,
        )
        return int(rows[0]["jobs"])


def _names(states: Collection[JobState]) -> str:
    """The states as a list of SQL texts; safe, as they are names of the enum."""
    return ", ".join(f"'{JobState(state).value}'" for state in states) or "NULL"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def _to_number(moment: datetime.datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _from_number(number: int | None) -> datetime.datetime | None:
    return None if number is None else _EPOCH + number * _MICROSECOND


def _storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _progress_text(progress: Progress | None) -> str | None:
    return None if progress is None else json.dumps(asdict(progress))


def _to_row(job: Job) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(job, name) for name in _COLUMNS.split(", ")}
    row.update(
        kind=job.kind.value,
        state=job.state.value,
        libraries=json.dumps([asdict(library) for library in job.libraries]),
        model_paths=json.dumps(dict(job.model_paths)),
        overwrite=int(job.overwrite),
        created=_to_number(job.created),
        started=_to_number(job.started),
        finished=_to_number(job.finished),
        heartbeat=_to_number(job.heartbeat),
        progress=_progress_text(job.progress),
        reasons=json.dumps(job.reasons),
        environment=json.dumps(dict(job.environment)),
    )
    return row


def _from_row(row: Row) -> Job:
    values = dict(row)
    progress = values["progress"]
    values.update(
        kind=JobKind(values["kind"]),
        state=JobState(values["state"]),
        libraries=tuple(Library(**library) for library in json.loads(values["libraries"])),
        model_paths=json.loads(values["model_paths"]),
        overwrite=bool(values["overwrite"]),
        created=_from_number(values["created"]),
        started=_from_number(values["started"]),
        finished=_from_number(values["finished"]),
        heartbeat=_from_number(values["heartbeat"]),
        progress=Progress(**json.loads(progress)) if progress else None,
        reasons=tuple(json.loads(values["reasons"])),
        environment=json.loads(values["environment"]),
    )
    return Job(**values)
