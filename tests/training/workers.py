"""Workers without a scheduler: one attempt after the other, as a test wants it.

They are forks of one warm process for all tests of a file, which takes a tenth of a second where a
cold start takes one. Faults are those of `FaultFile`.
"""

import datetime
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kitfox.modules import ModuleBase
from kitfox.training import Job, JobState, JobStore, WarmLauncher
from kitfox.training.launchers import Exit, WorkerHandle
from kitfox.training.worker_settings import WorkerSettings
from tests.waiting import wait_for

from .conftest import LIBRARIES
from .faults import FaultFile

__all__ = ["Workers", "running_workers"]


class Workers:
    """A store and a warm process, over one folder."""

    def __init__(self, folder: Path, settings: WorkerSettings) -> None:
        self.folder = folder
        self.models = folder / "models"
        self.faults = FaultFile(folder / "faults")
        self.store = JobStore(f"sqlite:///{folder / 'store' / 'jobs.sqlite3'}")
        self.launcher = WarmLauncher(
            store_url=self.store.url,
            libraries=LIBRARIES,
            environ=self.faults.environment() | settings.environ(),
        )

    def add(self, module: type[ModuleBase], parameters: str = "{}", **values: Any) -> Job:
        """A new job, which waits."""
        job_id = str(uuid.uuid4())
        job = Job(
            **{
                "id": job_id,
                "module_id": module.MODULE_ID,
                "libraries": LIBRARIES,
                "parameters": parameters,
                "created": datetime.datetime.now(datetime.UTC),
                "output_path": str(self.models / job_id / "model"),
                "log_path": str(self.folder / "logs" / f"{job_id}.log"),
                "data_base_dir": str(self.folder),
                "working_dir": str(self.folder),
                **values,
            }
        )
        self.store.add(job)
        return job

    def launch(self) -> tuple[Job, WorkerHandle]:
        """Starts the next attempt of the job that waits."""
        job = self.store.claim_next(host=os.uname().nodename)
        assert job is not None
        return job, self.launcher.launch(job)

    def ended(self, handle: WorkerHandle) -> Exit:
        """How an attempt has ended."""
        found = wait_for(handle.poll, what="the end of the worker", seconds=60)
        handle.close()
        assert isinstance(found, Exit)
        return found

    def run(self, module: type[ModuleBase], parameters: str = "{}", **values: Any) -> Job:
        """The record of a job after its one attempt."""
        job = self.add(module, parameters, **values)
        _, handle = self.launch()
        self.ended(handle)
        return self.store.get(job.id)

    def again(self, job: Job) -> Job:
        """The record after another attempt of a job whose worker has died."""
        found = self.store.get(job.id)
        assert found.state is JobState.RUNNING
        released = self.store.release(job.id, attempt=found.attempt, reasons=("it died",))
        assert released is not None
        _, handle = self.launch()
        self.ended(handle)
        return self.store.get(job.id)

    def leftovers(self, job: Job) -> list[str]:
        """What is left of a job beside its model."""
        place = Path(job.output_path)
        return [path.name for path in place.parent.glob("*") if path != place]


@contextmanager
def running_workers(folder: Path, **settings: Any) -> Iterator[Workers]:
    """Workers, until the end of the block."""
    workers = Workers(folder, WorkerSettings(**settings))
    workers.launcher.warm_up()
    try:
        wait_for(lambda: workers.launcher.ready, what="a warm process", seconds=60)
        yield workers
    finally:
        workers.launcher.close()
        workers.store.close()
