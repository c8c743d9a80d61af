"""Runs Python in a process of its own, as an author would, with caikit's names in place."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
RunScript: TypeAlias = Callable[..., str]


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without what other tests, or a developer, may have set for Kitfox."""
    ours = ("KITFOX_", "RUNTIME_", "CONFIG_FILES", "LOG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **variables}


@pytest.fixture
def run_caikit() -> Run:
    """Runs `python -m kitfox.caikit` with arguments."""

    def run(
        *arguments: str | Path, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "kitfox.caikit", *map(str, arguments)],
            cwd=cwd,
            env=clean_environment(**variables),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def run_script(tmp_path: Path, run_caikit: Run) -> RunScript:
    """Writes a script and runs it with caikit's names; what it prints is given, errors fail."""

    def run(script: str, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(script), encoding="utf-8")
        done = run_caikit(file, *arguments, cwd=cwd or tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
