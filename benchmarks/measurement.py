"""Rounds of measuring: in each, every contestant is started, measured and stopped in its turn.

So whatever else the machine does in the meantime falls on all alike, and a ratio is taken within
a round.
"""

import contextlib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.answers import WrongAnswer, ask, wait_for_answer
from benchmarks.contestants import Contestant, Launch, Place, Target
from benchmarks.load import LoadFailure, press, press_calls
from benchmarks.process_tree import ProcessTree, started
from benchmarks.work import Work

__all__ = ["Figures", "Options", "Results", "Session", "measure", "pressed", "run_rounds"]

Figures = dict[str, float]
"""Metrics of one work in one round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How it is measured."""

    rounds: int
    """How often each contestant has its turn."""
    seconds: float
    """How long each load lasts."""
    environments: Path
    """The folder of virtual environments."""
    calls: int = 1_000_000
    """How many calls `flat.memory` makes."""
    rows: int = 1_000_000
    """How many rows the works of `data` read."""
    models: int = 10_000
    """How many model folders the works of `models` make."""
    say: Callable[[str], None] = print
    """Told what happens."""


@dataclass(kw_only=True, slots=True)
class Results:
    """What was measured."""

    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    """By work and contestant: the figures of each round, and the round that they are of."""
    problems: dict[str, dict[str, str]] = field(default_factory=dict)
    """By suite and contestant: why something could not be measured in a round, or at all."""
    round: int = 0
    """The round that is running."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a contestant could not be measured in a suite."""

    def add(self, work: str, contestant: str, figures: Figures) -> None:
        """Notes figures."""
        self.figures.setdefault(work, {}).setdefault(contestant, []).append(
            {**figures, "round": self.round}
        )

    def fail(self, suite: str, contestant: str, reason: str) -> None:
        """Notes a failure."""
        self.failures[suite, contestant] += 1
        self.problems.setdefault(suite, {}).setdefault(contestant, reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A server that runs."""

    launch: Launch
    """What was started."""
    tree: ProcessTree
    """Its processes."""
    seconds: float
    """How long it took to the first right answer."""


@contextlib.contextmanager
def session(launch: Launch, folder: Path, first: Target) -> Iterator[Session]:
    """A server while the caller is inside.

    Raises:
        WrongAnswer: It did not start; the message has the end of its log.
    """
    log = folder / "server.log"
    begin = time.perf_counter()
    with started(
        launch.command, environment=launch.environment, cwd=launch.cwd or folder, log=log
    ) as tree:
        try:
            wait_for_answer(first, lambda: tree.process.poll() is None)
            seconds = time.perf_counter() - begin
            for other in launch.targets.values():
                wait_for_answer(other, lambda: tree.process.poll() is None)
            yield Session(launch=launch, tree=tree, seconds=seconds)
        except (WrongAnswer, LoadFailure) as err:
            end = log.read_text(errors="replace")[-2000:]
            raise WrongAnswer(f"{err}\n{end}".strip()) from err


def pressed(work: Work, running: Session, seconds: float) -> Figures:
    """Load on a target: a moment to warm up, then in earnest, with the processor time of both."""
    target = running.launch.targets[work.target]
    ask(target)
    seconds, warm_up = seconds * work.longer, min(1.0, seconds) * work.longer
    # A slow server may have no answer within the time to warm up.
    with contextlib.suppress(LoadFailure):
        press(target, callers=work.callers, at_once=work.at_once, seconds=warm_up)
    if work.longer > 1:
        settle(running.tree)
    before = running.tree.cpu_seconds()
    load = press(target, callers=work.callers, at_once=work.at_once, seconds=seconds)
    cpu = running.tree.cpu_seconds() - before
    figures = {
        "rate": load.rate * target.messages,
        "cpu": cpu / (load.calls * target.messages) * 1000,
    }
    if load.p50 is not None:
        figures["p50"] = load.p50
    if load.p99 is not None:
        figures["p99"] = load.p99
    return figures


def settle(tree: ProcessTree, limit: float = 20.0) -> None:
    """Waits until a server no longer works on requests that nobody waits for."""
    end, pause = time.monotonic() + limit, 0.25
    while time.monotonic() < end:
        before = tree.cpu_seconds()
        time.sleep(pause)
        if tree.cpu_seconds() - before < pause / 4:
            return


def measure(
    contestant: Contestant, works: Sequence[Work], place: Place, options: Options, results: Results
) -> None:
    """One turn of one contestant with the works of one suite."""
    suite = works[0].suite

    def note(name: str, figures: Figures) -> None:
        results.add(name, contestant.name, figures)
        options.say(f"  {name:<19}{contestant.name:<41}{told(figures)}")

    if suite in contestant.own:
        names = {work.name for work in works}
        for name, figures in contestant.own[suite](place, options).items():
            if name in names:
                note(name, figures)
        return
    launch = contestant.suites[suite](place)
    first = next(iter(launch.targets.values()))
    with session(launch, place.folder, first) as running:
        for work in works:
            found = look(work, running, options)
            if found:
                note(work.name, found)


def look(work: Work, running: Session, options: Options) -> Figures:
    """One work on a server that runs; nothing if the server does not do it."""
    if work.name == "hello.start":
        return {"seconds": running.seconds}
    if work.name == "hello.memory":
        memory = running.tree.memory()
        return {"rss": memory.rss, "pss": memory.pss}
    if work.target not in running.launch.targets:
        return {}
    if work.name == "flat.memory":
        return growth(work, running, options.calls)
    return pressed(work, running, options.seconds)


def growth(work: Work, running: Session, calls: int) -> Figures:
    """By how much memory grows after the first ten thousand calls."""
    target = running.launch.targets[work.target]
    sizes = []
    for count in (10_000, calls):
        press_calls(target, callers=work.callers, at_once=work.at_once, calls=count)
        sizes.append(running.tree.memory().rss)
    return {"growth": (sizes[1] / sizes[0] - 1) * 100, "rss": sizes[1]}


def told(figures: Mapping[str, float]) -> str:
    """Figures on one line."""
    return "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())


def run_rounds(
    suite: str,
    works: Sequence[Work],
    contestants: Sequence[Contestant],
    options: Options,
    results: Results,
) -> None:
    """All rounds of one suite."""
    able = [
        contestant for contestant in contestants if suite in {**contestant.suites, **contestant.own}
    ]
    with tempfile.TemporaryDirectory(prefix="kitfox-bench-") as name:
        for number in range(options.rounds):
            options.say(f"{suite}: round {number + 1} of {options.rounds}")
            results.round = number + 1
            for contestant in able:
                # One failure may be bad luck.
                if results.failures[suite, contestant.name] > 1:
                    continue
                folder = Path(name, re.sub(r"\W+", "-", contestant.name))
                folder.mkdir(exist_ok=True)
                place = Place(folder=folder, environments=options.environments)
                reason = contestant.missing(options.environments)
                try:
                    if not reason:
                        measure(contestant, works, place, options, results)
                except (WrongAnswer, LoadFailure, OSError) as err:
                    reason = str(err)
                if reason:
                    results.fail(suite, contestant.name, reason)
                    options.say(f"  {contestant.name} cannot be measured: {reason}")
