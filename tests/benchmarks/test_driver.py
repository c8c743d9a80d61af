"""The driver from end to end, with as little load as it can make. Speeds are not looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.load import INSTALL, missing_programs

from tests.conftest import ROOT


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs(["grpc"])), reason=INSTALL)
def test_the_template_is_measured_and_reported(tmp_path: Path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    works = "hello.start,hello.memory,hello.grpc-32,hello.grpc-1"
    done = bench(
        *("--work", works, "--only", "kitfox", "--rounds", "1", "--seconds", "3"),
        *("--json", str(figures), "--page", str(page)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert set(found["figures"]) == set(works.split(","))
    for name, metrics in {
        "hello.start": {"seconds"},
        "hello.memory": {"rss", "pss"},
        "hello.grpc-32": {"rate", "cpu"},
        "hello.grpc-1": {"rate", "cpu", "p50", "p99"},
    }.items():
        (measured,) = found["figures"][name]["Kitfox"]
        assert measured.pop("round") == 1
        assert set(measured) == metrics
        # Processor time is counted in steps, which so short a load may not fill.
        assert all(value > 0 for metric, value in measured.items() if metric != "cpu")
    assert found["versions"]["Kitfox"]["kitfox"]
    assert "gRPC unary, 32 in flight" in page.read_text()


def test_names_that_there_are_not_are_told() -> None:
    done = bench("--only", "nobody")
    assert done.returncode != 0
    assert "no contestant is called 'nobody'" in done.stderr
