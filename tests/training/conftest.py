"""Stores and jobs that the training tests share."""

import datetime
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitfox.training import (
    Job,
    JobState,
    JobStore,
    Library,
    Scheduler,
    TrainingService,
    WarmLauncher,
)
from kitfox.training.processes import is_running
from tests.training.postgresql import postgresql
from tests.training.scripted_workers import start_scheduler
from tests.waiting import wait_for

__all__ = ["start_scheduler"]

LIBRARIES = (Library(package="trainers", path=str(Path(__file__).parent)),)
"""The author's package that the tests train with."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with postgresql() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty store in PostgreSQL."""
    import sqlalchemy

    schema = f"kitfox_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(postgresql_server)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    joint = "&" if "?" in postgresql_server else "?"
    yield f"{postgresql_server}{joint}options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        names = connection.execute(
            sqlalchemy.text("SELECT nspname FROM pg_namespace WHERE nspname LIKE :pattern"),
            {"pattern": f"{schema}%"},  # with its backups
        )
        for name in names.scalars().all():
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, in each kind of database that is there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[JobStore]:
    found = JobStore(store_url)
    yield found
    found.close()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Makes records of new jobs; each has its own place for model and log."""

    def make(**values: Any) -> Job:
        job_id = values.pop("id", str(uuid.uuid4()))
        return Job(
            **{
                "id": job_id,
                "module_id": "11111111-2222-3333-4444-555555555555",
                "created": datetime.datetime.now(datetime.UTC),
                "parameters": "{}",
                "output_path": str(tmp_path / "models" / job_id),
                "log_path": str(tmp_path / "logs" / f"{job_id}.log"),
                **values,
            }
        )

    return make


FINAL = ("COMPLETED", "CANCELED", "ERRORED")


@dataclass
class Trainings:
    """A service with its store and scheduler, over one folder."""

    folder: Path
    service: TrainingService

    @property
    def store(self) -> JobStore:
        return self.service.store

    def ended(self, job: Job) -> Job:
        """The job when it has come to its end and its worker has gone."""
        wait_for(lambda: self.store.get(job.id).state in FINAL, what="the end of the job")
        found = self.store.get(job.id)
        if found.worker_pid is not None:
            pid, start = found.worker_pid, found.worker_start
            wait_for(lambda: not is_running(pid, start), what="the end of the worker")
        return found

    def in_state(self, job: Job, state: JobState) -> Job:
        wait_for(lambda: self.store.get(job.id).state is state, what=f"the state {state}")
        return self.store.get(job.id)

    def begun(self, job: Job) -> int:
        """The number of the worker, when it has begun."""
        return int(wait_for(lambda: self.store.get(job.id).worker_pid, what="the begin"))

    def leftovers(self) -> list[Path]:
        """What trainings have left beside the models."""
        hidden = (self.folder / "models").rglob(".*")
        return [path for path in hidden if path.suffix in (".partial", ".replaced")]


@pytest.fixture
def start_trainings(tmp_path: Path) -> Iterator[Callable[..., Trainings]]:
    """Starts services; at the end stops them and kills what still trains."""
    started: list[Trainings] = []

    def start(*, launcher: str = "cold", **options: Any) -> Trainings:
        store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
        scheduling: dict[str, Any] = {
            name: options.pop(name)
            for name in ("max_concurrent", "queue_limit", "cancel_grace", "stop_grace", "lease")
            if name in options
        }
        if launcher == "warm":
            scheduling["launcher"] = WarmLauncher(store_url=store.url, libraries=LIBRARIES)
        scheduler = Scheduler(store=store, **scheduling)
        scheduler.start()
        service = TrainingService(
            **{
                "store": store,
                "scheduler": scheduler,
                "output_dir": tmp_path / "models",
                "libraries": LIBRARIES,
                "data_base_dir": tmp_path / "data",
                "working_dir": tmp_path,
                **options,
            }
        )
        started.append(Trainings(tmp_path, service))
        return started[-1]

    yield start
    for trainings in started:
        trainings.service.scheduler.stop()
        for job in trainings.store.list(
            states=[JobState.RUNNING, JobState.STOPPING, JobState.CANCELING]
        ):
            if job.worker_pid and is_running(job.worker_pid, job.worker_start):
                os.killpg(job.worker_pid, signal.SIGKILL)
        trainings.store.close()


@pytest.fixture
def trainings(start_trainings: Callable[..., Trainings]) -> Trainings:
    """A service with default settings."""
    return start_trainings()
