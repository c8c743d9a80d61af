"""The faults that other tests make happen do happen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from tests.conftest import ROOT
from tests.waiting import wait_for

from .faults import Action, Call, Fault, FaultFile, calls_made, environment, set_clock

# One of each call, in a folder; writes to the standard output what went wrong.
SCRIPT = """
import os, shutil, sys
from pathlib import Path
os.chdir(sys.argv[1])
def attempt(name, action):
    try:
        action()
    except OSError as error:
        print(name, error.errno, flush=True)
file = os.open("file", os.O_RDWR | os.O_CREAT)
attempt("write", lambda: os.write(file, b"x"))
attempt("fsync", lambda: os.fsync(file))
attempt("truncate", lambda: os.ftruncate(file, 0))
attempt("mkdir", lambda: Path("folder").mkdir())
attempt("rename", lambda: os.rename("file", "folder/renamed"))
attempt("link", lambda: os.link("folder/renamed", "linked"))
attempt("unlink", lambda: os.unlink("linked"))
attempt("open", lambda: Path("folder/renamed").open())
attempt("read", lambda: Path("folder/renamed").read_bytes())
attempt("removal", lambda: shutil.rmtree("folder"))
"""


def run(folder: Path, values: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=os.environ | values,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "folder"
    found.mkdir()
    return found


@pytest.mark.parametrize(
    ("call", "error"),
    [("write", 5), ("fsync", 5), ("truncate", 28), ("mkdir", 28), ("rename", 30), ("link", 13)],
)
def test_the_call_that_was_chosen_fails(folder: Path, call: Call, error: int) -> None:
    action: Action = {5: "EIO", 28: "ENOSPC", 30: "EROFS", 13: "EACCES"}[error]  # type: ignore[assignment] # one of them
    done = run(folder, environment(Fault(calls=(call,), below=folder, number=1, action=action)))
    assert done.stdout.splitlines()[0] == f"{call} {error}", done.stderr


def test_calls_are_counted_and_none_fails_elsewhere(folder: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    every = get_args(Call)
    assert run(folder, environment(Fault(calls=every, below=folder), note=note)).stdout == ""
    names = {line.split()[1] for line in note.read_text().splitlines()}
    assert names == set(every)
    assert calls_made(note) > len(every)
    elsewhere = Fault(calls=every, below=tmp_path / "folde", number=1, lasting=True)
    assert run(folder, environment(elsewhere)).stdout == ""


def test_a_disk_stays_full(folder: Path) -> None:
    fault = Fault(calls=("write", "mkdir"), below=folder, number=1, action="ENOSPC", lasting=True)
    assert run(folder, environment(fault)).stdout.splitlines()[:2] == ["write 28", "mkdir 28"]


def test_a_process_is_killed_before_the_call(folder: Path) -> None:
    fault = Fault(calls=("rename",), below=folder, number=1, action="kill")
    assert run(folder, environment(fault)).returncode == -signal.SIGKILL
    assert sorted(path.name for path in folder.iterdir()) == ["file", "folder"]


def test_a_process_is_stopped_before_the_call_and_goes_on(folder: Path) -> None:
    fault = Fault(calls=("rename",), below=folder, number=1, action="stop")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)], env=os.environ | environment(fault)
    )
    wait_for(
        lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T", what="the stop"
    )
    assert (folder / "file").exists()
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    assert list(folder.iterdir()) == []


def test_a_fork_has_the_faults_that_are_written_then(folder: Path, tmp_path: Path) -> None:
    script = """
import os, sys
for line in sys.stdin:
    if os.fork() == 0:
        try:
            os.mkdir(sys.argv[1] + "/folder")
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
    faults, note = FaultFile(tmp_path / "faults"), tmp_path / "note"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | faults.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def fork() -> int:
            print(file=process.stdin, flush=True)
            assert process.stdout is not None
            return int(process.stdout.readline())

        full = Fault(calls=("mkdir",), below=folder, number=1, action="ENOSPC")
        for _ in range(2):
            faults.write(full, note=note)
            assert fork() == 28
        assert calls_made(note) == 2
        faults.write()
        assert fork() == 0
        assert calls_made(note) == 2


def test_settings_may_change_while_other_threads_make_calls(folder: Path, tmp_path: Path) -> None:
    script = """
import sys, threading
from pathlib import Path
from tests.training.faults import Fault, FaultFile
folder, faults, note = Path(sys.argv[1]), FaultFile(Path(sys.argv[2])), Path(sys.argv[3])
over = False

def write():
    with (folder / "file").open("wb", buffering=0) as file:
        while not over:
            file.write(b"x")

threads = [threading.Thread(target=write) for _ in range(2)]
for thread in threads:
    thread.start()
faults.write(Fault(calls=("write",), below=folder), note=note)
for _ in range(1000):
    faults.apply()
over = True
for thread in threads:
    thread.join()
"""
    faults = FaultFile(tmp_path / "faults")
    done = subprocess.run(
        [sys.executable, "-c", script, folder, tmp_path / "faults", tmp_path / "note"],
        cwd=ROOT,
        env=os.environ | faults.environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert calls_made(tmp_path / "note") > 0


def test_the_clock_of_a_process_jumps(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 3600)
    script = (
        "import datetime, sys, time\n"
        "for line in sys.stdin:\n"
        "    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | environment(clock=clock),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset in (3600, -3600):
            set_clock(clock, offset)
            process.stdin.write("\n")
            process.stdin.flush()
            wall, date, monotonic = map(float, process.stdout.readline().split())
            assert abs(wall - time.time() - offset) < 60
            assert abs(date - time.time() - offset) < 60
            assert abs(monotonic - time.monotonic()) < 60
