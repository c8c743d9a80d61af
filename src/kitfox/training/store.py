"""The job store: every query there is, each a method with a sentence.

What returns has been committed, and synced where the database syncs. All processes of a job store
(server, scheduler, workers) use this class, each with connections of its own. An object of it sees
the jobs of one kind, as if there were no others.
"""

import builtins
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kitfox.errors import AlreadyExists, ResourceExhausted
from kitfox.training.database import Connection
from kitfox.training.ended_jobs import EndedJobs
from kitfox.training.job_names import keep_names
from kitfox.training.job_records import UNDER_WAY
from kitfox.training.job_rows import (
    COLUMNS,
    SELECT,
    data_text,
    environment_text,
    now,
    numbers,
    progress_text,
    state_names,
    storable,
    to_row,
)
from kitfox.training.jobs import (
    TERMINAL,
    DataRecord,
    Job,
    JobKind,
    JobState,
    Order,
    Progress,
    check_move,
)

__all__ = ["JobStore"]

_INSERT = (
    f"INSERT INTO jobs ({', '.join(COLUMNS)}, log_tail) "  # noqa: S608 -- constants of this file
    f"VALUES ({', '.join(f':{name}' for name in COLUMNS)}, '')"  # log_tail: of an earlier version
)
_QUEUE_LIMITS = {
    JobKind.TRAINING: "training.queue_limit",
    JobKind.PREDICTION: "jobs.queue_limit",
}
"""The settings that say how many jobs may wait."""
_TRY_AGAIN_SECONDS = 5.0
"""What is told to who finds the queue full: nobody knows when a job will end."""
_ATTEMPT = "WHERE id = :id AND kind = :kind AND attempt = :attempt "
"""Finds a job, if nobody has begun a later attempt of it."""
_PUBLISHING = (JobState.RUNNING, JobState.STOPPING)
"""The states of jobs that may still give a result."""


class JobStore(EndedJobs):
    """The jobs of one kind in one database.

    Args:
        url: `sqlite:///file` or a PostgreSQL URL as SQLAlchemy writes it.
        kind: Which jobs.
        create: Whether a SQLite file that does not exist is made.
        busy_timeout: How long, in seconds, to wait for another process that is writing.
    """

    def add(self, job: Job, *, queue_limit: int | None = None) -> None:
        """Keeps a new job, unless as many as `queue_limit` wait already."""
        if job.kind is not self.kind:
            raise ValueError(f"job {job.id} is a {job.kind}; this store is for kind {self.kind}")
        with self.database.write(spare=True) as connection:
            if queue_limit is not None:
                waiting = self._count(connection, JobState.QUEUED)
                if waiting >= queue_limit:
                    raise ResourceExhausted(
                        f"The {self.kind} queue is full: {waiting} jobs are waiting and the "
                        f"setting {_QUEUE_LIMITS[self.kind]} is {queue_limit}",
                        _TRY_AGAIN_SECONDS,
                    )
            if connection.query("SELECT 1 FROM jobs WHERE id = :id", id=job.id):
                raise AlreadyExists(f"There is a job with the id {job.id} already")
            connection.change(_INSERT, **to_row(job))
            connection.change(
                "INSERT INTO job_parameters (job_id, parameters) VALUES (:id, :parameters)",
                id=job.id,
                parameters=job.parameters or "{}",
            )
            keep_names(connection, job.id)
            if job.log_tail:
                _keep_log_tail(connection, job.id, job.log_tail)

    def claim(self, *, host: str, scheduler: str = "", limit: int = 1) -> builtins.list[Job]:
        """Takes the most urgent waiting jobs to RUNNING and begins the next attempt of each.

        One transaction; of any number of schedulers one gets a job.

        Args:
            host: The machine on which they will run.
            scheduler: Who claims them.
            limit: How many at most.
        """
        with self.database.write() as connection:
            waiting = connection.query(
                f"SELECT number FROM jobs {self.database.by('jobs_waiting')} "  # noqa: S608 -- constants
                "WHERE kind = :kind AND state = 'QUEUED' "
                f"ORDER BY priority DESC, number LIMIT :limit {self.database.skip_locked}",
                kind=self.kind.value,
                limit=limit,
            )
            if not waiting:
                return []
            which = f"WHERE number IN ({numbers(row['number'] for row in waiting)})"
            connection.change(
                "UPDATE jobs SET state = 'RUNNING', attempt = attempt + 1, started = :now, "  # noqa: S608 -- constants
                "worker_host = :host, worker_pid = NULL, worker_start = '', heartbeat = NULL, "
                f"progress = NULL, scheduler = :scheduler {which}",
                now=now(),
                host=host,
                scheduler=scheduler,
            )
            rows = connection.query(f"{SELECT} {which} ORDER BY priority DESC, number")
        return [self._job(row) for row in rows]

    def claim_next(self, *, host: str) -> Job | None:
        """Takes the most urgent waiting job to RUNNING, if there is one."""
        claimed = self.claim(host=host)
        return claimed[0] if claimed else None

    def begin(
        self, job_id: str, *, attempt: int, pid: int, start: str, environment: Mapping[str, str]
    ) -> Job | None:
        """Notes which process works on an attempt; None if that attempt is no longer wanted."""
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET worker_pid = :pid, worker_start = :start, heartbeat = :now, "  # noqa: S608 -- constants
                f"beats = beats + 1, environment = :environment {_ATTEMPT} "
                "AND state = 'RUNNING' AND worker_pid IS NULL",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
                pid=pid,
                start=start,
                now=now(),
                environment=environment_text(environment),
            )
            return self._get(connection, job_id) if changed else None

    def beat(
        self,
        job_id: str,
        *,
        attempt: int,
        progress: Progress | None = None,
        log_tail: str | None = None,
        checkpoint: str | None = None,
    ) -> Order:
        """Keeps a sign of life, and what is new; tells what the one who gives it is to do."""
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET heartbeat = :now, beats = beats + 1, "  # noqa: S608 -- constants
                "progress = COALESCE(:progress, progress), "
                f"checkpoint = COALESCE(:checkpoint, checkpoint) {_ATTEMPT} "
                f"AND state IN ({state_names(UNDER_WAY)})",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
                now=now(),
                progress=progress_text(progress),
                checkpoint=checkpoint,
            )
            if not changed:
                return Order.LOST
            if log_tail is not None:
                _keep_log_tail(connection, job_id, log_tail)
            return self._order(connection, job_id, attempt)

    def requeue(self, job_id: str, *, attempt: int) -> bool:
        """Sends a claimed job back into the queue, unless a worker process has begun it."""
        check_move(JobState.RUNNING, JobState.QUEUED)
        with self.database.write() as connection:
            changed = connection.change(
                f"UPDATE jobs SET state = 'QUEUED', started = NULL {_ATTEMPT} "  # noqa: S608 -- constants
                "AND state = 'RUNNING' AND worker_pid IS NULL",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
            )
        return changed == 1

    def release(self, job_id: str, *, attempt: int, reasons: tuple[str, ...]) -> Job | None:
        """Sends a job whose worker has died back into the queue, as often as it may be.

        Args:
            job_id: Which job.
            attempt: The attempt that has died.
            reasons: Why; they stay in the record until the job ends.

        Returns:
            The waiting job; None if all `retries` are used up, or the attempt is not running.
        """
        check_move(JobState.RUNNING, JobState.QUEUED)
        with self.database.write() as connection:
            changed = connection.change(
                "UPDATE jobs SET state = 'QUEUED', started = NULL, deaths = deaths + 1, "  # noqa: S608 -- constants
                f"reasons = :reasons, worker_pid = NULL, worker_start = '' {_ATTEMPT} "
                "AND state = 'RUNNING' AND deaths < retries",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
                reasons=_reasons_text(reasons),
            )
            return self._get(connection, job_id) if changed else None

    def interrupt(self, job_id: str, to_state: JobState, *, attempt: int) -> Job | None:
        """Takes a job that waits for its next attempt out of the queue, to have it ended.

        Args:
            job_id: Which job.
            to_state: CANCELING or STOPPING, which it enters over RUNNING, all in one.
            attempt: The attempt that is over; None is given if there is a later one.
        """
        states = (JobState.QUEUED, JobState.RUNNING, to_state)
        moved = None
        with self.database.write() as connection:
            for before, after in itertools.pairwise(states):
                check_move(before, after)
                moved = self._move(connection, job_id, [before], after, attempt)
                if moved is None:
                    break
        return moved

    def set(self, job_id: str, *, pinned: bool | None = None, promotion: str | None = None) -> Job:
        """Changes what may change in any state; gives the job as it is then."""
        with self.database.write() as connection:
            connection.change(
                "UPDATE jobs SET pinned = COALESCE(:pinned, pinned), "
                "promotion = COALESCE(:promotion, promotion) "
                "WHERE id = :id AND kind = :kind AND removed IS NULL",
                id=job_id,
                kind=self.kind.value,
                pinned=None if pinned is None else int(pinned),
                promotion=promotion,
            )
            return self._get(connection, job_id)

    def move(
        self,
        job_id: str,
        from_states: Collection[JobState],
        to_state: JobState,
        *,
        attempt: int | None = None,
        reasons: tuple[str, ...] = (),
        failure: str = "",
        **measured: Any,
    ) -> Job | None:
        """Takes a job from one of some states to another; None if it is in none of them.

        Args:
            job_id: Which job.
            from_states: The states it may be in; `IllegalMove` if one of them does not lead there.
            to_state: The state it enters; a terminal one sets `finished`.
            attempt: The attempt that asks: refused if a later one has begun.
            reasons: Why, for ERRORED.
            failure: Of what kind that is; see `Job.failure`.
            measured: What else is known now: `log_tail`, `peak_memory`, `progress`,
                `environment`, `data`, `output_bytes`.
        """
        for state in from_states:
            check_move(state, to_state)
        with self.database.write() as connection:
            return self._move(
                connection,
                job_id,
                from_states,
                to_state,
                attempt,
                reasons=reasons,
                failure=failure,
                **measured,
            )

    def publish(
        self, job_id: str, *, attempt: int, put_in_place: Callable[[], None], **measured: Any
    ) -> Job | None:
        """Puts a result in its place and takes a running or stopping job to COMPLETED, as one.

        `put_in_place` is called while nobody else can change the job, and only if this attempt is
        still the one that runs: a cancelled or an old attempt never publishes. None if it is not.
        Should the process die after it and before the commit, the scheduler finds a model by its
        manifest and completes the job; a prediction is made again.
        """
        with self.database.write() as connection:
            wanted = connection.query(
                f"SELECT id FROM jobs {_ATTEMPT} AND state IN ({state_names(_PUBLISHING)}) "  # noqa: S608 -- constants
                f"{self.database.for_update}",
                id=job_id,
                kind=self.kind.value,
                attempt=attempt,
            )
            if not wanted:
                return None
            put_in_place()
            return self._move(
                connection, job_id, _PUBLISHING, JobState.COMPLETED, attempt, **measured
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
        failure: str = "",
        log_tail: str | None = None,
        peak_memory: int | None = None,
        progress: Progress | None = None,
        environment: Mapping[str, str] | None = None,
        data: Collection[DataRecord] | None = None,
        output_bytes: int | None = None,
    ) -> Job | None:
        changed = connection.change(
            "UPDATE jobs SET state = :to_state, finished = COALESCE(:finished, finished), "  # noqa: S608 -- constants
            "reasons = :reasons, failure = :failure, "
            "peak_memory = COALESCE(:peak_memory, peak_memory), "
            "progress = COALESCE(:progress, progress), "
            "environment = COALESCE(:environment, environment), data = COALESCE(:data, data), "
            "output_bytes = COALESCE(:output_bytes, output_bytes) "
            f"WHERE id = :id AND kind = :kind AND state IN ({state_names(from_states)})"
            + ("" if attempt is None else f" AND attempt = {int(attempt)}"),
            id=job_id,
            kind=self.kind.value,
            to_state=to_state.value,
            finished=now() if to_state in TERMINAL else None,
            reasons=_reasons_text(reasons),
            failure=failure,
            peak_memory=peak_memory,
            progress=progress_text(progress),
            environment=environment_text(environment),
            data=data_text(data),
            output_bytes=output_bytes,
        )
        if not changed:
            return None
        if log_tail is not None:
            _keep_log_tail(connection, job_id, log_tail)
        if self.kind is JobKind.PREDICTION and to_state in TERMINAL:
            # They are not needed any more, and may be large.
            connection.change("DELETE FROM job_parameters WHERE job_id = :id", id=job_id)
        return self._get(connection, job_id)


def _keep_log_tail(connection: Connection, job_id: str, log_tail: str) -> None:
    connection.change(
        "INSERT INTO job_logs (job_id, log_tail) VALUES (:id, :log_tail) "
        "ON CONFLICT (job_id) DO UPDATE SET log_tail = excluded.log_tail",
        id=job_id,
        log_tail=storable(log_tail),
    )


def _reasons_text(reasons: tuple[str, ...]) -> str:
    return json.dumps([storable(reason) for reason in reasons])
