"""Removes trainings in children, each of which is killed a step further on.

Run as `python -m tests.training.retention_crashes FOLDER`: makes `FOLDER/0`, `FOLDER/1`, ..., in
which a child was killed (by SIGKILL) before its first, second, ... change of the disk, until a
child lives to the end.
"""

import datetime
import os
import signal
import sys
from pathlib import Path

from kitfox.training import Job, JobState, JobStore, RetentionRules, publication
from kitfox.training.retention import Retention

_STEPS = {"os.rename", "os.remove", "os.rmdir"}
"""Audit events of what changes the disk."""
EVERYTHING = RetentionRules(count=0)


def make_training(folder: Path, job_id: str, **values: object) -> Job:
    """An ended training with a model, a log and a checkpoint; not in any store."""
    now = datetime.datetime.now(datetime.UTC)
    job = Job(
        **{  # type: ignore[arg-type] # the caller knows the fields
            "id": job_id,
            "module_id": "11111111-2222-3333-4444-555555555555",
            "state": JobState.COMPLETED,
            "created": now,
            "finished": now,
            "attempt": 1,
            "output_path": str(folder / "models" / job_id / "m"),
            "log_path": str(folder / "logs" / f"{job_id}.log"),
            **values,
        }
    )
    place = Path(job.output_path)
    if job.state is JobState.COMPLETED:
        (place / "inner").mkdir(parents=True)
        (place / "inner" / "weights").write_text("x" * 10_000)
        publication.seal(place, job)
    checkpoint = publication.checkpoint_root(job) / "1-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text("x" * 10_000)
    Path(job.log_path).parent.mkdir(exist_ok=True, parents=True)
    Path(job.log_path).write_text("x" * 10_000)
    return job


def main(folder: Path) -> None:
    """Makes the folders."""
    for step in range(1000):
        place = folder / str(step)
        place.mkdir(parents=True)
        url = f"sqlite:///{place / 'jobs.sqlite3'}"
        store = JobStore(url)
        for job_id in ("a", "b"):
            store.add(make_training(place, job_id))
        store.close()
        child = os.fork()
        if child == 0:
            _die_at(step)
            Retention(store=JobStore(url), rules=EVERYTHING).sweep()
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


def _die_at(step: int) -> None:
    left = step

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(watch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
