"""The results as a table on the terminal, as a JSON file and as a page of the documentation."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.chart import bar_chart
from benchmarks.measurement import Figures, Results
from benchmarks.work import METRICS, WORKS, Work

__all__ = ["Report", "Row", "ratios", "rows"]

OURS = "Kitfox"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One contestant in one work."""

    contestant: str
    """Its name."""
    medians: Mapping[str, float]
    """Of each metric."""
    spread: tuple[float, float]
    """The least and the most of the metric that counts."""
    ratio: tuple[float, float, float] | None
    """By how much the baseline is better in it, taken in each round: median, least, most."""


def ratios(work: Work, ours: Sequence[Figures], theirs: Sequence[Figures]) -> list[float]:
    """How many times better ours is, round by round: above 1 is better, whichever the metric."""
    found = []
    rounds = {item["round"]: item for item in ours}
    for other in theirs:
        mine = rounds.get(other["round"], {})
        if mine.get(work.main) and other.get(work.main):
            ratio = mine[work.main] / other[work.main]
            found.append(ratio if METRICS[work.main].better == "more" else 1 / ratio)
    return found


def rows(work: Work, figures: Mapping[str, Sequence[Figures]]) -> list[Row]:
    """The rows of a work's table, the best first."""
    ours = figures.get(work.baseline, [])
    found = []
    for name, rounds in figures.items():
        names = [metric for metric in METRICS if any(metric in item for item in rounds)]
        values = {metric: [item[metric] for item in rounds if metric in item] for metric in names}
        compared = [] if name == work.baseline else ratios(work, ours, rounds)
        found.append(
            Row(
                contestant=name,
                medians={metric: statistics.median(values[metric]) for metric in names},
                spread=(min(values[work.main]), max(values[work.main])),
                ratio=(statistics.median(compared), min(compared), max(compared))
                if compared
                else None,
            )
        )
    sign = -1 if METRICS[work.main].better == "more" else 1
    return sorted(found, key=lambda row: sign * row.medians[work.main])


def number(value: float) -> str:
    """Three figures of precision, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


class Report:
    """What was measured, when and on what.

    Args:
        results: The figures.
        about: The machine and how it was measured, as names and texts.
        versions: By contestant, versions by package.
        peers: The names of the contestants that are products to compare with.
    """

    def __init__(
        self,
        results: Results,
        *,
        about: Mapping[str, str],
        versions: Mapping[str, Mapping[str, str]],
        peers: Sequence[str],
    ) -> None:
        self._results = results
        self._about = about
        self._versions = versions
        self._peers = peers

    def _tables(self) -> Iterator[tuple[Work, list[Row]]]:
        for work in WORKS:
            figures = self._results.figures.get(work.name)
            if figures:
                yield work, rows(work, figures)

    def show(self, console: Console) -> None:
        """Prints all tables."""
        for work, found in self._tables():
            table = Table(title=f"{work.title} [dim]({work.name})[/dim]", title_justify="left")
            for index, heading in enumerate(self._headings(work, found)):
                table.add_column(heading, justify="right" if index else "left")
            for row in found:
                style = "bold" if row.contestant == OURS else None
                table.add_row(*self._cells(work, row, found), style=style)
            console.print(table)
        for line in self._losses():
            console.print(line)
        for line in self._failures():
            console.print(line, markup=False)

    def _headings(self, work: Work, found: list[Row]) -> list[str]:
        main = METRICS[work.main].title
        others = [METRICS[name].title for name in self._others(work, found)]
        return ["", main, "least .. most", f"{work.baseline} is better by", *others]

    def _others(self, work: Work, found: list[Row]) -> list[str]:
        """The metrics beside the one that counts."""
        return [
            name
            for name in METRICS
            if name != work.main and any(name in row.medians for row in found)
        ]

    def _cells(self, work: Work, row: Row, found: list[Row]) -> list[str]:
        others = [
            number(row.medians[name]) if name in row.medians else ""
            for name in self._others(work, found)
        ]
        ratio = ""
        if row.ratio:
            middle, least, most = map(number, row.ratio)
            ratio = f"x {middle} ({least} .. {most})" if least != most else f"x {middle}"
        return [
            row.contestant,
            number(row.medians[work.main]),
            " .. ".join(dict.fromkeys(map(number, row.spread))),
            ratio,
            *others,
        ]

    def _losses(self) -> list[str]:
        """Where somebody else is better."""
        found = []
        for work, table in self._tables():
            if work.baseline != OURS:
                continue
            for row in table:
                if row.ratio and row.ratio[0] < 1:
                    kind = "" if row.contestant in self._peers else " (a limit)"
                    ratio = number(1 / row.ratio[0])
                    line = f"{work.title}: {row.contestant}{kind} is {ratio} times as good."
                    found.append((bool(kind), line))
        # Peers first: that a limit is a limit is no news.
        return [line for _, line in sorted(found, key=lambda item: item[0])]

    def _failures(self) -> list[str]:
        return [
            f"{suite}: {name} could not be measured in every round: {_first_line(reason)}"
            for suite, problems in self._results.problems.items()
            for name, reason in problems.items()
        ]

    def write_json(self, file: Path) -> None:
        """Writes every figure of every round."""
        file.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            "about": self._about,
            "versions": self._versions,
            "figures": self._results.figures,
            "problems": self._results.problems,
        }
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def write_page(self, file: Path, charts: Path) -> None:
        """Writes the page, and a chart for each work that counts answers."""
        charts.mkdir(parents=True, exist_ok=True)
        for old in charts.glob("*.svg"):
            old.unlink()
        parts = [_HEAD, *self._about_lines(), ""]
        for work, found in self._tables():
            parts += [f"## {work.title}", ""]
            if len(found) > 1:
                chart = charts / f"{work.name}.svg"
                bars = [(row.contestant, row.medians[work.main]) for row in found]
                chart.write_text(bar_chart(work.title, METRICS[work.main].title, bars, OURS))
                parts += [f"![{work.title}]({charts.name}/{chart.name})", ""]
            parts += [*self._markdown(work, found), ""]
        parts += ["## Where Kitfox is not ahead", ""]
        parts += [f"- {line}" for line in self._losses()] or ["Nowhere in this run."]
        failures = self._failures()
        if failures:
            parts += ["", "## What could not be measured", "", *(f"- {line}" for line in failures)]
        parts += ["", "## Versions", "", *self._version_lines()]
        file.write_text("\n".join(parts) + "\n", encoding="utf-8")

    def _about_lines(self) -> list[str]:
        return ["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in self._about.items())]

    def _markdown(self, work: Work, found: list[Row]) -> list[str]:
        headings = self._headings(work, found)
        lines = [
            f"| {' | '.join(headings)} |",
            f"| --- |{' ---: |' * (len(headings) - 1)}",
        ]
        for row in found:
            cells = self._cells(work, row, found)
            if row.contestant == OURS:
                cells[0] = f"**{cells[0]}**"
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def _version_lines(self) -> list[str]:
        lines = [
            # One library in many ways has one line.
            f"- {name.partition(':')[0]}: {', '.join(map(' '.join, found.items()))}"
            for name, found in self._versions.items()
        ]
        return list(dict.fromkeys(lines))


def _first_line(reason: str) -> str:
    return reason.strip().partition("\n")[0][:200]


_HEAD = """# Benchmarks

Written by `make bench-peers` (all) or `make bench` (Kitfox and the libraries below a model
server): anyone can make the figures anew. Those of each round are in `benchmarks/results/`.

- Every contestant does the same work, on its default settings or as its manual recommends.
  "Hello" is one string concatenation, so its figures are what the server itself costs. Kitfox
  runs the template's own example, unmodified, with metrics, request ids and logging as shipped.
- Load is made by h2load (gRPC) and wrk (REST) on the same machine. They take processor time from
  the servers: one that needs little of it is held back by them more than others are.
- Contestants take turns, round by round, each started anew. Figures are medians; ratios are taken
  within a round, with the least and the most; below 1 Kitfox is not ahead. Processor time and
  memory are those of all processes of a server.
- *Limits* (grpcio, grpc.aio, FastAPI, raw ASGI, Envoy by itself) are no model servers: they have
  no models, no metrics, nothing to watch them. Raw ASGI and Envoy send prepared bytes; Envoy runs
  no Python. "The model: ..." is the bare model, run in different ways without any server.
- A stream whose parts are ready at once may leave in one write. So compare the processor time
  per message as well.
"""
