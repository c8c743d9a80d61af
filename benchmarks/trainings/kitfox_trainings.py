"""Empty trainings by a scheduler of Kitfox: `python kitfox_trainings.py warm|cold FOLDER`.

Prints a JSON object: the median milliseconds from submitting one to its COMPLETED record on the
disk, and how many end in a second when many wait.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from empty_library import Empty

from kitfox.training import Job, JobState, JobStore, Library, Scheduler, TrainingService
from kitfox.training.launchers import make_launcher

FEW = {"warm": 40, "cold": 10}
"""How many, one after the other."""
MANY = {"warm": 200, "cold": 30}
"""How many, all at once."""


def ended(store: JobStore, jobs: list[Job]) -> list[Job]:
    """The records when all have ended."""
    while True:
        found = [store.get(job.id) for job in jobs]
        if all(job.finished for job in found):
            return found
        time.sleep(0.02)


def duration(jobs: list[Job]) -> float:
    """Seconds from the first submission to the last end, all of which must be good."""
    bad = [job for job in jobs if job.state is not JobState.COMPLETED]
    if bad:
        raise SystemExit(f"a training is {bad[0].state}: {bad[0].reasons}")
    first, last = min(job.created for job in jobs), max(job.finished or job.created for job in jobs)
    return (last - first).total_seconds()


def main() -> None:
    """Measures."""
    manner, folder = sys.argv[1], Path(sys.argv[2])
    store = JobStore(f"sqlite:///{folder / 'jobs.sqlite3'}")
    libraries = [Library(package="empty_library", path=str(Path(__file__).parent))]
    launcher = make_launcher(warm=manner == "warm", store_url=store.url, libraries=libraries)
    scheduler = Scheduler(store=store, launcher=launcher)
    scheduler.start()
    service = TrainingService(
        store=store, scheduler=scheduler, output_dir=folder / "models", libraries=libraries
    )
    ended(store, [service.start(Empty, {})])
    while manner == "warm" and not getattr(launcher, "ready", True):
        time.sleep(0.05)
    few = [duration(ended(store, [service.start(Empty, {})])) for _ in range(FEW[manner])]
    many = [service.start(Empty, {}) for _ in range(MANY[manner])]
    seconds = duration(ended(store, many))
    scheduler.stop()
    store.close()
    print(json.dumps({"milliseconds": statistics.median(few) * 1000, "rate": len(many) / seconds}))


main()
