"""Where the microseconds of one call go, room by room: the template's example under load.

    make profile

Processor time is the kernel's, thread by thread, from a load that nothing disturbs. How that of
Python's threads is shared among the rooms is py-spy's: under a second load it looks at the stack
that holds the interpreter's lock. What compiled code does counts where it is called from. The
stacks are kept, in the form that flame graphs are drawn from.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contestants import ROOT, Place, Target, python_of
from benchmarks.kitfox_servers import example
from benchmarks.load import INSTALL, Load, missing_programs, press
from benchmarks.measurement import Session, session
from benchmarks.process_tree import ThreadTimes, thread_times

RATE = 400
"""Looks at the stacks, a second."""
LOADS = {"grpc": (4, 8), "rest": (32, 1)}
"""By protocol: connections, and requests in flight on each."""
ENVOY = re.compile(r"wrk:worker_\d+")
"""How the kernel calls Envoy's worker threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One protocol under load."""

    rate: float
    """Calls a second, without py-spy."""
    envoy: float
    """Processor time of Envoy's threads, microseconds a call."""
    python: float
    """The same of all other threads of the process: those that run Python."""
    stacks: Mapping[tuple[str, ...], int]
    """How often each stack was seen to hold the interpreter's lock, from the outermost function to
    the innermost."""

    def rooms(self) -> list[tuple[str, float]]:
        """Microseconds a call by room, the most first."""
        found: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            found[room_of(stack[-1])] += count
        looks = found.total() or 1
        spent = {room: self.python * count / looks for room, count in found.items()}
        return sorted([*spent.items(), ("Envoy", self.envoy)], key=lambda item: -item[1])

    def functions(self, most: int) -> list[tuple[str, float]]:
        """The functions with the most samples of their own, as a share of all samples."""
        found: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            found[function_of(stack[-1])] += count
        total = found.total() or 1
        return [(name, count / total) for name, count in found.most_common(most)]


def room_of(frame: str) -> str:
    """The room that a frame, `function (file:line)`, belongs to."""
    path = frame.rpartition("(")[2]
    # What data objects compile for themselves has no file.
    if path.startswith("<kitfox "):
        return "kitfox: data"
    if found := re.search(r"/kitfox/(\w+)(/|\.py)", path):
        return f"kitfox: {found[1]}"
    if found := re.search(r"/site-packages/(\w+)", path):
        return f"package {found[1]}"
    if re.search(r"/python3\.\d+/", path) or path.startswith("<"):
        return "Python's library"
    return "the model"


def function_of(frame: str) -> str:
    """A frame without its line: `function (room/file.py)`."""
    name, _, place = frame.rpartition(" (")
    file = place.rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({'/'.join(file.split('/')[-2:])})"


def read_stacks(text: str) -> dict[tuple[str, ...], int]:
    """What py-spy writes: frames with semicolons between them, a space, how often."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(part for part in stack.split(";") if not part.startswith("thread ("))
        if frames:
            found[frames] += int(count)
    return dict(found)


def envoy_process(running: Session) -> int:
    """The process that Envoy and the interpreter share.

    Raises:
        SystemExit: There is none: Envoy does not run here.
    """
    for pid in running.tree.pids():
        if any(ENVOY.fullmatch(name) for name in thread_times(pid)):
            return pid
    sys.exit("profile: no process of the server has Envoy's threads; it runs on hypercorn?")


def profiled(target: Target, pid: int, seconds: float, spy: Path, output: Path) -> Profile:
    """Two loads on a target: one by itself, one looked at."""
    callers, at_once = LOADS[target.protocol]
    press(target, callers=callers, at_once=at_once, seconds=1)
    before = thread_times(pid)
    load = press(target, callers=callers, at_once=at_once, seconds=seconds)
    spent = {name: time - before.get(name, 0.0) for name, time in thread_times(pid).items()}
    return Profile(
        rate=load.rate,
        envoy=_per_call(spent, load, of_envoy=True),
        python=_per_call(spent, load, of_envoy=False),
        stacks=looked_at(target, pid, seconds, spy, output),
    )


def _per_call(spent: ThreadTimes, load: Load, *, of_envoy: bool) -> float:
    times = (time for name, time in spent.items() if bool(ENVOY.fullmatch(name)) is of_envoy)
    return sum(times) / load.calls * 1e6


def looked_at(
    target: Target, pid: int, seconds: float, spy: Path, output: Path
) -> dict[tuple[str, ...], int]:
    """The stacks of a load.

    Raises:
        SystemExit: py-spy could not look.
    """
    callers, at_once = LOADS[target.protocol]
    load = {"callers": callers, "at_once": at_once, "seconds": seconds + 2}
    thread = threading.Thread(target=press, args=(target,), kwargs=load)
    thread.start()
    # Without stopping the process at each look: a stack that was torn is dropped.
    command = [str(spy), "record", "--pid", str(pid), "--format", "raw", "--output", str(output)]
    command += ["--rate", str(RATE), "--duration", str(round(seconds)), "--nonblocking"]
    command += ["--full-filenames", "--threads", "--gil"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    thread.join()
    if done.returncode:
        sys.exit(f"profile: py-spy could not look at the server: {done.stderr.strip()}")
    return read_stacks(output.read_text())


def tables(profiles: Mapping[str, Profile]) -> Iterator[Table]:
    """By room with both protocols side by side, and the busiest functions of each."""
    rooms = Table(title="Microseconds of processor time a call, by room", title_justify="left")
    rooms.add_column("")
    for name, profile in profiles.items():
        rooms.add_column(f"{name}, {profile.rate:,.0f}/s", justify="right")
    columns = [dict(profile.rooms()) for profile in profiles.values()]
    for room in sorted(set().union(*columns), key=lambda room: -columns[0].get(room, 0.0)):
        rooms.add_row(room, *(f"{column.get(room, 0.0):.1f}" for column in columns))
    rooms.add_row("all", *(f"{sum(column.values()):.1f}" for column in columns))
    yield rooms
    for name, profile in profiles.items():
        busiest = Table(title=f"{name}: the busiest functions", title_justify="left")
        busiest.add_column("")
        busiest.add_column("of the samples", justify="right")
        for function, share in profile.functions(12):
            busiest.add_row(function, f"{share:.1%}")
        yield busiest


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if missing := missing_programs():
        sys.exit(f"profile: {' and '.join(missing)} not found; {INSTALL}")
    spy = python_of(options.environments.resolve(), "bench").with_name("py-spy")
    options.output.mkdir(parents=True, exist_ok=True)
    profiles = {}
    with tempfile.TemporaryDirectory(prefix="kitfox-profile-") as name:
        launch = example(Place(folder=Path(name), environments=options.environments))
        with session(launch, Path(name), launch.targets["rest"]) as running:
            pid = envoy_process(running)
            for protocol, target in launch.targets.items():
                output = options.output / f"stacks-{protocol}.txt"
                profiles[protocol] = profiled(target, pid, options.seconds, spy, output)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in tables(profiles):
        console.print(table)
    console.print(f"The stacks are in {options.output}/stacks-*.txt", highlight=False)


if __name__ == "__main__":
    main()
