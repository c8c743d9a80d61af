"""The store's SQL in SQLite: one file, for the processes of one machine."""

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from kitfox.errors import (
    Code,
    DiskFull,
    KitfoxError,
    Unavailable,
)
from kitfox.training.database import Connection, Row, StoreError, StoreGone
from kitfox.training.store_files import Reserve, back_up, free_bytes, signs_of

__all__ = ["SqliteDatabase"]

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.005
"""Seconds between two tries to take the write lock. SQLite's own pauses grow to 100 ms, which is
what a caller may wait for a lock that is held for less than one."""
_CACHE = 32 << 10
"""KiB of pages that a connection may keep: as much as a list of 100,000 jobs is found in."""
_CHECKPOINT_PATIENCE = 500
"""Milliseconds that others have to end their reading before the log of changes is cut."""
_BROKEN_TEXT = "is damaged: it holds broken text"
_FileId: TypeAlias = tuple[int, int]
"""Tells a file from any other: device and number."""
_NO_ROOM = 64 << 10
"""With fewer bytes free than this an error of input or output is taken for a full disk, as SQLite
does not tell: the file that its readers share, for one, cannot grow then."""


class _SqliteConnection:
    """Statements of one SQLite transaction."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self.size = 0
        """How many bytes it has been given to write, about."""

    def query(self, sql: str, **values: object) -> list[Row]:
        return [*self.each(sql, **values)]

    def each(self, sql: str, **values: object) -> Iterator[Row]:
        cursor = self._raw.execute(sql, values)
        # Of a row of sqlite3.Row each value is found by comparing names from the first one on.
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def change(self, sql: str, **values: object) -> int:
        self.size += sum(len(value) if isinstance(value, str) else 8 for value in values.values())
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
        self._idle: list[tuple[_FileId, sqlite3.Connection]] = []
        self._stale: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        # Of its holder's: a signal may raise in a thread before it can let go.
        self._writing = threading.RLock()
        self.reserve = Reserve(path)
        try:
            self._check_file(create)
        except OSError as error:
            raise StoreError(self.name, f"cannot be used: {error.strerror}") from error
        with self.write():  # find out at once: not SQLite, locked, read-only
            pass
        if create:
            self.reserve.make()

    @contextlib.contextmanager
    def write(self, *, spare: bool = False) -> Iterator[Connection]:
        """A transaction that changes."""
        if spare and not self.reserve.make():
            raise DiskFull(
                "keeping room for the ends of jobs",
                self.path.parent,
                needed=2 * self.reserve.size,
                free=free_bytes(self.path.parent),
            )
        # The threads of this process wait for each other here, where the next one is woken as
        # soon as it is its turn.
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise self._locked()
        try:
            with self._transaction(self._begin_writing) as connection:
                yield connection
        except DiskFull:
            if not spare:
                self._make_room()
            raise
        finally:
            self._writing.release()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that looks."""
        with self._transaction(self._begin_reading) as connection:
            yield connection

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables."""
        rows = connection.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {row["name"] for row in rows}

    def by(self, index: str) -> str:
        """Names the index, as the database has no figures from which it could find it."""
        return f"INDEXED BY {index}"

    def like(self, column: str, value: str) -> str:
        """A comparison with a pattern."""
        return f"{column} GLOB :{value}"

    def pattern(self, text: str) -> str:
        """The pattern as GLOB has it."""
        plain = text.replace("[", "[[]")
        return plain if "*" in text or "?" in text else f"*{plain}*"

    def having(self, value: str, *columns: str) -> list[str]:
        """None: its `instr` takes three times as long as Python's `in`."""
        return []

    def joined(self, texts: str) -> str:
        """All texts of a group as one."""
        return f"group_concat({texts}, '')"

    def lock_schema(self, connection: Connection) -> None:
        """Nothing to do: a write transaction keeps all other writers out."""

    def back_up(self, connection: Connection, version: int) -> str:
        """Copies the store to a file beside it."""
        try:
            # Over another connection, which sees what is committed; this one keeps writers out.
            with contextlib.closing(self._connect(self.path, "rw")) as source:
                return str(back_up(source, self.path, version))
        except OSError as error:
            raise StoreError(
                self.name,
                f"has version {version} and was left so: no backup can be made of it beside it "
                f"before it is changed: {error.strerror}",
            ) from error

    def close(self) -> None:
        """Closes what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, raw in idle:
            raw.close()

    @contextlib.contextmanager
    def _transaction(self, begin: Callable[[sqlite3.Connection], None]) -> Iterator[Connection]:
        file, raw = self._take()
        connection = _SqliteConnection(raw)
        with self._explained(connection):
            try:
                begin(raw)
                yield connection
                raw.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may leave the transaction open or closed: a connection that
                # saw any trouble is not used again, and closing it undoes what is open.
                raw.close()
                raise
            if file is None:
                raw.close()
                return
            with self._lock:
                self._idle.append((file, raw))

    def _begin_reading(self, raw: sqlite3.Connection) -> None:
        raw.execute(f"PRAGMA busy_timeout={int(self._busy_timeout * 1000)}")
        raw.execute("BEGIN")

    def _begin_writing(self, raw: sqlite3.Connection) -> None:
        """Takes the write lock, and waits for it.

        Taking it first means that no statement after it can fail because another process wrote in
        between.
        """
        raw.execute("PRAGMA busy_timeout=0")
        deadline = time.monotonic() + self._busy_timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _kind(error) not in ("BUSY", "LOCKED") or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 1.5 * pause)

    def _make_room(self) -> None:
        """Lets the ends of jobs be written though the disk is full.

        The log of changes goes into the file, which may have to grow for it, and gives its own room
        back. A part of that becomes the reserve at once: else the log would take all of it, and the
        next time there would be no room for the file to grow.
        """
        self.reserve.give_up()
        with contextlib.suppress(KitfoxError), self._explained():
            _, raw = self._take()
            with contextlib.closing(raw):
                raw.execute(f"PRAGMA busy_timeout={_CHECKPOINT_PATIENCE}")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.reserve.make_some()

    def _take(self) -> tuple[_FileId | None, sqlite3.Connection]:
        """A connection to the file that is in the store's place, and which file that is.

        None for the file means that the connection is not to be used again.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise StoreGone(self.name) from None
        except OSError as error:
            raise StoreError(self.name, f"cannot be used: {error.strerror}") from error
        file = found.st_dev, found.st_ino
        with self._lock:
            while self._idle:
                known, raw = self._idle.pop()
                if known == file:
                    return file, raw
                # Of a file that another one has taken the place of. It is not closed: that would
                # remove the log of changes by its name, which is that of the other one by now.
                self._stale.append(raw)
        with self._explained():
            raw = self._connect(self.path, "rw")
            # SQLite opens for reading what it cannot open for writing, be it for this once.
            return file if _can_write(raw) else None, raw

    def _connect(self, path: Path, mode: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        # FULL: a commit is on the disk before it returns, also in WAL mode.
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute(f"PRAGMA cache_size=-{_CACHE}")
        return raw

    def _check_file(self, create: bool) -> None:
        if self.path.is_dir():
            raise StoreError(self.name, "is a folder; expected a SQLite file")
        if not self.path.exists():
            if not create:
                raise StoreError(self.name, "does not exist")
            self._check_new()
            self._create()
        if self.path.stat().st_size == 0:
            signs = "".join(f" and {sign.name}" for sign in signs_of(self.path))
            raise StoreError(
                self.name,
                "is empty (0 bytes), so its jobs are lost; restore it, or remove it"
                f"{signs} to begin with a new store",
            )
        if not os.access(self.path, os.W_OK):  # SQLite would open it and fail much later
            raise StoreError(self.name, "cannot be written: the file is read-only")

    def _check_new(self) -> None:
        """Refuses to make a store where there has been one."""
        signs = signs_of(self.path)
        if signs and not self.path.exists():  # somebody else may just have made it
            names = ", ".join(sign.name for sign in signs)
            raise StoreError(
                self.name,
                f"is gone, though {names} {'is' if len(signs) == 1 else 'are'} there; restore it, "
                f"or remove {'that' if len(signs) == 1 else 'those'} to begin with a new store",
                code=Code.DATA_LOSS,
            )

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
    def _explained(self, connection: _SqliteConnection | None = None) -> Iterator[None]:
        """Turns the database's errors into sentences that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error, connection.size if connection else 0) from error
        except UnicodeDecodeError as error:  # of the message itself, which names broken things
            raise StoreError(self.name, _BROKEN_TEXT, code=Code.DATA_LOSS) from error

    def _explain(self, error: sqlite3.Error, size: int) -> KitfoxError:
        text = str(error)
        free = free_bytes(self.path.parent)
        match _kind(error):
            case "NOTADB":
                return StoreError(self.name, "is not a SQLite database", code=Code.DATA_LOSS)
            case "CORRUPT":
                return StoreError(self.name, f"is damaged: {text}", code=Code.DATA_LOSS)
            case "READONLY":
                return StoreError(self.name, "cannot be written: file or folder is read-only")
            case "BUSY" | "LOCKED":
                return self._locked()
            case "FULL":
                return DiskFull("writing the job store", self.name, needed=size, free=free)
            case "IOERR" if free is not None and free < _NO_ROOM:
                return DiskFull("writing the job store", self.name, needed=size, free=free)
            case "CANTOPEN":
                return StoreError(self.name, "cannot be opened: no permission, or no such folder")
        if text.startswith("Could not decode to UTF-8"):  # the text itself follows
            return StoreError(self.name, _BROKEN_TEXT, code=Code.DATA_LOSS)
        return StoreError(self.name, f"failed: {text}", code=Code.INTERNAL)

    def _locked(self) -> Unavailable:
        return Unavailable(
            f"The job store {self.name} is locked by another process; "
            f"waited {self._busy_timeout:g} s"
        )


def _can_write(raw: sqlite3.Connection) -> bool:
    """Whether a connection may write, be it that it has to wait for others."""
    raw.execute("PRAGMA busy_timeout=0")
    try:
        raw.execute("BEGIN IMMEDIATE")  # one that can only read begins to read here
        raw.execute("PRAGMA user_version=0")
        raw.execute("ROLLBACK")
    except sqlite3.Error as error:
        return _kind(error) in ("BUSY", "LOCKED")
    return True


def _kind(error: sqlite3.Error) -> str:
    """What went wrong, in SQLite's word, such as `BUSY` for all kinds of that."""
    return "".join(getattr(error, "sqlite_errorname", "").split("_")[1:2])
