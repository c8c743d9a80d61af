"""Stores that cannot be used: one sentence that names the file, and nothing is made anew."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kitfox.errors import Code, InvalidArgument, KitfoxError, Unavailable
from kitfox.training import Job, JobFilter, JobStore
from kitfox.training.database import Database, open_database
from kitfox.training.job_names import keep_names
from kitfox.training.migrations import MIGRATIONS, Migration, migrate
from kitfox.training.sqlite_database import SqliteDatabase
from tests.conftest import ROOT

from .faults import FaultFile

Make = Callable[..., Job]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "jobs.sqlite3"


def make(file: Path) -> None:
    JobStore(f"sqlite:///{file}").close()


def refused(file: Path) -> KitfoxError:
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(KitfoxError) as caught:
        JobStore(f"sqlite:///{file}", busy_timeout=0.05)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before is None or file.read_bytes() == before
    return caught.value


def test_a_store_that_is_not_there_is_made_with_its_folder(file: Path) -> None:
    make(file)
    names = sorted(entry.name for entry in file.parent.iterdir())
    assert names == ["jobs.sqlite3", "jobs.sqlite3.reserve"]
    with sqlite3.connect(file) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


def test_a_worker_does_not_make_a_store(file: Path) -> None:
    with pytest.raises(KitfoxError, match=r"jobs\.sqlite3 does not exist"):
        JobStore(f"sqlite:///{file}", create=False)
    assert not file.exists()


def test_commits_are_synced(file: Path) -> None:
    database = SqliteDatabase(file, create=True, busy_timeout=1)
    with database.read() as connection:
        assert connection.query("PRAGMA synchronous")[0]["synchronous"] == 2
    database.close()


def test_no_sqlite_database(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("jobs: none\n" * 1000)
    error = refused(file)
    assert "is not a SQLite database" in str(error)
    assert error.code is Code.DATA_LOSS


def test_an_empty_file(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    assert "is empty (0 bytes)" in str(refused(file))


def test_a_folder(file: Path) -> None:
    file.mkdir(parents=True)
    assert "is a folder" in str(refused(file))


def test_a_truncated_store(file: Path) -> None:
    make(file)
    file.write_bytes(file.read_bytes()[:5000])
    error = refused(file)
    assert "is damaged" in str(error)
    assert error.code is Code.DATA_LOSS


def test_somebody_elses_database(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as raw:
        raw.execute("CREATE TABLE customers (name TEXT)")
    raw.close()
    assert "is no Kitfox job store: it holds other tables (customers)" in str(refused(file))


def test_a_store_of_a_later_version(file: Path) -> None:
    make(file)
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE schema_version SET version = 1000")
    raw.close()
    make_sure_nothing_is_pending(file)
    error = refused(file)
    assert "has version 1000, made by a later Kitfox" in str(error)
    assert error.code is Code.FAILED_PRECONDITION


def make_sure_nothing_is_pending(file: Path) -> None:
    assert not file.with_name(file.name + "-wal").exists()


def test_a_locked_store(file: Path) -> None:
    make(file)
    raw = sqlite3.connect(file, isolation_level=None)
    raw.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match=r"jobs\.sqlite3 is locked by another process; waited"):
        JobStore(f"sqlite:///{file}", busy_timeout=0.05)
    raw.execute("ROLLBACK")
    raw.close()


_OPEN = """
import os, sys
from kitfox.training import JobStore  # before: nobody may not read root's Python
os.setgid(65534), os.setuid(65534)
try:
    JobStore(sys.argv[1])
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not write")
@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_read_only_store(file: Path, mode: int) -> None:
    make(file)
    file.chmod(0o444)
    file.parent.chmod(mode)
    for parent in list(file.parents)[1:-2]:
        parent.chmod(0o755)
    found = subprocess.run(
        [sys.executable, "-c", _OPEN, f"sqlite:///{file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("StoreError: The job store "), found.stderr
    assert "cannot be" in found.stdout
    assert str(file) in found.stdout


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:jobs"])
def test_a_store_needs_a_file(url: str) -> None:
    with pytest.raises(InvalidArgument, match="names no file"):
        JobStore(url)


@pytest.mark.parametrize("url", ["nonsense", "nonsense://x", "mysql+nonsense://x"])
def test_a_url_that_names_no_database(url: str) -> None:
    with pytest.raises(InvalidArgument, match="The job store URL"):
        JobStore(url)


def second(database: Database) -> list[str]:
    return ["ALTER TABLE jobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"]


def broken(database: Database) -> list[str]:
    return ["CREATE TABLE half (x INTEGER)", "CREATE nonsense"]


def test_an_older_store_is_brought_up_and_keeps_its_jobs(file: Path, make_job: Make) -> None:
    store = JobStore(f"sqlite:///{file}")
    store.add(make_job())
    steps = [
        *MIGRATIONS,
        Migration(number=len(MIGRATIONS) + 1, about="colours", statements=second),
    ]
    assert migrate(store.database, steps) == len(steps)
    with store.database.read() as connection:
        assert [row["colour"] for row in connection.query("SELECT colour FROM jobs")] == ["red"]
    store.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_each_earlier_version_is_brought_up(
    store_url: str, make_job: Make, version: int
) -> None:
    database = open_database(store_url, create=True, busy_timeout=1)
    assert migrate(database, MIGRATIONS[:version]) == version
    with database.write() as connection:
        columns = _columns_of_version_1(make_job(id="old", model_name="kept"))
        names = ", ".join(columns)
        places = ", ".join(f":{name}" for name in columns)
        statement = f"INSERT INTO jobs ({names}) VALUES ({places})"  # noqa: S608 -- constants
        connection.change(statement, **columns)
        if version >= 4:
            keep_names(connection, "old")  # since then whoever adds a job does
    database.close()
    store = JobStore(store_url)
    found = store.get("old")
    assert (found.kind, found.model_name, found.method) == ("training", "kept", "")
    assert (found.priority, found.data) == (0, ())
    assert found.log_tail == ("the end" if version < 3 else "")  # later ones have it elsewhere
    for wanted in (JobFilter(text="ept"), JobFilter(text="ol?"), JobFilter(module=found.module_id)):
        assert store.page(wanted).jobs == (replace(found, log_tail=""),)
    claimed = store.claim_next(host="here")
    assert claimed is not None
    assert claimed.id == "old"
    store.close()


def _columns_of_version_1(job: Job) -> dict[str, object]:
    """A new training as the first version of the store kept it."""
    return {
        "id": job.id,
        "kind": "training",
        "state": "QUEUED",
        **{name: getattr(job, name) for name in ("module_id", "model_name", "output_path")},
        **dict.fromkeys(("module_name", "module_version", "data_base_dir", "working_dir"), ""),
        **dict.fromkeys(("log_path", "worker_host", "worker_start"), ""),
        "log_tail": "the end",
        **dict.fromkeys(("libraries", "reasons"), "[]"),
        **dict.fromkeys(("model_paths", "environment"), "{}"),
        **dict.fromkeys(("overwrite", "created", "attempt"), 0),
    }


def test_a_migration_that_fails_leaves_the_store_as_it_was(file: Path) -> None:
    database = open_database(f"sqlite:///{file}", create=True, busy_timeout=1)
    migrate(database)
    steps = [*MIGRATIONS, Migration(number=len(MIGRATIONS) + 1, about="oh", statements=broken)]
    with pytest.raises(KitfoxError, match=r"jobs\.sqlite3 failed"):
        migrate(database, steps)
    with database.read() as connection:
        assert "half" not in database.tables(connection)
    assert migrate(database) == len(MIGRATIONS)
    database.close()


def test_the_steps_are_numbered_without_gaps() -> None:
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_the_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Parameters may hold the keys of an object store."""
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    try:
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        store.close()
    assert set(modes.values()) == {0o600}, modes


def test_who_is_silent_in_a_transaction_loses_it(postgresql_url: str, make_job: Make) -> None:
    """A process that was stopped in the middle of one keeps nobody else from the jobs."""
    store = JobStore(postgresql_url)
    store.add(make_job(id="job"))
    with store.database.read() as connection:
        shown = connection.query("SHOW idle_in_transaction_session_timeout")
    assert [list(row.values()) for row in shown] == [["30s"]]

    def be_silent() -> None:
        with store.database.write() as connection:
            connection.change("UPDATE jobs SET model_name = 'lost'")
            connection.change("SET idle_in_transaction_session_timeout = '50ms'")
            store.set("job", pinned=True)  # waits for the row, and gets it
            connection.query("SELECT 1")

    with pytest.raises(Unavailable) as caught:
        be_silent()
    assert "\n" not in str(caught.value)
    found = store.get("job")
    assert (found.pinned, found.model_name) == (True, "")
    store.close()


def test_a_connection_that_can_only_read_is_not_kept(tmp_path: Path) -> None:
    """SQLite opens a file for reading if it once cannot open it for writing."""
    script = """
import sys
from pathlib import Path
from kitfox.errors import KitfoxError
from kitfox.training.sqlite_database import SqliteDatabase
from tests.training.faults import Fault, FaultFile, calls_made

folder, faults, note = Path(sys.argv[1], "folder"), FaultFile(Path(sys.argv[2])), Path(sys.argv[3])
database = SqliteDatabase(folder / "jobs.sqlite3", create=True, busy_timeout=1)
with database.write() as connection:
    connection.change("CREATE TABLE numbers (number INTEGER)")
made = number = 0
while number <= made:
    note.unlink(missing_ok=True)
    faults.write(Fault(calls=("open",), below=folder, number=number, action="EIO"), note=note)
    faults.apply()
    database.close()
    try:
        with database.read():
            pass
    except KitfoxError as error:
        print(number, error)
    faults.write()
    faults.apply()
    made = made or calls_made(note)
    with database.write() as connection:
        connection.change("INSERT INTO numbers VALUES (:number)", number=number)
    number += 1
assert made > 1
"""
    faults = FaultFile(tmp_path / "faults")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, tmp_path / "faults", tmp_path / "note"],
        cwd=ROOT,
        env=os.environ | faults.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read-only" not in done.stdout
    assert done.stdout, "no call failed"
