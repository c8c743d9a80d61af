"""What workers are started with, and what is said of their end."""

import os
import signal

import pytest

from kitfox.training.launchers import Exit, clean_environment
from kitfox.training.processes import JOB_VARIABLE, is_running, start_token


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
