"""A job store that several servers share: PostgreSQL, or what else SQLAlchemy can speak to.

Only this file imports SQLAlchemy.
"""

import contextlib
from collections.abc import Iterator

import sqlalchemy
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from kitfox.errors import Code, InvalidArgument, Unavailable
from kitfox.training.database import Connection, Row, StoreError

__all__ = ["SqlAlchemyDatabase"]

_SCHEMA_LOCK = 0x6B6974666F78
"""The number of the advisory lock: `kitfox` in ASCII."""


_NOT_ALLOWED = ("42501", "25006")
"""PostgreSQL's numbers for what the role may not do, and for a database that is read-only."""
_IDLE_SECONDS = 30
"""How long a transaction may be open with nothing said in it: one whose process has been stopped in
the middle must not keep its rows from all others."""


def _limit_idleness(raw: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = raw.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")
    cursor.close()
    raw.commit()


class _SqlAlchemyConnection:
    """Statements of one transaction."""

    def __init__(self, raw: sqlalchemy.Connection) -> None:
        self._raw = raw

    def query(self, sql: str, **values: object) -> list[Row]:
        return [*self.each(sql, **values)]

    def each(self, sql: str, **values: object) -> Iterator[Row]:
        return (dict(row) for row in self._raw.execute(sqlalchemy.text(sql), values).mappings())

    def change(self, sql: str, **values: object) -> int:
        return self._raw.execute(sqlalchemy.text(sql), values).rowcount


class SqlAlchemyDatabase:
    """A database server."""

    shared = True
    row_number = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    for_update = "FOR UPDATE"
    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        try:
            self._engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
            sqlalchemy.event.listen(self._engine, "connect", _limit_idleness)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise InvalidArgument(f"The job store URL cannot be used: {error}") from error
        self.url = url
        self.name = self._engine.url.render_as_string(hide_password=True)
        if self._engine.dialect.name != "postgresql":
            raise InvalidArgument(
                f"The job store URL {self.name} names a {self._engine.dialect.name} database; "
                "expected sqlite or postgresql"
            )

    @contextlib.contextmanager
    def write(self, *, spare: bool = False) -> Iterator[Connection]:
        """A transaction that changes."""
        with self._explained(), self._engine.begin() as raw:
            yield _SqlAlchemyConnection(raw)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that looks."""
        with self._explained(), self._engine.connect() as raw:
            yield _SqlAlchemyConnection(raw)

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables."""
        rows = connection.query(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        )
        return {row["table_name"] for row in rows}

    def by(self, index: str) -> str:
        """Nothing: PostgreSQL finds the index by itself."""
        return ""

    def like(self, column: str, value: str) -> str:
        """A comparison with a pattern."""
        return f"{column} LIKE :{value} ESCAPE '!'"

    def pattern(self, text: str) -> str:
        """The pattern as LIKE has it."""
        plain = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        if "*" in text or "?" in text:
            return plain.replace("*", "%").replace("?", "_")
        return f"%{plain}%"

    def having(self, value: str, *columns: str) -> list[str]:
        """One condition, so that few texts travel."""
        return [f"({' OR '.join(f'strpos({column}, :{value}) > 0' for column in columns)})"]

    def joined(self, texts: str) -> str:
        """All texts of a group as one."""
        return f"string_agg({texts}, '')"

    def lock_schema(self, connection: Connection) -> None:
        """Waits for others who change tables."""
        connection.query("SELECT pg_advisory_xact_lock(:key)", key=_SCHEMA_LOCK)

    def back_up(self, connection: Connection, version: int) -> str:
        """Copies the tables to a schema of their own, within the transaction."""
        tables = sorted(self.tables(connection))
        (found,) = connection.query("SELECT current_schema() AS name")
        own = "kitfox" if found["name"] == "public" else found["name"]
        schemas = connection.query("SELECT nspname AS name FROM pg_namespace")
        taken = {row["name"] for row in schemas}
        name, number = f"{own}_backup_v{version}", 1
        while name in taken:  # an earlier backup, which stays
            number += 1
            name = f"{own}_backup_v{version}_{number}"
        try:
            connection.change(f'CREATE SCHEMA "{name}"')
            for table in tables:
                connection.change(f'CREATE TABLE "{name}"."{table}" AS TABLE "{table}"')
        except ProgrammingError as error:  # such as: permission denied
            raise StoreError(
                self.name,
                f"has version {version} and was left so: no backup can be made of it in a schema "
                f"{name} before it is changed: {_sentence(error)}",
            ) from error
        return f"schema {name}"

    def close(self) -> None:
        """Closes the pool."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            text = _sentence(error)
            if isinstance(error, OperationalError) or error.connection_invalidated:
                why = f"The job store {self.name} cannot be reached: {text}"
                raise Unavailable(why) from error
            if getattr(error.orig, "sqlstate", "") in _NOT_ALLOWED:
                raise StoreError(self.name, f"cannot be used: {text}") from error
            raise StoreError(self.name, f"failed: {text}", code=Code.INTERNAL) from error


def _sentence(error: DBAPIError) -> str:
    """The database's words in one line."""
    return "; ".join(line.strip() for line in str(error.orig).strip().splitlines())
