"""The joint between the store's SQL and a database: how to run statements, and to group them.

SQLite is spoken to through the standard library: importing SQLAlchemy takes 0.4 s, which every
worker and every start of a server would pay for nothing. Whatever else a URL names goes through
SQLAlchemy. Statements are the same text for both, with `:name` for values.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from kitfox.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
)

__all__ = [
    "Connection",
    "Database",
    "Row",
    "StoreError",
    "StoreGone",
    "open_database",
]

Row = Mapping[str, Any]
"""One row, by column name."""


class StoreError(FailedPrecondition):
    """A job store that cannot be used as it is.

    Args:
        name: The file or the address.
        why: What is wrong with it, and the cure where there is one; follows the name.
    """

    def __init__(self, name: str, why: str, *, code: Code | None = None) -> None:
        self.name = name
        super().__init__(f"The job store {name} {why}", code=code)


class StoreGone(StoreError):
    """A job store whose file somebody has removed while it was open.

    What is written into it by who has it open still would be lost.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "is gone: its file was removed", code=Code.DATA_LOSS)


class Connection(Protocol):
    """Statements of one transaction."""

    def query(self, sql: str, **values: object) -> list[Row]:
        """The rows that a SELECT finds."""
        ...

    def each(self, sql: str, **values: object) -> Iterator[Row]:
        """The same, one by one: of many long ones, no two are in memory at a time."""
        ...

    def change(self, sql: str, **values: object) -> int:
        """Runs any other statement and tells how many rows it changed."""
        ...


class Database(Protocol):
    """A place that holds tables."""

    name: str
    """The file or the address, without any password."""
    url: str
    """How another process opens the same one."""
    shared: bool
    """Whether servers on several machines may use it at the same time."""
    row_number: str
    """The type of a primary key that counts upwards by itself."""
    for_update: str
    """What makes a SELECT in a write transaction keep the rows it found."""
    skip_locked: str
    """The same, passing over rows that somebody else keeps."""

    def write(self, *, spare: bool = False) -> AbstractContextManager[Connection]:
        """A transaction that changes; committed at a clean end, else undone.

        Args:
            spare: Whether the world can do without it: it gets none of the room that is kept for
                the ends of jobs.
        """
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that only looks."""
        ...

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        ...

    def by(self, index: str) -> str:
        """What follows a table's name to have an index used, where the database can be told."""
        ...

    def like(self, column: str, value: str) -> str:
        """SQL: whether a column fits the `pattern` that the value of that name is."""
        ...

    def pattern(self, text: str) -> str:
        """What contains the text; one with `*` or `?` in it is a pattern already."""
        ...

    def having(self, value: str, *columns: str) -> list[str]:
        """Conditions: one of the columns has the value of that name in it.

        None where the texts are looked through faster when they are here.
        """
        ...

    def joined(self, texts: str) -> str:
        """SQL: the texts of all rows of a group, one after the other in any order."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keeps everybody else from changing tables until the end of the write transaction."""
        ...

    def back_up(self, connection: Connection, version: int) -> str:
        """Keeps the store as it was before this write transaction; tells where.

        Args:
            connection: The transaction, which has changed nothing yet.
            version: The version of its tables.
        """
        ...

    def close(self) -> None:
        """Lets go of all connections."""
        ...


def open_database(url: str, *, create: bool, busy_timeout: float) -> Database:
    """Opens what the URL names.

    Args:
        url: `sqlite:///relative.file`, `sqlite:////absolute.file`, or any SQLAlchemy URL.
        create: Whether a SQLite file that is not there is made.
        busy_timeout: How long, in seconds, to wait for a lock that another process holds.
    """
    if url.startswith("sqlite:"):
        from kitfox.training.sqlite_database import SqliteDatabase

        return SqliteDatabase(sqlite_path(url), create=create, busy_timeout=busy_timeout)
    from kitfox.training.sqlalchemy_database import SqlAlchemyDatabase

    return SqlAlchemyDatabase(url)


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///` URL names."""
    text = url.removeprefix("sqlite:///")
    if text == url or not text or ":memory:" in text:
        raise InvalidArgument(
            f"The job store URL {url!r} names no file: workers are processes of their own and "
            "need a file to share. Expected sqlite:///jobs.sqlite3 or sqlite:////path/jobs.sqlite3"
        )
    return Path(text).resolve()  # one name for one file: the scheduler's lock goes by it
