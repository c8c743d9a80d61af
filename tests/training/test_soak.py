"""Trainings survive kills at random; `KITFOX_SOAK_SECONDS` says for how long, `..._SEED` which."""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.training.soak import Soak

SECONDS = float(os.environ.get("KITFOX_SOAK_SECONDS", "60"))


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS + 300)
def test_trainings_survive_kills_at_random(tmp_path: Path) -> None:
    # The same each time, but for a long run: a change is not to fail by what it has not done.
    seed = int(os.environ.get("KITFOX_SOAK_SEED", "1") or random.randrange(10**6))  # noqa: S311 -- no secret
    sys.stdout.write(f"KITFOX_SOAK_SEED={seed}\n")  # shown if it fails
    counts = Soak(tmp_path, seconds=SECONDS, seed=seed).run()
    assert counts["start"] > 0
    assert counts["ended COMPLETED"] > 0
