"""The short form of `make fuzz` through sockets: the same requests and bytes each time."""

import subprocess
import sys

import pytest

from tests.abuse.conftest import ENGINES
from tests.conftest import ROOT


@pytest.mark.parametrize("engine", ENGINES)
def test_requests_that_are_nearly_right(engine: str) -> None:
    """The server goes on, answers each, and has nothing to complain of."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--engine", engine, "--cases", "2000", "--seed", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,000 cases" in done.stdout
