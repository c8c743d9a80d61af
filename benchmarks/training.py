"""What a training costs beside its work: empty ones, in processes of their own or in threads."""

import functools
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.answers import WrongAnswer
from benchmarks.contestants import ROOT, Contestant, Own, Place, python_of

if TYPE_CHECKING:
    from benchmarks.measurement import Figures, Options

__all__ = ["WAYS_TO_TRAIN", "training"]

HERE = Path(__file__).resolve().parent / "trainings"
IMPORTS = "import kitfox.training.worker, empty_library"
BARE = 10


def training(script: str, *arguments: str, environment: str = "") -> Own:
    """What measures trainings by a script.

    Args:
        script: Its name.
        arguments: What it is told before the folder to work in.
        environment: The virtual environment that it runs in.
    """
    return functools.partial(_trained, script, arguments, environment)


def _trained(
    script: str,
    arguments: tuple[str, ...],
    environment: str,
    place: Place,
    options: "Options",
) -> "dict[str, Figures]":
    python = str(python_of(place.environments, environment))
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        done = subprocess.run(
            [python, "-W", "ignore", str(HERE / script), *arguments, folder],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
    if done.returncode:
        raise WrongAnswer(f"{script} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "training.overhead": {"milliseconds": found["milliseconds"]},
        "training.rate": {"rate": found["rate"]},
    }


def bare(place: Place, options: "Options") -> "dict[str, Figures]":
    """A Python that imports what a worker imports, and ends."""
    command = [str(python_of(place.environments, "")), "-c", IMPORTS]
    times = []
    for _ in range(BARE):
        begin = time.perf_counter()
        done = subprocess.run(command, env=_environment(), check=False)
        times.append(time.perf_counter() - begin)
        if done.returncode:
            raise WrongAnswer(f"{IMPORTS} ended with {done.returncode}")
    return {"training.overhead": {"milliseconds": statistics.median(times) * 1000}}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{HERE}"}


WAYS_TO_TRAIN = (
    Contestant(
        name="a new Python for each training",
        environment="",
        packages=("kitfox",),
        own={"training": training("kitfox_trainings.py", "cold")},
    ),
    Contestant(
        name="Python with the same imports",
        environment="",
        packages=("kitfox",),
        own={"training": bare},
    ),
)
"""Beside Kitfox as it is by default, with a warm process."""
