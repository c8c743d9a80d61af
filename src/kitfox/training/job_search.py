"""How the jobs that fit a filter are found: SQL that gives their numbers, in order, and a few only.

A page begins after the last number of the page before, so however far back it lies it costs the
same. Jobs of some states alone are found state by state: few may have one of them. Else the index
that holds all that a filter looks at is passed through until there are enough.
"""

from kitfox.training.database import Database
from kitfox.training.job_rows import state_names, to_number
from kitfox.training.jobs import JobFilter, JobKind, JobState

__all__ = ["search"]


def search(
    database: Database,
    kind: JobKind,
    wanted: JobFilter,
    *,
    limit: int,
    after: int | None,
    newest_first: bool,
) -> tuple[str, dict[str, object]]:
    """The query, and the values in it.

    Args:
        database: Where it will be asked.
        kind: The kind of the jobs.
        wanted: What they must fit.
        limit: How many at most.
        after: The number that the last job of the page before had; None for the first page.
        newest_first: Whether the greatest number comes first.
    """
    values: dict[str, object] = {"kind": kind.value, "limit": limit}
    conditions = ["kind = :kind", "removed IS NULL"]
    if after is not None:
        conditions.append(f"number {'<' if newest_first else '>'} :after")
        values["after"] = after
    order = f"ORDER BY number {'DESC' if newest_first else 'ASC'} LIMIT :limit"
    some_states = wanted.states != frozenset(JobState)
    others = _conditions(database, wanted, values)
    if some_states and not others:
        return _by_state(database, wanted, " AND ".join(conditions), order), values
    if some_states:
        others.append(f"state IN ({state_names(wanted.states)})")
    condition = " AND ".join([*conditions, *others])
    index = database.by("jobs_listed")
    return f"SELECT number FROM jobs {index} WHERE {condition} {order}", values  # noqa: S608 -- constants


def _by_state(database: Database, wanted: JobFilter, condition: str, order: str) -> str:
    """The first jobs of each state, and of those the first."""
    if not wanted.states:
        return f"SELECT number FROM jobs WHERE 1 = 0 AND {condition} {order}"  # noqa: S608 -- constants
    of_each = " UNION ALL ".join(
        f"SELECT number FROM (SELECT number FROM jobs {database.by('jobs_by_state')} "  # noqa: S608 -- constants
        f"WHERE state = '{state.value}' AND {condition} {order}) AS jobs_{state.value.lower()}"
        for state in sorted(wanted.states)
    )
    return f"SELECT number FROM ({of_each}) AS jobs_of_states {order}"  # noqa: S608 -- constants


def _conditions(database: Database, wanted: JobFilter, values: dict[str, object]) -> list[str]:
    """What a row must fulfil besides its state; adds the values of that."""
    conditions = []
    for column, value in (("model_name", wanted.model_name), ("promotion", wanted.promotion)):
        if value:
            conditions.append(f"{column} = :{column}")
            values[column] = value
    if wanted.module:
        conditions.append("(module_id = :module OR module_name = :module)")
        values["module"] = wanted.module
    if wanted.text:
        texts = [database.like(column, "text") for column in ("model_name", "id")]
        conditions.append(f"({' OR '.join(texts)})")
        values["text"] = database.pattern(wanted.text)
    if wanted.created_from is not None:
        conditions.append("created >= :created_from")
        values["created_from"] = to_number(wanted.created_from)
    if wanted.created_before is not None:
        conditions.append("created < :created_before")
        values["created_before"] = to_number(wanted.created_before)
    return conditions
