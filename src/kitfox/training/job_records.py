"""The reading side of the job store: one job, a page of them, what workers are to do.

An object sees the jobs of one kind, as if there were no others, and none that is being removed.
"""

import builtins
import contextlib
import copy
from collections.abc import Collection, Iterator
from typing import Self

from kitfox.errors import Code, InvalidArgument, JobNotFound
from kitfox.training.database import Connection, Row, StoreError, open_database
from kitfox.training.job_rows import (
    SELECT,
    SELECT_WITH_LOG,
    numbers,
    state_names,
    to_job,
)
from kitfox.training.job_search import search
from kitfox.training.jobs import Job, JobFilter, JobKind, JobPage, JobState, Order
from kitfox.training.migrations import migrate

__all__ = ["UNDER_WAY", "JobRecords", "order_of"]

UNDER_WAY = (JobState.RUNNING, JobState.STOPPING, JobState.CANCELING)
"""The states of jobs that somebody works on."""
_MOST_VALUES = 500
"""How many values a query takes: not all databases take more than a thousand."""
_ORDERS = {
    JobState.RUNNING: Order.GO,
    JobState.STOPPING: Order.STOP,
    JobState.CANCELING: Order.CANCEL,
}


def order_of(state: JobState) -> Order:
    """What the one who works on a job in that state is to do."""
    return _ORDERS.get(state, Order.LOST)


class JobRecords:
    """The jobs of one kind in one database, to look at.

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
        if self.database.shared:  # whose roles may be allowed to read alone: find out at once
            with self.database.write() as connection:
                connection.change("UPDATE jobs SET state = state WHERE 1 = 0")
        self.kind = kind

    @property
    def url(self) -> str:
        """How another process opens the same store."""
        return self.database.url

    def of(self, kind: JobKind) -> Self:
        """The jobs of another kind in the same database, over the same connections."""
        store = copy.copy(self)
        store.kind = kind
        return store

    def close(self) -> None:
        """Lets go of all connections, also of those that `of` shares."""
        self.database.close()

    def get(self, job_id: str, *, log_tail: bool = True) -> Job:
        """The job of that id, without its parameters; `JobNotFound` if there is none.

        Args:
            job_id: Which job.
            log_tail: Whether the end of its log is read as well.
        """
        with self.database.read() as connection:
            return self._get(connection, job_id, log_tail=log_tail)

    def parameters(self, job_id: str) -> str:
        """The parameters of that job: JSON text. Those of a prediction go when it ends."""
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT parameters FROM job_parameters JOIN jobs ON job_id = id "
                "WHERE id = :id AND kind = :kind AND removed IS NULL",
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
        index = "jobs_listed" if set(states) == set(JobState) else "jobs_by_state"
        with self.database.read() as connection:
            rows = connection.query(
                f"{SELECT} {self.database.by(index)} WHERE kind = :kind AND removed IS NULL "
                f"AND state IN ({state_names(states)}) "
                f"ORDER BY number {order} LIMIT :limit OFFSET :offset",
                kind=self.kind.value,
                limit=limit,
                offset=offset,
            )
        return [self._job(row) for row in rows]

    def page(
        self,
        wanted: JobFilter,
        *,
        limit: int = 100,
        token: str = "",
        newest_first: bool = True,
    ) -> JobPage:
        """Jobs that fit, in the order in which they were added, or its reverse.

        Args:
            wanted: Which jobs.
            limit: How many at most.
            token: The `next_token` of the page before; empty for the first page.
            newest_first: Whether the one added last comes first.
        """
        after = _number_of(token) if token else None
        order = "DESC" if newest_first else "ASC"
        with self.database.read() as connection:
            with self._readable("the names of jobs"):
                found = search(
                    connection,
                    self.database,
                    self.kind,
                    wanted,
                    limit=limit + 1,  # one more tells whether there is a page after
                    after=after,
                    newest_first=newest_first,
                )
            shown = found[:limit]
            rows = connection.query(
                f"{SELECT} WHERE number IN ({numbers(shown)}) ORDER BY number {order}"
            )
        more = len(found) > limit and bool(shown)
        return JobPage(
            jobs=tuple(self._job(row) for row in rows), next_token=str(shown[-1]) if more else ""
        )

    def these(self, job_ids: Collection[str]) -> builtins.list[Job]:
        """Those of some jobs that are there, as in a page."""
        found: builtins.list[Job] = []
        wanted = builtins.list(job_ids)
        with self.database.read() as connection:
            for start in range(0, len(wanted), _MOST_VALUES):
                values = {
                    f"id{number}": job_id
                    for number, job_id in enumerate(wanted[start : start + _MOST_VALUES])
                }
                places = ", ".join(f":{name}" for name in values)
                rows = connection.query(
                    f"{SELECT} WHERE kind = :kind AND removed IS NULL AND id IN ({places})",
                    kind=self.kind.value,
                    **values,
                )
                found += [self._job(row) for row in rows]
        return found

    def counts(self) -> dict[JobState, int]:
        """How many jobs there are in each state."""
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT state, COUNT(*) AS jobs FROM jobs "
                "WHERE kind = :kind AND removed IS NULL GROUP BY state",
                kind=self.kind.value,
            )
        found = {row["state"]: int(row["jobs"]) for row in rows}
        return {state: found.get(state, 0) for state in JobState}

    def order(self, job_id: str, *, attempt: int) -> Order:
        """What the one who works on an attempt is to do; nothing is written."""
        with self.database.read() as connection:
            return self._order(connection, job_id, attempt)

    def signs(self) -> builtins.list[tuple[str, int, int, str, str]]:
        """Of each job under way: id, attempt, count of signs of life, host and scheduler."""
        index = self.database.by("jobs_by_state")
        with self.database.read() as connection:
            rows = connection.query(
                f"SELECT id, attempt, beats, worker_host, scheduler FROM jobs {index} "  # noqa: S608 -- constants
                f"WHERE kind = :kind AND state IN ({state_names(UNDER_WAY)}) ORDER BY number",
                kind=self.kind.value,
            )
        return [
            (row["id"], row["attempt"], row["beats"], row["worker_host"], row["scheduler"])
            for row in rows
        ]

    def _order(self, connection: Connection, job_id: str, attempt: int) -> Order:
        rows = connection.query(
            "SELECT state FROM jobs WHERE id = :id AND kind = :kind AND attempt = :attempt",
            id=job_id,
            kind=self.kind.value,
            attempt=attempt,
        )
        return order_of(JobState(rows[0]["state"])) if rows else Order.LOST

    def _get(self, connection: Connection, job_id: str, *, log_tail: bool = True) -> Job:
        rows = connection.query(
            (SELECT_WITH_LOG if log_tail else SELECT)
            + "WHERE id = :id AND kind = :kind AND removed IS NULL",
            id=job_id,
            kind=self.kind.value,
        )
        if not rows:
            raise self._unknown(job_id)
        return self._job(rows[0])

    def _job(self, row: Row) -> Job:
        """The job of a row."""
        with self._readable(f"the record of job {row['id']!r}"):
            return to_job(row)

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        """Says of what cannot be read that the store is damaged."""
        try:
            yield
        except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
            raise StoreError(
                self.database.name, f"is damaged: {what} cannot be read", code=Code.DATA_LOSS
            ) from error

    def _unknown(self, job_id: str) -> JobNotFound:
        return JobNotFound(job_id, f"{self.kind}_id")

    def _count(self, connection: Connection, state: JobState) -> int:
        rows = connection.query(
            "SELECT COUNT(*) AS jobs FROM jobs WHERE kind = :kind AND state = :state",
            kind=self.kind.value,
            state=state.value,
        )
        return int(rows[0]["jobs"])


def _number_of(token: str) -> int:
    """The row that a token stands for."""
    if token.isascii() and token.isdecimal() and len(token) < 19:
        return int(token)
    raise InvalidArgument(f"page_token: {token!r} is none that a page before has given")
