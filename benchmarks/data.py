"""Data objects: Kitfox beside caikit 0.29.0, interleaved, as ratios.

    make bench-data

Each implementation runs in a process and environment of its own; repetitions alternate, the
medians count. Times are in microseconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def measure(python: str, implementation: str) -> dict[str, float]:
    """One run of all work."""
    done = subprocess.run(
        [python, "-W", "ignore", str(HERE / "data_work.py"), implementation],
        check=True,
        capture_output=True,
        text=True,
    )
    results: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return results


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caikit", help="the Python of an environment with caikit 0.29.0")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contestants = {"kitfox": sys.executable}
    if options.caikit:
        contestants["caikit"] = options.caikit
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, python in contestants.items():
            runs[name].append(measure(python, name))
    report(runs)


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    """Prints medians and ratios."""
    middle = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    ours, theirs = middle["kitfox"], middle.get("caikit", {})
    print(f"{'work':<18}{'kitfox':>12}{'caikit':>12}{'ratio':>9}")
    for key, value in ours.items():
        other = theirs.get(key)
        shown = f"{other * 1e6:>12.2f}" if other is not None else f"{'':>12}"
        ratio = f"{other / value:>8.1f}x" if other and value else ""
        print(f"{key:<18}{value * 1e6:>12.2f}{shown}{ratio}")
    above = ours["server bytes"] - ours["upb alone"]
    print(f"\nbytes in and out in the server, above upb's own: {above * 1e6:.2f} us (goal: 2)")


if __name__ == "__main__":
    main()
