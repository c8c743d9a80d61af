"""Measures and reports.

make bench                       Kitfox and the limits: what lies below a model server
make bench-peers                 the same and the peers: other model servers
make bench WORK=hello ROUNDS=3   some of the work
"""

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.contestants import ROOT, Contestant
from benchmarks.data_suite import BARE
from benchmarks.kitfox_servers import KITFOX, MODES
from benchmarks.limit_servers import LIMITS
from benchmarks.load import INSTALL, missing_programs
from benchmarks.machine import machine, versions
from benchmarks.measurement import Options, Results, run_rounds
from benchmarks.peer_servers import PEERS
from benchmarks.report import Report
from benchmarks.special import SPECIAL
from benchmarks.training import WAYS_TO_TRAIN
from benchmarks.training_store import JOB_STORE
from benchmarks.work import WORKS, chosen_works


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="work: " + ", ".join(work.name for work in WORKS),
    )
    listed = {"type": lambda text: [part for part in text.split(",") if part], "default": []}
    parser.add_argument("--peers", action="store_true", help="measure other model servers as well")
    parser.add_argument("--work", **listed, help="suites or works, with commas between them")  # type: ignore[arg-type] # argparse takes them so
    parser.add_argument("--only", **listed, help="contestants, with commas between them")  # type: ignore[arg-type] # argparse takes them so
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="the length of each load")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of `flat`")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of `data`")
    parser.add_argument("--models", type=int, default=10_000, help="model folders of `models`")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "last.json")
    parser.add_argument("--page", type=Path, help="write the page of the documentation here")
    return parser.parse_args()


def contestants(options: argparse.Namespace) -> list[Contestant]:
    """All that take part; those named, if any are.

    Raises:
        ValueError: There is none of a name.
    """
    all_of_them = [
        KITFOX,
        *LIMITS,
        BARE,
        *SPECIAL,
        *WAYS_TO_TRAIN,
        JOB_STORE,
        *MODES,
        *(PEERS if options.peers else ()),
    ]
    if not options.only:
        return all_of_them
    by_name = {item.name.lower(): item for item in [*all_of_them, *PEERS]}
    unknown = [name for name in options.only if name.lower() not in by_name]
    if unknown:
        raise ValueError(f"no contestant is called {unknown[0]!r}: {', '.join(by_name)}")
    return [by_name[name.lower()] for name in options.only]


def main() -> None:
    """Measures what was asked for, prints it and writes it down."""
    # A driver that is told to end still stops the server that it measures.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
    chosen = arguments()
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        works, taking_part = chosen_works(chosen.work), contestants(chosen)
    except ValueError as err:
        sys.exit(f"bench: {err}")
    missing = missing_programs({work.target for work in works})
    if missing:
        sys.exit(f"bench: {' and '.join(missing)} not found; {INSTALL}")
    options = Options(
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        environments=chosen.environments.resolve(),
        calls=chosen.calls,
        rows=chosen.rows,
        models=chosen.models,
        say=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
    )
    about = {
        **machine(),
        "rounds": f"{options.rounds} of {options.seconds:g} s for each load",
    }
    results = Results()
    for suite in dict.fromkeys(work.suite for work in works):
        run_rounds(
            suite, [work for work in works if work.suite == suite], taking_part, options, results
        )
    measured = {name for figures in results.figures.values() for name in figures}
    report = Report(
        results,
        about=about,
        versions=versions(
            [item for item in taking_part if item.name in measured], options.environments
        ),
        peers=[item.name for item in PEERS],
    )
    report.show(console)
    report.write_json(chosen.json)
    if chosen.page:
        report.write_page(chosen.page, chosen.page.parent / "benchmarks")
    if not results.figures:
        sys.exit("bench: nothing could be measured")


if __name__ == "__main__":
    main()
