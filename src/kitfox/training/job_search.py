"""How the jobs that fit a filter are found: their numbers, in order, and a few only.

A page begins after the last number of the page before, so however far back it lies it costs the
same. What is asked decides the way:

    no names                    an index that has all that matters, from the end that comes first
    names, few of the states    the index of these states, which has the names as well
    names                       the texts of `job_names`; what is found there is looked up

A time of acceptance is first made two numbers, between which all is that was accepted then.
"""

from collections.abc import Iterator
from itertools import islice

from kitfox.training.database import Connection, Database, Row
from kitfox.training.job_names import BLOCK, NameFilter
from kitfox.training.job_rows import numbers, state_names, to_number
from kitfox.training.jobs import JobFilter, JobKind, JobState

__all__ = ["search"]

_FEW = 20_000
"""How many rows of an index are looked at faster than the texts of many more jobs."""
_FIRST_TEXTS, _MOST_TEXTS = 4, 256
"""How many texts are read at first, and at most: each time it is four times as many."""
_LOOKED_UP = 500
"""How many jobs are looked up at a time."""


def search(
    connection: Connection,
    database: Database,
    kind: JobKind,
    wanted: JobFilter,
    *,
    limit: int,
    after: int | None,
    newest_first: bool,
) -> list[int]:
    """The numbers of the first jobs that fit.

    Args:
        connection: A transaction.
        database: What it is of.
        kind: The kind of the jobs.
        wanted: What they must fit.
        limit: How many at most.
        after: The number that the last job of the page before had; None for the first page.
        newest_first: Whether the greatest number comes first.
    """
    found = _Search(connection, database, kind, wanted, newest_first)
    if after is not None:
        found.begin_after(after)
    return found.first(limit) if wanted.states and found.narrow() else []


class _Search:
    def __init__(
        self,
        connection: Connection,
        database: Database,
        kind: JobKind,
        wanted: JobFilter,
        newest_first: bool,
    ) -> None:
        self._connection = connection
        self._database = database
        self._wanted = wanted
        self._newest_first = newest_first
        self._order = "DESC" if newest_first else "ASC"
        self._beyond = "<" if newest_first else ">"
        self._conditions = ["kind = :kind", "removed IS NULL"]
        self._of_texts = ["kind = :kind"]
        self._values: dict[str, object] = {"kind": kind.value}
        self._some_states = wanted.states != frozenset(JobState)

    def begin_after(self, number: int) -> None:
        """Passes over what has been on earlier pages."""
        self._need(f"number {self._beyond} :after", after=number)
        self._of_texts.append(f"block {self._beyond}= :after_block")
        self._values["after_block"] = number // BLOCK

    def narrow(self) -> bool:
        """Says between which numbers there is what is asked for; False: nowhere."""
        for name, sign, of_text in (
            ("created_from", ">=", "created_to"),
            ("created_before", "<", "created_from"),
        ):
            moment = to_number(getattr(self._wanted, name))
            if moment is not None:
                self._need(f"created {sign} :{name}", **{name: moment})
                self._of_texts.append(f"{of_text} {sign} :{name}")
        if not self._values.keys() & {"created_from", "created_before"}:
            return True
        (found,) = self._query(
            "SELECT MIN(block) AS first_block, MAX(block) AS last_block FROM job_names "  # noqa: S608 -- constants
            f"WHERE {' AND '.join(self._of_texts)}"
        )
        if found["first_block"] is None:
            return False
        first, last = found["first_block"] * BLOCK, found["last_block"] * BLOCK + BLOCK - 1
        self._need("number BETWEEN :first AND :last", first=first, last=last)
        return True

    def first(self, limit: int) -> list[int]:
        """The numbers of the first jobs."""
        wanted = self._wanted
        if wanted.promotion:
            self._need_names()
            self._need_states()
            # Said twice, as the index is of those that have any.
            self._need("promotion <> '' AND promotion = :promotion", promotion=wanted.promotion)
            return self._pass("jobs_promoted", limit)
        if wanted.module or wanted.model_name or wanted.text:
            if not self._some_states or not self._are_few():
                self._need_states()
                return list(islice(self._present(self._named(), limit), limit))
            self._need_names()
        return self._of_states(limit) if self._some_states else self._pass("jobs_listed", limit)

    def _need(self, condition: str, **values: object) -> None:
        self._conditions.append(condition)
        self._values |= values

    def _need_states(self) -> None:
        if self._some_states:
            self._need(f"state IN ({state_names(self._wanted.states)})")

    def _need_names(self) -> None:
        wanted = self._wanted
        if wanted.model_name:
            self._need("model_name = :model_name", model_name=wanted.model_name)
        if wanted.module:
            self._need("(module_id = :module OR module_name = :module)", module=wanted.module)
        if wanted.text:
            like = (self._database.like(column, "text") for column in ("model_name", "id"))
            self._need(f"({' OR '.join(like)})", text=self._database.pattern(wanted.text))

    def _query(self, sql: str, **values: object) -> list[Row]:
        return self._connection.query(sql, **self._values, **values)

    def _where(self, *others: str) -> str:
        return " AND ".join([*self._conditions, *others])

    def _pass(self, index: str, limit: int) -> list[int]:
        """Passes through an index until there are enough."""
        rows = self._query(
            f"SELECT number FROM jobs {self._database.by(index)} "  # noqa: S608 -- constants
            f"WHERE {self._where()} ORDER BY number {self._order} LIMIT :limit",
            limit=limit,
        )
        return [row["number"] for row in rows]

    def _of_states(self, limit: int) -> list[int]:
        """The first jobs of each state, and of those the first: few may have one of them."""
        order = f"ORDER BY number {self._order} LIMIT :limit"
        of_each = " UNION ALL ".join(
            f"SELECT number FROM (SELECT number FROM jobs {self._database.by('jobs_by_state')} "  # noqa: S608 -- constants
            f"WHERE state = '{state.value}' AND {self._where()} {order}) "
            f"AS jobs_{state.value.lower()}"
            for state in sorted(self._wanted.states)
        )
        rows = self._query(
            f"SELECT number FROM ({of_each}) AS jobs_of_states {order}",  # noqa: S608 -- constants
            limit=limit,
        )
        return [row["number"] for row in rows]

    def _are_few(self) -> bool:
        """Whether not many jobs are in the states."""
        states = f"state IN ({state_names(self._wanted.states)})"
        (found,) = self._query(
            "SELECT COUNT(*) AS jobs FROM (SELECT 1 AS job "  # noqa: S608 -- constants
            f"FROM jobs {self._database.by('jobs_by_state')} WHERE {self._where(states)} "
            "LIMIT :few) AS jobs_of_states",
            few=_FEW,
        )
        return int(found["jobs"]) < _FEW

    def _named(self) -> Iterator[int]:
        """Jobs whose names fit, in order, whatever else there is to them."""
        modules: list[int] = []
        if self._wanted.module:
            rows = self._query(
                "SELECT number FROM job_modules WHERE module_id = :module OR module_name = :module",
                module=self._wanted.module,
            )
            modules = [row["number"] for row in rows]
            if not modules:
                return
        names = NameFilter(self._wanted, modules)
        for row in self._texts(names):
            if found := names.numbers(row["names"], row["ids"]):
                yield from sorted(found, reverse=self._newest_first)

    def _texts(self, names: NameFilter) -> Iterator[Row]:
        """The texts in order, a few at first: there may be enough in them."""
        ids = "ids" if names.needs_ids else "'' AS ids"
        for number, part in enumerate(names.exact):
            self._of_texts += self._database.having(f"exact{number}", "names")
            self._values[f"exact{number}"] = part
        if names.part:
            self._of_texts += self._database.having("part", "names", "ids")
            self._values["part"] = names.part
        conditions, values, limit = self._of_texts, dict[str, object](), _FIRST_TEXTS
        while True:
            block = None
            for number, row in enumerate(
                self._connection.each(
                    f"SELECT block, names, {ids} FROM job_names "  # noqa: S608 -- constants
                    f"WHERE {' AND '.join(conditions)} ORDER BY block {self._order} LIMIT :limit",
                    **self._values,
                    **values,
                    limit=limit,
                ),
                start=1,
            ):
                yield row
                if number == limit:
                    block = row["block"]
            if block is None:
                return
            conditions = [*self._of_texts, f"block {self._beyond} :block"]
            values, limit = {"block": block}, min(4 * limit, _MOST_TEXTS)

    def _present(self, found: Iterator[int], limit: int) -> Iterator[int]:
        """Those of some jobs that are there and fit in all else, in their order.

        Args:
            found: The jobs.
            limit: How many are looked up at first: nearly all may fit.
        """
        while some := list(islice(found, limit)):
            rows = self._query(
                f"SELECT number FROM jobs WHERE {self._where(f'number IN ({numbers(some)})')} "  # noqa: S608 -- constants
                f"ORDER BY number {self._order}"
            )
            yield from (row["number"] for row in rows)
            limit = _LOOKED_UP
