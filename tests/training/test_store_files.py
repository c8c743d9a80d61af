"""What lies beside a job store: backups, room for the ends of jobs, signs that there was one."""

import contextlib
import os
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import Code, DiskFull, KitfoxError, Unavailable
from kitfox.training import Job, JobFilter, JobState, JobStore, Order
from kitfox.training.database import StoreError, StoreGone, open_database
from kitfox.training.migrations import MIGRATIONS, migrate
from kitfox.training.sqlite_database import SqliteDatabase
from kitfox.training.store_files import Reserve
from tests.training.conftest import Trainings
from tests.training.faults import Call, Fault, environment
from tests.waiting import wait_for

Make = Callable[..., Job]
EARLIER = range(1, len(MIGRATIONS))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "jobs[1].sqlite3"


def make_earlier(url: str, version: int) -> None:
    """A store of an earlier version."""
    database = open_database(url, create=True, busy_timeout=1)
    migrate(database, MIGRATIONS[:version])
    database.close()


def version_of(url: str) -> int:
    database = open_database(url, create=False, busy_timeout=1)
    with database.read() as connection:
        (row,) = connection.query("SELECT version FROM schema_version")
    database.close()
    return int(row["version"])


@pytest.mark.parametrize("version", EARLIER)
def test_a_store_is_kept_as_it_was_before_its_tables_change(file: Path, version: int) -> None:
    make_earlier(f"sqlite:///{file}", version)
    JobStore(f"sqlite:///{file}").close()
    backup = file.with_name(f"{file.name}.v{version}.backup")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert version_of(f"sqlite:///{backup}") == version
    assert {entry.name for entry in file.parent.iterdir() if entry.name.startswith(".")} == set()

    # Restored, and changed once more: the first backup is not written over.
    content = backup.read_bytes()
    file.write_bytes(content)
    JobStore(f"sqlite:///{file}").close()
    assert backup.read_bytes() == content
    again = file.with_name(f"{file.name}.v{version}.2.backup")
    assert version_of(f"sqlite:///{again}") == version


@pytest.mark.parametrize("version", EARLIER)
def test_a_shared_store_is_kept_in_a_schema_of_its_own(postgresql_url: str, version: int) -> None:
    schema = postgresql_url.rpartition("%3D")[2]
    make_earlier(postgresql_url, version)
    JobStore(postgresql_url).close()
    assert version_of(postgresql_url) == len(MIGRATIONS)
    backup = f"{schema}_backup_v{version}"
    assert version_of(postgresql_url.replace(schema, backup)) == version


_OPEN = """
import sys
from kitfox.training import JobStore
try:
    JobStore(sys.argv[1])
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_without_a_backup_nothing_is_changed(file: Path, call: Call) -> None:
    make_earlier(f"sqlite:///{file}", 2)
    fault = Fault(calls=(call,), below=file.parent, number=1, action="ENOSPC", lasting=True)
    found = subprocess.run(
        [sys.executable, "-c", _OPEN, f"sqlite:///{file}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment(fault)},
    )
    assert found.stdout.count("\n") == 1, found.stderr
    assert str(file.parent) in found.stdout
    assert version_of(f"sqlite:///{file}") == 2
    assert not list(file.parent.glob("*.backup"))
    assert not list(file.parent.glob(".*"))


@pytest.mark.parametrize("left", [".reserve", ".logs/x.log", ".results/x/result", ".v2.backup"])
def test_a_store_that_is_gone_is_not_made_anew(file: Path, left: str) -> None:
    sign = Path(f"{file}{left}")
    sign.parent.mkdir(parents=True)
    sign.touch()
    name = (file.name + left).partition("/")[0]
    with pytest.raises(StoreError) as caught:
        JobStore(f"sqlite:///{file}")
    assert str(caught.value) == (
        f"The job store {file} is gone, though {name} is there; "
        "restore it, or remove that to begin with a new store"
    )
    assert caught.value.code is Code.DATA_LOSS
    assert not file.exists()
    shutil.rmtree(file.parent)
    JobStore(f"sqlite:///{file}").close()


def test_a_store_is_gone_though_its_reserve_is_there(file: Path) -> None:
    JobStore(f"sqlite:///{file}").close()
    file.unlink()
    with pytest.raises(StoreError, match="is gone, though"):
        JobStore(f"sqlite:///{file}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "kitfox-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounting.returncode:
        pytest.skip(f"no file system can be mounted here: {mounting.stderr.decode().strip()}")
    yield folder
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Writes until nothing more goes in."""
    filler = folder / f"filler-{secrets.token_hex(4)}"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass


def test_jobs_come_to_an_end_on_a_full_disk(small_disk: Path, make_job: Make) -> None:
    file = small_disk / "jobs.sqlite3"
    store = JobStore(f"sqlite:///{file}")
    jobs = [make_job() for _ in range(20)]
    for job in jobs:
        store.add(job)
    for job in store.claim(host="here", limit=20):
        store.begin(job.id, attempt=1, pid=7, start="9@x", environment={})
    fill(small_disk)

    def add_all() -> None:
        while True:
            store.add(make_job(parameters="x" * 10_000))

    with pytest.raises(DiskFull, match=r"at least [1-9][0-9,]+ bytes needed, .*jobs\.sqlite3$"):
        add_all()
    reserve = Reserve(file)
    assert reserve.path.exists()  # kept for what follows

    for number in range(20):  # each of these may need room, and finds some at the second try
        for job in jobs:
            with contextlib.suppress(DiskFull):
                beat = store.beat(job.id, attempt=1, log_tail=f"{number}" + "x" * 16_000)
                assert beat is Order.GO
    for job in jobs:
        try:
            store.move(job.id, [JobState.RUNNING], JobState.ERRORED, reasons=("full",))
        except DiskFull:
            store.move(job.id, [JobState.RUNNING], JobState.ERRORED, reasons=("full",))
    assert store.counts()[JobState.ERRORED] == 20

    reserve.give_up()
    fill(small_disk)
    with pytest.raises(DiskFull, match="while keeping room for the ends of jobs"):
        store.add(make_job())
    for filler in small_disk.glob("filler*"):
        filler.unlink()
    store.add(make_job(id="later"))
    assert reserve.path.exists()
    assert store.get("later").state is JobState.QUEUED
    store.close()


def test_the_write_lock_is_waited_for(file: Path, make_job: Make) -> None:
    store = JobStore(f"sqlite:///{file}", busy_timeout=20)
    raw = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    raw.execute("BEGIN IMMEDIATE")
    adding = threading.Thread(target=lambda: store.add(make_job(id="waited")))
    adding.start()
    time.sleep(0.2)
    assert adding.is_alive()
    assert store.list() == []  # reading waits for nobody
    raw.execute("COMMIT")
    raw.close()
    adding.join()
    assert store.get("waited").state is JobState.QUEUED
    store.close()


def test_threads_wait_no_longer_than_they_should(file: Path, make_job: Make) -> None:
    store = JobStore(f"sqlite:///{file}", busy_timeout=0.1)
    with store.database.write():
        errors: list[Exception] = []

        def add() -> None:
            try:
                store.add(make_job())
            except Unavailable as error:
                errors.append(error)

        adding = threading.Thread(target=add)
        adding.start()
        adding.join()
    assert "is locked by another process; waited 0.1 s" in str(errors[0])
    store.close()


def _uses(store: JobStore, job_ids: list[str]) -> list[Callable[[], Any]]:
    return [
        store.counts,
        store.list,
        lambda: store.page(JobFilter(text="1")),
        lambda: [store.get(job_id) for job_id in job_ids],
        lambda: [store.parameters(job_id) for job_id in job_ids],
        lambda: store.claim(host="here", limit=3),
        lambda: store.beat(job_ids[0], attempt=1, log_tail="x" * 5000),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_one_sentence_whenever_it_is_met(file: Path, make_job: Make, seed: int) -> None:
    """Bytes of an open store change: what is asked of it is answered, or refused by name."""
    make_earlier(f"sqlite:///{file}", len(MIGRATIONS))
    store = JobStore(f"sqlite:///{file}", busy_timeout=0.1)
    jobs = [make_job(parameters="p" * 500, log_tail="l" * 500) for _ in range(30)]
    for job in jobs:
        store.add(job)
    store.close()  # the last one to close writes all changes into the file
    chance = random.Random(seed)  # noqa: S311 -- no secret
    with file.open("r+b") as stream:
        for _ in range(chance.choice([1, 20, 400])):
            stream.seek(chance.randrange(100, file.stat().st_size))
            stream.write(chance.randbytes(chance.choice([1, 8, 300])))
    refusals: list[KitfoxError] = []
    for use in _uses(store, [job.id for job in jobs]):
        try:
            use()
        except KitfoxError as error:
            refusals.append(error)
    assert all("\n" not in str(error) for error in refusals)
    for refusal in refusals:
        assert str(file) in str(refusal) or "Unknown training_id" in str(refusal), refusal
    store.close()


def test_a_damaged_store_harms_nothing_else(
    start_trainings: Callable[..., Trainings], make_job: Make
) -> None:
    """The scheduler outlives it, and goes on when the store has been put right."""
    trainings = start_trainings()
    database = trainings.store.database
    assert isinstance(database, SqliteDatabase)
    trainings.store.add(make_job(id="job", state=JobState.CANCELED))
    log = Path(f"{database.path}-wal")

    def is_closed() -> bool:
        """Whether all is in the file: the last one to close sees to that."""
        database.close()
        return not log.exists()

    wait_for(is_closed, what="the end of the scheduler's first look")
    good = database.path.read_bytes()
    with database.path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (len(good) - 4096))
    # The scheduler may have read some of it meanwhile, and have it in memory.
    database.close()
    with pytest.raises(StoreError, match=r"jobs\.sqlite3 is damaged: ") as caught:
        trainings.service.get("job")
    assert caught.value.code is Code.DATA_LOSS
    with pytest.raises(StoreError, match="is damaged"):
        trainings.service.scheduler.submit(make_job())
    database.path.write_bytes(good)
    database.close()
    wait_for(lambda: trainings.service.get("job").state is JobState.CANCELED, what="the record")


def test_a_store_whose_file_is_removed_takes_nothing_more(file: Path, make_job: Make) -> None:
    """Who has it open could go on writing into it, and what is written would be lost."""
    store = JobStore(f"sqlite:///{file}")
    store.add(make_job(id="kept"))
    away = file.with_name("away")
    file.rename(away)
    for use in (lambda: store.add(make_job()), store.list):
        with pytest.raises(StoreGone, match=r"jobs\[1\]\.sqlite3 is gone: its file was removed"):
            use()
    away.rename(file)
    assert [job.id for job in store.list()] == ["kept"]
    store.close()


def test_a_store_that_takes_the_place_of_another_is_used(file: Path, make_job: Make) -> None:
    stores = [JobStore(f"sqlite:///{place}") for place in (file, file.with_name("other"))]
    stores[0].add(make_job(id="old"))
    stores[1].add(make_job(id="new"))
    stores[1].close()
    file.with_name("other").rename(file)
    for ending in ("-wal", "-shm"):
        Path(f"{file}{ending}").unlink()
    assert [job.id for job in stores[0].list()] == ["new"]
    stores[0].close()
