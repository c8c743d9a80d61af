"""Whatever call of the scheduler's fails, in whatever transition: the job ends right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

from .faults import FaultFile

pytestmark = pytest.mark.slow

MOST = int(os.environ.get("KITFOX_TRANSITION_FAULTS", "8"))
"""Calls of each transition that fail, one at a time, evenly spread over all of them."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("action", "calls"), [("EIO", "changes"), ("ENOSPC", "changes"), ("EIO", "looks")]
)
def test_any_call_of_a_transition_may_fail(tmp_path: Path, action: str, calls: str) -> None:
    """Added, claimed, cancelled, stopped, tried again, settled, promoted and removed."""
    faults = FaultFile(tmp_path / "faults")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.training.transition_faults"),
            *(tmp_path, action, str(MOST), calls),
        ],
        cwd=ROOT,
        env=os.environ | faults.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-10_000:]}"
