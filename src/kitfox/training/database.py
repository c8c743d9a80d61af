"""The joint between the store's SQL and a database: how to run statements, and to group them.

SQLite is spoken to through the standard library: importing SQLAlchemy takes 0.4 s, which every
worker and every start of a server would pay for nothing. Whatever else a URL names goes through
SQLAlchemy. Statements are the same text for both, with `:name` for values.
"""

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from kitfox.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
    KitfoxError,
    ResourceExhausted,
    Unavailable,
)

__all__ = ["Connection", "Database", "Row", "SqliteDatabase", "StoreError", "open_database"]

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


class Connection(Protocol):
    """Statements of one transaction."""

    def query(self, sql: str, **values: object) -> list[Row]:
        """The rows that a SELECT finds."""
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

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that changes; committed at a clean end, else undone."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that only looks."""
        ...

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        ...

    def like(self, column: str, value: str) -> str:
        """SQL: whether a column fits the `pattern` that the value of that name is."""
        ...

    def pattern(self, text: str) -> str:
        """What contains the text; one with `*` or `?` in it is a pattern already."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keeps everybody else from changing tables until the end of the write transaction."""
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


class _SqliteConnection:
    """Statements of one SQLite transaction."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def query(self, sql: str, **values: object) -> list[Row]:
        return self._raw.execute(sql, values).fetchall()

    def change(self, sql: str, **values: object) -> int:
        return self._raw.execute(sql, values).rowcount


class SqliteDatabase:
    """One file, for the processes of one machine."""

    shared = False
    row_number = "INTEGER PRIMARY KEY AUTOINCREMENT"
    for_update = ""  # a write transaction keeps all other writers out
    skip_locked = ""

    def __init__(self, path: Path, *, create: bool, busy_timeout: float) -> None:
        self.path = path
        self.name = str(path)
        self.url = f"sqlite:///{path}"
        self._busy_timeout = busy_timeout
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            self._check_file(create)
        except OSError as error:
            raise StoreError(self.name, f"cannot be used: {error.strerror}") from error
        with self.write():  # find out at once: not SQLite, locked, read-only
            pass

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that changes."""
        # IMMEDIATE: taking the write lock first, and waiting for it, means that no statement
        # inside can fail because another process wrote in between.
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that looks."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables."""
        rows = connection.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {row["name"] for row in rows}

    def like(self, column: str, value: str) -> str:
        """A comparison with a pattern."""
        return f"{column} GLOB :{value}"

    def pattern(self, text: str) -> str:
        """The pattern as GLOB has it."""
        plain = text.replace("[", "[[]")
        return plain if "*" in text or "?" in text else f"*{plain}*"

    def lock_schema(self, connection: Connection) -> None:
        """Nothing to do: a write transaction keeps all other writers out."""

    def close(self) -> None:
        """Closes what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for raw in idle:
            raw.close()

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._explained():
            raw = self._take()
            try:
                raw.execute(begin)
                yield _SqliteConnection(raw)
                raw.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may leave the transaction open or closed: a connection that
                # saw any trouble is not used again, and closing it undoes what is open.
                raw.close()
                raise
            with self._lock:
                self._idle.append(raw)

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect(self.path, "rw")

    def _connect(self, path: Path, mode: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        raw.row_factory = sqlite3.Row
        # FULL: a commit is on the disk before it returns, also in WAL mode.
        raw.execute("PRAGMA synchronous=FULL")
        return raw

    def _check_file(self, create: bool) -> None:
        if self.path.is_dir():
            raise StoreError(self.name, "is a folder; expected a SQLite file")
        if not self.path.exists():
            if not create:
                raise StoreError(self.name, "does not exist")
            self._create()
        if self.path.stat().st_size == 0:
            raise StoreError(
                self.name,
                "is empty (0 bytes), so its jobs are lost; remove it to begin with a new store",
            )
        if not os.access(self.path, os.W_OK):  # SQLite would open it and fail much later
            raise StoreError(self.name, "cannot be written: the file is read-only")

    def _create(self) -> None:
        """Makes an empty database under another name and puts it in place whole.

        So a file of no bytes is always damage, and of two processes that come at the same time
        one makes the file and both use it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}")
        try:
            # For its owner alone: a job's parameters may hold the keys of an object store.
            with contextlib.suppress(OSError):  # the next line says it in the database's words
                fresh.touch(mode=0o600)
            with self._explained(), contextlib.closing(self._connect(fresh, "rwc")) as raw:
                raw.execute("PRAGMA journal_mode=WAL")  # kept in the file's header
            with contextlib.suppress(FileExistsError):
                os.link(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the database's errors into sentences that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> KitfoxError:
        text = str(error)
        match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
            case ["NOTADB"]:
                return StoreError(self.name, "is not a SQLite database", code=Code.DATA_LOSS)
            case ["CORRUPT"]:
                return StoreError(self.name, f"is damaged: {text}", code=Code.DATA_LOSS)
            case ["READONLY"]:
                return StoreError(self.name, "cannot be written: file or folder is read-only")
            case ["BUSY" | "LOCKED"]:
                return Unavailable(
                    f"The job store {self.name} is locked by another process; "
                    f"waited {self._busy_timeout:g} s"
                )
            case ["FULL"]:
                return ResourceExhausted(f"The job store {self.name} cannot grow: the disk is full")
            case ["CANTOPEN"]:
                return StoreError(self.name, "cannot be opened: no permission, or no such folder")
        return StoreError(self.name, f"failed: {text}", code=Code.INTERNAL)
