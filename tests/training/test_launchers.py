"""What workers are started with, and what is said of their end."""

import os
import signal
import subprocess
import sys

import pytest

from kitfox.training.launchers import AdoptedWorker, Exit, clean_environment
from kitfox.training.processes import JOB_VARIABLE, is_running, is_same, start_token
from tests.waiting import wait_for


def test_workers_do_not_inherit_what_embeds_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONHOME", JOB_VARIABLE, "KEPT"):
        monkeypatch.setenv(name, "x")
    environ = clean_environment({"ADDED": "y"})
    assert environ["KEPT"] == "x"
    assert environ["ADDED"] == "y"
    assert not {"LD_PRELOAD", "PYTHONHOME", JOB_VARIABLE} & set(environ)
    assert clean_environment({"LD_PRELOAD": "mine"})["LD_PRELOAD"] == "mine"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (3, "worker exited with status 3"),
        (-signal.SIGKILL, "worker was killed by signal 9 (SIGKILL)"),
        (-40, "worker was killed by signal 40 (no name)"),
    ],
)
def test_an_exit_is_a_sentence(status: int, text: str) -> None:
    assert str(Exit(status=status)) == text


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    token = start_token(os.getpid())
    assert is_running(os.getpid(), token)
    assert not is_running(os.getpid(), "1@another boot")
    assert not is_running(os.getpid(), "")
    assert start_token(2**22 + 1) == ""


@pytest.mark.parametrize(("ending", "status"), [("os._exit(7)", 7), ("os.abort()", -6)])
def test_how_somebody_else_s_child_ends_is_known(ending: str, status: int) -> None:
    command = [sys.executable, "-c", GRANDCHILD.format(ending=ending)]
    pid = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    worker = AdoptedWorker(pid, start_token(pid))
    assert worker.poll() is None
    os.kill(pid, signal.SIGUSR1)
    assert wait_for(worker.poll) == Exit(status=status)
    # Whether it is still in the table of processes must make no difference.
    wait_for(lambda: not is_same(pid, worker.start), what="that its parent has fetched its status")
    assert worker.poll() == Exit(status=status)
    worker.close()


GRANDCHILD = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
pid = os.fork()
if pid:
    print(pid, flush=True)
    os._exit(0)
os.close(1)
os.setsid()
signal.sigwait([signal.SIGUSR1])
{ending}
"""


def test_of_a_process_that_was_gone_before_nothing_is_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert AdoptedWorker(process.pid, "1@then").poll() == Exit(status=None)
