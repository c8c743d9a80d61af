"""Who waits for a training runs its store as soon as nobody else does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.errors import FailedPrecondition
from kitfox.training import Job, JobState, JobStore, Scheduler
from kitfox.training.attendance import Attendance
from tests.waiting import wait_for

from .conftest import LIBRARIES
from .trainers import Empty


def test_a_store_is_taken_over_from_one_that_ends(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    stores = [JobStore(url), JobStore(url)]
    server, guest = (Scheduler(store=store) for store in stores)
    attendances = [Attendance(server, period=0.02), Attendance(guest, period=0.02)]
    try:
        assert attendances[0].start() is True
        assert attendances[1].start() is False
        attendances.pop(0).stop()
        job = make_job(module_id=Empty.MODULE_ID, libraries=LIBRARIES)
        guest.submit(job)
        wait_for(lambda: stores[1].get(job.id).state is JobState.COMPLETED, what="the end")
    finally:
        for attendance in attendances:
            attendance.stop()
        for store in stores:
            store.close()


def test_a_scheduler_that_cannot_start_says_so(tmp_path: Path) -> None:
    """What another process does not keep it from is not tried for ever."""
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    scheduler = Scheduler(store=store)
    scheduler.start()
    try:
        with pytest.raises(FailedPrecondition, match="started already"):
            Attendance(scheduler).start()
    finally:
        scheduler.stop()
        store.close()
