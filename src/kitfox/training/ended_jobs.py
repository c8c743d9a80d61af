"""The store's queries about jobs that have come to their end: which have been kept long enough.

A job goes in two steps, so that nothing is left behind however the process ends between them: it is
marked, and from then on hidden; when its files are gone, its rows go.
"""

import builtins
import datetime
from collections.abc import Collection

from kitfox.training.database import Connection, Row
from kitfox.training.job_names import forget_names
from kitfox.training.job_records import JobRecords
from kitfox.training.job_rows import SELECT, now, state_names, to_number
from kitfox.training.jobs import TERMINAL, Job, JobState, RetentionRules

__all__ = ["EndedJobs"]

_MAY_GO = (
    "kind = :kind AND finished IS NOT NULL AND removed IS NULL AND pinned = 0 "
    "AND promotion <> 'wanted'"
)
"""Jobs that retention may take: a pinned one is kept, and one whose model is yet to be promoted."""
_UNUSED = (
    "promotion <> 'wanted' AND NOT EXISTS (SELECT 1 FROM models_in_use WHERE valid_to >= :now "
    "AND model IN (jobs.output_path, jobs.id, jobs.model_name || '@' || jobs.id))"
)
"""Jobs whose models no server has loaded, or is loading."""
_ENDED = state_names(TERMINAL)
_BYTES = "COALESCE(kept_bytes, output_bytes, 0)"
"""What a job takes on the disk, as far as that has been measured."""


class EndedJobs(JobRecords):
    """The jobs of one kind, as far as they have ended."""

    def ended_before(self, moment: datetime.datetime, *, limit: int = 1000) -> builtins.list[str]:
        """The ids of jobs that have come to their end before a moment."""
        with self.database.read() as connection:
            rows = connection.query(
                f"SELECT id FROM jobs WHERE kind = :kind AND state IN ({_ENDED}) "  # noqa: S608 -- constants
                "AND finished < :moment LIMIT :limit",
                kind=self.kind.value,
                moment=to_number(moment),
                limit=limit,
            )
        return [row["id"] for row in rows]

    def expired(
        self, rules: RetentionRules, moment: datetime.datetime, *, limit: int = 500
    ) -> builtins.list[Job]:
        """The jobs that break a rule at a moment, those that ended first before others.

        Those that are too old count for no other rule. Pinned jobs are never among them, and do not
        count; neither do those whose model waits for its promotion.
        """
        old, values = _age(rules, moment)
        values |= {"kind": self.kind.value, "limit": limit}
        found: dict[str, Row] = {}
        with self.database.read() as connection:
            for rows in (
                _too_old(connection, values),
                _too_many(connection, rules, old, values),
                _too_large(connection, rules, old, values),
            ):
                found.update((row["id"], row) for row in rows)
        oldest = sorted(found.values(), key=lambda row: int(row["finished"]))
        return [self._job(row) for row in oldest[:limit]]

    def unmeasured(self, *, limit: int = 500) -> builtins.list[Job]:
        """Ended jobs of which nobody has said yet what they take on the disk."""
        with self.database.read() as connection:
            rows = connection.query(
                f"{SELECT} WHERE {_MAY_GO} AND kept_bytes IS NULL LIMIT :limit",
                kind=self.kind.value,
                limit=limit,
            )
        return [self._job(row) for row in rows]

    def measured(self, kept_bytes: dict[str, int]) -> None:
        """Notes what jobs take on the disk, by id."""
        with self.database.write() as connection:
            for job_id, size in kept_bytes.items():
                connection.change(
                    "UPDATE jobs SET kept_bytes = :size WHERE id = :id AND kind = :kind",
                    size=size,
                    id=job_id,
                    kind=self.kind.value,
                )

    def note_use(self, server: str, models: Collection[str], *, seconds: float) -> None:
        """Notes which models a server uses, in place of what it has noted before.

        Args:
            server: Which server.
            models: Folders, ids of trainings, or `<model name>@<id>`.
            seconds: For how long that holds if it is not noted again.
        """
        moment = now()
        with self.database.write() as connection:
            connection.change(
                "DELETE FROM models_in_use WHERE server = :server OR valid_to < :moment",
                server=server,
                moment=moment,
            )
            for model in sorted(models):
                connection.change(
                    "INSERT INTO models_in_use (server, model, valid_to) "
                    "VALUES (:server, :model, :valid_to)",
                    server=server,
                    model=model,
                    valid_to=moment + int(seconds * 1_000_000),
                )

    def mark_removed(self, job_ids: Collection[str], *, unused: bool = False) -> builtins.list[Job]:
        """Hides ended jobs, for good; gives those that were hidden by this call.

        A pinned job is left as it is, and one that has not ended.

        Args:
            job_ids: Which jobs.
            unused: Whether those are left too that a server uses, or whose model is yet to be
                promoted.
        """
        marked = []
        further = f"AND {_UNUSED}" if unused else ""
        with self.database.write() as connection:
            for job_id in job_ids:
                changed = connection.change(
                    "UPDATE jobs SET removed = :now WHERE id = :id AND kind = :kind "  # noqa: S608 -- constants
                    f"AND finished IS NOT NULL AND removed IS NULL AND pinned = 0 {further}",
                    now=now(),
                    id=job_id,
                    kind=self.kind.value,
                )
                if changed:
                    marked += connection.query(f"{SELECT} WHERE id = :id", id=job_id)
        return [self._job(row) for row in marked]

    def begin_sweep(self, period: float) -> bool:
        """Notes that rules are looked at now; False if somebody has in the last `period` seconds.

        Asking costs next to nothing; only who gets a yes writes.
        """
        moment = now()
        with self.database.read() as connection:
            rows = connection.query(
                "SELECT begun FROM sweeps WHERE kind = :kind", kind=self.kind.value
            )
        # One that is to come was noted before the clock was set back.
        if rows and 0 <= moment - rows[0]["begun"] < period * 1_000_000:
            return False
        with self.database.write() as connection:
            connection.change(
                "INSERT INTO sweeps (kind, begun) VALUES (:kind, :moment) "
                "ON CONFLICT (kind) DO UPDATE SET begun = excluded.begun",
                kind=self.kind.value,
                moment=moment,
            )
        return True

    def removed(self, limit: int = 500) -> builtins.list[Job]:
        """Hidden jobs whose rows are there still."""
        with self.database.read() as connection:
            rows = connection.query(
                f"{SELECT} WHERE kind = :kind AND removed IS NOT NULL LIMIT :limit",
                kind=self.kind.value,
                limit=limit,
            )
        return [self._job(row) for row in rows]

    def remove(self, job_ids: Collection[str]) -> None:
        """Forgets jobs that have come to their end."""
        with self.database.write() as connection:
            for job_id in job_ids:
                which = "id = :id AND kind = :kind AND finished IS NOT NULL"
                forget_names(connection, job_id)
                for table in ("job_parameters", "job_logs"):
                    connection.change(
                        f"DELETE FROM {table} WHERE job_id = "  # noqa: S608 -- constants
                        f"(SELECT id FROM jobs WHERE {which})",
                        id=job_id,
                        kind=self.kind.value,
                    )
                connection.change(
                    f"DELETE FROM jobs WHERE {which}",  # noqa: S608 -- constants
                    id=job_id,
                    kind=self.kind.value,
                )


def _too_old(connection: Connection, values: dict[str, object]) -> list[Row]:
    """Those of each state, each found by an index: those that are kept for ever may be many."""
    found: list[Row] = []
    for state in sorted(TERMINAL):
        name = "models_from" if state is JobState.COMPLETED else "others_from"
        if name in values:
            found += connection.query(
                f"{SELECT} WHERE {_MAY_GO} AND state = '{state.value}' AND finished < :{name} "
                "ORDER BY finished, number LIMIT :limit",
                **values,
            )
    return found


def _age(rules: RetentionRules, moment: datetime.datetime) -> tuple[str, dict[str, object]]:
    """SQL that tells which jobs ended too long ago, and the values in it."""
    conditions, values = [], dict[str, object]()
    for name, seconds, comparison in (
        ("models_from", rules.seconds, "="),
        ("others_from", rules.failed_seconds, "<>"),
    ):
        if (first := _before(moment, seconds)) is not None:
            conditions.append(f"state {comparison} 'COMPLETED' AND finished < :{name}")
            values[name] = first
    return " OR ".join(conditions) or "1 = 0", values


def _too_many(
    connection: Connection, rules: RetentionRules, old: str, values: dict[str, object]
) -> list[Row]:
    if rules.count is None:
        return []
    which = f"WHERE {_MAY_GO} AND NOT ({old})"
    (found,) = connection.query(
        f"SELECT COUNT(*) AS jobs FROM jobs {which}",  # noqa: S608 -- constants
        **values,
    )
    most = max(0, min(int(str(values["limit"])), found["jobs"] - rules.count))
    return connection.query(
        f"{SELECT} {which} ORDER BY finished, number LIMIT :limit", **{**values, "limit": most}
    )


def _too_large(
    connection: Connection, rules: RetentionRules, old: str, values: dict[str, object]
) -> list[Row]:
    if rules.bytes is None:
        return []
    numbers = (
        "SELECT number FROM (SELECT number, finished, "  # noqa: S608 -- constants
        f"SUM({_BYTES}) OVER (ORDER BY finished DESC, number DESC) AS total "
        f"FROM jobs WHERE {_MAY_GO} AND NOT ({old})) AS sums "
        "WHERE total > :bytes ORDER BY finished, number LIMIT :limit"
    )
    return connection.query(
        f"{SELECT} WHERE number IN ({numbers})", **{**values, "bytes": rules.bytes}
    )


def _before(moment: datetime.datetime, seconds: float | None) -> int | None:
    """The store's number for a moment so long before; None if there was no such moment."""
    try:
        return None if seconds is None else to_number(moment - datetime.timedelta(seconds=seconds))
    except OverflowError:
        return None
