"""The job store by itself: `python job_store.py FOLDER`.

Prints a JSON object: by filter, the median milliseconds of a page of 100 out of 100,000 records;
and the milliseconds in which 50 and 99 of 100 submissions are on the disk, into an empty queue and
into one of 1,000 whose jobs are being taken and ended meanwhile.
"""

import datetime
import json
import multiprocessing
import sqlite3
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

from kitfox.training import Job, JobFilter, JobState, JobStore, Library, Progress
from kitfox.training.database import open_database
from kitfox.training.job_rows import COLUMNS, to_row
from kitfox.training.migrations import MIGRATIONS, migrate

RECORDS = 100_000
QUEUED = 1_000
SUBMISSIONS = 1_000
TRIES = 15
FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
STATES = 90 * [JobState.COMPLETED] + 6 * [JobState.ERRORED] + 4 * [JobState.CANCELED]

FILTERS = {
    "all": JobFilter(),
    "state": JobFilter(states=frozenset({JobState.ERRORED})),
    "unfinished": JobFilter(states=frozenset(JobState) - frozenset(STATES)),
    "model": JobFilter(model_name="model-7"),
    "module": JobFilter(module="Module7"),
    "text": JobFilter(text="model-49"),
    "id": JobFilter(text=str(uuid.uuid5(uuid.NAMESPACE_OID, "77"))),
    "nothing": JobFilter(text="no*such"),
    "oldest": JobFilter(created_before=FIRST + 100 * MINUTE),
    "several": JobFilter(
        module="Module7", text="model", states=frozenset({JobState.ERRORED, JobState.CANCELED})
    ),
}


def records() -> Iterator[Job]:
    """Trainings that have ended, but for the last few."""
    for number in range(RECORDS):
        created = FIRST + number * MINUTE
        waits = number >= RECORDS - 10
        yield Job(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            module_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"module {number % 20}")),
            module_name=f"Module{number % 20}",
            module_version="0.0.1",
            model_name=f"model-{number % 500}",
            state=JobState.QUEUED if waits else STATES[number * 7 % 100],
            created=created,
            started=created,
            finished=None if waits else created + MINUTE,
            attempt=1,
            libraries=(Library(package="some_library", path="/srv/app"),),
            output_path=f"/srv/app/training_output/{number}/model",
            log_path=f"/srv/app/training_output/jobs.sqlite3.logs/{number}.log",
            progress=Progress(fraction=1.0, step=10, total=10, metrics={"loss": 0.25}),
            environment={"python": "3.11.7", "kitfox": "1.0.0", "numpy": "2.0.0", "host": "h"},
        )


def listed(folder: Path) -> dict[str, float]:
    """Milliseconds by filter."""
    file = folder / "many.sqlite3"
    # Of an earlier version, which does not know names: all at once they are faster to make.
    database = open_database(f"sqlite:///{file}", create=True, busy_timeout=1)
    migrate(database, MIGRATIONS[:3])
    with database.read() as connection:
        known = connection.query("SELECT name FROM pragma_table_info('jobs')")
    database.close()
    columns = [row["name"] for row in known if row["name"] in COLUMNS]
    names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    raw = sqlite3.connect(file)
    raw.executemany(
        f"INSERT INTO jobs ({names}, log_tail) VALUES ({places}, '')",  # noqa: S608 -- constants
        map(to_row, records()),
    )
    raw.commit()
    raw.close()
    store = JobStore(f"sqlite:///{file}")
    found = {}
    for name, wanted in FILTERS.items():
        times = []
        for _ in range(TRIES):
            begin = time.perf_counter()
            store.page(wanted)
            times.append(time.perf_counter() - begin)
        found[name] = statistics.median(times) * 1000
    store.close()
    return found


def submitted(folder: Path, queued: int) -> dict[str, float]:
    """Percentiles of milliseconds."""
    store = JobStore(f"sqlite:///{folder / f'queue-{queued}.sqlite3'}")
    for _ in range(queued):
        store.add(new_job())
    ending, ended = multiprocessing.Event(), multiprocessing.Event()
    working = multiprocessing.Process(target=work, args=(store.url, ending, ended))
    if queued:
        working.start()
    times = []
    for _ in range(SUBMISSIONS):
        begin = time.perf_counter()
        store.add(new_job(), queue_limit=queued + SUBMISSIONS)
        times.append(time.perf_counter() - begin)
        if not queued:
            store.claim(host="here")
    if queued:
        ending.set()
        working.join()
        if not ended.is_set():
            raise SystemExit("the jobs could not be taken and ended")
    store.close()
    parts = statistics.quantiles(times, n=100)
    return {"p50": parts[49] * 1000, "p99": parts[98] * 1000}


def new_job() -> Job:
    """A training as it is submitted."""
    now = datetime.datetime.now(datetime.UTC)
    return Job(id=str(uuid.uuid4()), module_id=str(uuid.UUID(int=1)), created=now, parameters="{}")


def work(url: str, ending: Event, ended: Event) -> None:
    """Takes jobs and ends them, as a scheduler and its workers do: at most a hundred a second."""
    store = JobStore(url)
    while not ending.is_set():
        for job in store.claim(host="here"):
            store.begin(job.id, attempt=1, pid=1, start="1", environment={})
            store.beat(job.id, attempt=1, log_tail="some lines\n" * 50)
            store.publish(job.id, attempt=1, put_in_place=lambda: None)
        time.sleep(0.01)
    store.close()
    ended.set()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(
        json.dumps(
            {
                "list": listed(place),
                "idle": submitted(place, 0),
                "queued": submitted(place, QUEUED),
            }
        )
    )
