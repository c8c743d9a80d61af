"""Workers that are killed under a real server: it is noticed by their end, not by their silence."""

import os
import signal
from pathlib import Path

import pytest

from kitfox.training import JobStore
from tests.services.courses import CoursesServer, Hold, courses

pytestmark = pytest.mark.slow


def kill_worker(server: CoursesServer, training: str) -> None:
    store = JobStore(f"sqlite:///{server.project / 'training_output' / 'jobs.sqlite3'}")
    pid = store.get(training).worker_pid
    store.close()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("warm", ["true", "false"])
def test_a_killed_worker_is_noticed_at_once(tmp_path: Path, warm: str) -> None:
    """Its lease would be over in ten minutes; nobody here waits for so long."""
    options = {"SERVER_ENGINE": "hypercorn", "TRAINING_LEASE_SECONDS": "600"}
    with courses(tmp_path, TRAINING_WARM=warm, **options) as server:
        hold = Hold(tmp_path / "hold")
        watched, adopted = (server.begin("one", hold=str(hold)) for _ in range(2))
        hold.begun(2)
        kill_worker(server, watched)
        shown = server.ended(watched, "ERRORED")
        assert shown["reasons"] == ["worker was killed by signal 9 (SIGKILL)"]
        assert "step 1\n" in shown["log_tail"]
        server.kill()
        server.start()
        assert server.show(adopted)["state"] == "RUNNING"
        kill_worker(server, adopted)
        shown = server.ended(adopted, "ERRORED")
        assert shown["reasons"][0] in (
            "worker was killed by signal 9 (SIGKILL)",
            # What a kernel of before 2025 leaves to be known.
            "worker ended without a word while another server, or none, was watching",
        )
        assert "step 1\n" in shown["log_tail"]
