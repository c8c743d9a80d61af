"""The job store by itself: how fast it lists, and how fast it takes what is submitted."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.answers import WrongAnswer
from benchmarks.contestants import ROOT, Contestant, Place, python_of

if TYPE_CHECKING:
    from benchmarks.measurement import Figures, Options

__all__ = ["JOB_STORE"]

SCRIPT = Path(__file__).resolve().parent / "trainings" / "job_store.py"


def job_store(place: Place, options: "Options") -> "dict[str, Figures]":
    """Measures it in a process of its own."""
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        done = subprocess.run(
            [str(python_of(place.environments, "")), "-W", "ignore", str(SCRIPT), folder],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
    if done.returncode:
        raise WrongAnswer(f"{SCRIPT.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        **{
            f"training.list-{name}": {"milliseconds": milliseconds}
            for name, milliseconds in found["list"].items()
        },
        "training.submit-idle": found["idle"],
        "training.submit-queued": found["queued"],
    }


JOB_STORE = Contestant(
    name="job store",
    environment="",
    packages=("kitfox",),
    own={"training": job_store},
)
