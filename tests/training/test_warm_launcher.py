"""Warm workers: the same trainings, sooner."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.training import JobState, Library, WarmLauncher
from kitfox.training.processes import start_token
from tests.waiting import wait_for

from .conftest import LIBRARIES, Trainings
from .trainers import Empty, Family, Talker, Waiter

pytestmark = pytest.mark.slow

Start = Callable[..., Trainings]

THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
"""


def launcher_of(trainings: Trainings) -> WarmLauncher:
    launcher = trainings.service.scheduler._launcher
    assert isinstance(launcher, WarmLauncher)
    return launcher


@pytest.fixture
def warm(start_trainings: Start) -> Trainings:
    trainings = start_trainings(launcher="warm")
    launcher_of(trainings).warm_up()
    wait_for(lambda: is_warm(trainings), what="the warm process")
    return trainings


def is_warm(trainings: Trainings) -> bool:
    """Whether the next training would get a warm start.

    The warm process has one who listens to it: the scheduler, as long as it has workers.
    """
    scheduler = trainings.service.scheduler
    wait_for(lambda: not scheduler._watched, what="that the scheduler watches nobody")
    return launcher_of(trainings).ready


def nursery_of(trainings: Trainings) -> int:
    nursery = launcher_of(trainings)._nursery
    assert nursery is not None
    return nursery.process.pid


def test_warm_trainings_complete_one_after_the_other(warm: Trainings) -> None:
    nursery = nursery_of(warm)
    jobs = [warm.service.start(Empty, {}) for _ in range(10)]
    for job in jobs:
        found = warm.ended(job)
        assert (found.state, found.reasons) == (JobState.COMPLETED, ())
        assert warm.service.model_path(job.id) is not None
    assert len({warm.store.get(job.id).worker_pid for job in jobs}) == 10
    assert nursery_of(warm) == nursery


def test_each_has_its_own_log_and_session(warm: Trainings) -> None:
    gate = warm.folder / "gate"
    jobs = [warm.service.start(Talker, {"gate": str(gate)}) for _ in range(2)]
    for job in jobs:
        pid = warm.begun(job)
        assert os.getsid(pid) == os.getpgid(pid) == pid
    gate.touch()
    for job in jobs:
        text = Path(warm.ended(job).log_path).read_text()
        assert text.count("from a child") == text.count("from C") == 1


def test_a_warm_training_is_cancelled_with_all_it_started(warm: Trainings) -> None:
    note = warm.folder / "note"
    job = warm.service.start(Family, {"note": str(note)})
    wait_for(note.exists)
    processes = [int(pid) for pid in note.read_text().strip("[]").split(",")]
    warm.service.cancel(job.id)
    warm.in_state(job, JobState.CANCELED)
    assert [start_token(pid) for pid in processes] == [""] * 4
    assert is_warm(warm)


def test_a_warm_worker_outlives_its_nursery_and_is_watched_on(warm: Trainings) -> None:
    gate = warm.folder / "gate"
    jobs = [warm.service.start(Waiter, {"gate": str(gate)}) for _ in range(2)]
    first, second = (warm.begun(job) for job in jobs)
    os.kill(nursery_of(warm), signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    assert warm.ended(jobs[0]).state is JobState.ERRORED
    gate.touch()
    assert warm.ended(jobs[1]).state is JobState.COMPLETED
    assert second != first
    again = warm.service.start(Empty, {})
    assert warm.ended(again).state is JobState.COMPLETED
    wait_for(lambda: is_warm(warm), what="the next warm process")


def test_the_nursery_ends_with_its_scheduler_and_workers_go_on(warm: Trainings) -> None:
    nursery = nursery_of(warm)
    job = warm.service.start(Waiter, {"gate": "never"})
    pid = warm.begun(job)
    warm.service.scheduler.stop()
    assert start_token(nursery) == ""
    assert start_token(pid)


def test_a_library_with_threads_is_not_forked(start_trainings: Start, tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(THREADED)
    libraries = (*LIBRARIES, Library(package="threaded", path=str(tmp_path)))
    trainings = start_trainings(launcher="warm", libraries=libraries)
    launcher = launcher_of(trainings)
    launcher._libraries = libraries
    launcher.warm_up()
    wait_for(lambda: is_warm(trainings), what="the warm process")
    nursery = nursery_of(trainings)
    job = trainings.ended(trainings.service.start(Empty, {}))
    assert (job.state, job.worker_pid) == (JobState.COMPLETED, nursery)
    wait_for(lambda: is_warm(trainings), what="the next warm process")
    assert nursery_of(trainings) != nursery


def test_a_library_that_cannot_be_imported_is_tried_again_later(
    start_trainings: Start, tmp_path: Path
) -> None:
    libraries = (*LIBRARIES, Library(package="late_package", path=str(tmp_path)))
    trainings = start_trainings(launcher="warm", libraries=libraries)
    launcher = launcher_of(trainings)
    launcher._libraries = libraries
    for _ in range(4):
        found = trainings.ended(trainings.service.start(Empty, {}))
        assert found.state is JobState.ERRORED
        assert found.reasons == ("No module named 'late_package'",)
    (tmp_path / "late_package.py").touch()

    def is_warmed_up() -> bool:
        """Whether it is, after a training: they are what starts the warm process."""
        trainings.ended(trainings.service.start(Empty, {}))
        return is_warm(trainings)

    wait_for(is_warmed_up, what="the warm process")
    job = trainings.ended(trainings.service.start(Empty, {}))
    assert job.state is JobState.COMPLETED


def test_the_warm_process_comes_with_the_first_training(start_trainings: Start) -> None:
    trainings = start_trainings(launcher="warm")
    launcher = launcher_of(trainings)
    assert launcher._nursery is None
    assert trainings.ended(trainings.service.start(Empty, {})).state is JobState.COMPLETED
    wait_for(lambda: is_warm(trainings), what="the warm process")


def test_the_warm_process_goes_when_there_is_nothing_to_train(
    tmp_path: Path, start_trainings: Start
) -> None:
    (tmp_path / "impatient.py").write_text("import __main__; __main__._IDLE = 0.01")
    libraries = (*LIBRARIES, Library(package="impatient", path=str(tmp_path)))
    trainings = start_trainings(launcher="warm", libraries=libraries)
    launcher = launcher_of(trainings)
    launcher._libraries = libraries
    launcher.warm_up()
    nursery = nursery_of(trainings)
    wait_for(lambda: not start_token(nursery), what="the end of the warm process")
    assert not is_warm(trainings)
    assert trainings.ended(trainings.service.start(Empty, {})).state is JobState.COMPLETED
    assert nursery_of(trainings) != nursery


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV])
def test_how_a_worker_without_its_warm_process_ended_is_known(
    warm: Trainings, signal_number: signal.Signals
) -> None:
    job = warm.service.start(Waiter, {"gate": "never"})
    pid = warm.begun(job)
    os.kill(nursery_of(warm), signal.SIGKILL)
    wait_for(lambda: not start_token(nursery_of(warm)), what="the end of the warm process")
    os.kill(pid, signal_number)
    assert f"signal {signal_number.value} " in warm.ended(job).reasons[0]
