"""Servers that are killed, and what the next one makes of the jobs they have accepted."""

import datetime
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitfox.modules import load_model
from kitfox.modules.publication import make_folder
from kitfox.training import Job, JobState, JobStore
from kitfox.training.processes import is_running, start_token
from kitfox.training.publication import is_published, partial_path, put_in_place, seal
from tests.waiting import wait_for

from .conftest import LIBRARIES, Trainings
from .trainers import Empty, Waiter

pytestmark = pytest.mark.slow

Start = Callable[..., Trainings]

# A server that accepts trainings, one line of JSON each, and acknowledges them by their ids.
SERVER = """
import sys, json
from pathlib import Path
from kitfox.training import *

folder, launcher = Path(sys.argv[1]), sys.argv[2]
libraries = [Library(package="trainers", path=sys.argv[3])]
sys.path.insert(0, sys.argv[3])
import trainers
store = JobStore(f"sqlite:///{folder / 'jobs.sqlite3'}")
scheduler = Scheduler(
    store=store,
    max_concurrent=1,
    launcher=WarmLauncher(store_url=store.url, libraries=libraries) if launcher == "warm" else None,
)
scheduler.start()
service = TrainingService(
    store=store, scheduler=scheduler, output_dir=folder / "models", libraries=libraries
)
for line in sys.stdin:
    name, parameters = json.loads(line)
    print(service.start(getattr(trainers, name), parameters).id, flush=True)
"""


@pytest.fixture(params=["cold", "warm"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), request.param, LIBRARIES[0].path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def accept(server: "subprocess.Popen[str]", request: str) -> str:
    """The id of a training that the server has accepted."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(request + "\n")
    server.stdin.flush()
    return server.stdout.readline().strip()


def test_a_killed_server_loses_nothing_it_has_accepted(
    server: "subprocess.Popen[str]", tmp_path: Path, start_trainings: Start
) -> None:
    gate = tmp_path / "gate"
    accept(server, '["Empty", {}]')
    running = accept(server, f'["Waiter", {{"gate": "{gate}"}}]')
    waiting = [accept(server, '["Empty", {}]') for _ in range(3)]
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    pid = wait_for(lambda: store.get(running).worker_pid)
    token = store.get(running).worker_start
    server.kill()
    server.wait()
    assert is_running(pid, token)
    assert store.get(waiting[0]).state is JobState.QUEUED

    trainings = start_trainings(max_concurrent=1)
    assert store.get(running).state is JobState.RUNNING
    gate.touch()
    for job_id in (running, *waiting):
        found = trainings.ended(store.get(job_id))
        assert (found.state, found.attempt) == (JobState.COMPLETED, 1)
        assert trainings.service.model_path(job_id) is not None
    store.close()


def test_a_training_that_ends_while_there_is_no_server_is_complete(
    server: "subprocess.Popen[str]", tmp_path: Path, start_trainings: Start
) -> None:
    gate = tmp_path / "gate"
    job_id = accept(server, f'["Waiter", {{"gate": "{gate}"}}]')
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    pid = wait_for(lambda: store.get(job_id).worker_pid)
    server.kill()
    server.wait()
    gate.touch()
    wait_for(lambda: not start_token(pid))
    trainings = start_trainings()
    assert store.get(job_id).state is JobState.COMPLETED
    assert trainings.service.model_path(job_id) is not None
    store.close()


def test_a_worker_that_dies_while_there_is_no_server_is_noticed(
    server: "subprocess.Popen[str]", tmp_path: Path, start_trainings: Start
) -> None:
    job_id = accept(server, '["Waiter", {"gate": "never"}]')
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    pid = wait_for(lambda: store.get(job_id).worker_pid)
    server.kill()
    server.wait()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not start_token(pid))
    found = start_trainings().ended(store.get(job_id))
    assert found.state is JobState.ERRORED
    # The latter if whoever took it in has fetched its status before the next server came.
    assert found.reasons[0] in (
        "worker was killed by signal 9 (SIGKILL)",
        "worker ended without a word while another server, or none, was watching",
    )
    store.close()


@pytest.mark.parametrize("moment", range(0, 400, 40))
def test_a_server_killed_at_any_moment_loses_no_training(
    tmp_path: Path, start_trainings: Start, moment: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), "cold", LIBRARIES[0].path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        accepted = [accept(process, '["Empty", {}]') for _ in range(2)]
        # What is tested holds at any moment, so this is the one place that lets time pass.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moment / 1000)
        process.kill()
    trainings = start_trainings()
    for job_id in accepted:
        found = trainings.ended(trainings.store.get(job_id))
        assert (found.state, found.reasons) == (JobState.COMPLETED, ())
    assert trainings.leftovers() == []


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[tuple[JobStore, Job]]:
    """A job whose worker has begun and is gone, with a model that it has saved."""
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    added = Job(
        id=str(uuid.uuid4()),
        module_id=Empty.MODULE_ID,
        created=datetime.datetime.now(datetime.UTC),
        parameters="{}",
        output_path=str(tmp_path / "models" / "m"),
        overwrite=True,
    )
    store.add(added)
    store.claim_next(host=os.uname().nodename)
    job = store.begin(added.id, attempt=1, pid=2**22 + 1, start="1@then", environment={})
    assert job is not None
    make_folder(Path(job.output_path).parent)
    Empty("new").save(str(partial_path(job)))
    seal(partial_path(job), job)
    yield store, job
    store.close()


def test_a_worker_that_died_after_publishing_has_completed(
    dying: tuple[JobStore, Job], start_trainings: Start
) -> None:
    _, job = dying
    put_in_place(job)
    assert is_published(job)
    trainings = start_trainings()
    assert trainings.in_state(job, JobState.COMPLETED).reasons == ()
    assert trainings.service.model_path(job.id) == Path(job.output_path)


def test_a_model_that_was_in_place_before_the_cancel_is_kept(
    dying: tuple[JobStore, Job], start_trainings: Start
) -> None:
    store, job = dying
    put_in_place(job)
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    start_trainings().in_state(job, JobState.COMPLETED)


def test_a_worker_that_died_before_publishing_leaves_nothing(
    dying: tuple[JobStore, Job], start_trainings: Start
) -> None:
    _, job = dying
    trainings = start_trainings()
    trainings.in_state(job, JobState.ERRORED)
    assert trainings.leftovers() == []
    assert not Path(job.output_path).exists()


def test_a_model_that_was_set_aside_comes_back(
    dying: tuple[JobStore, Job], start_trainings: Start
) -> None:
    _, job = dying
    aside = partial_path(job).with_suffix(".replaced")
    Empty("old").save(str(aside))
    trainings = start_trainings()
    trainings.in_state(job, JobState.ERRORED)
    assert load_model(job.output_path).value == "old"  # type: ignore[attr-defined] # an Empty
    assert trainings.leftovers() == []


def test_waiting_is_over_when_the_scheduler_stops(trainings: Trainings) -> None:
    """Stopping a server takes no longer because trainings run, and leaves them running."""
    job = trainings.service.start(Waiter, {"gate": "never"})
    pid = wait_for(lambda: trainings.store.get(job.id).worker_pid)
    trainings.service.scheduler.stop()
    assert start_token(pid)
