"""A training as it goes, for eyes: a live bar with the log above it, or plain lines.

with follow_view() as view:
    for event in trainings.follow(training_id, on_away=view.note):
        view.show(event)
"""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from kitfox.cli.trainings import ENDED

__all__ = ["BarView", "FollowView", "LineView", "follow_view"]

Event = Mapping[str, Any]


class FollowView(Protocol):
    """Shows the events of one training."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: Event) -> None:
        """Shows what is new in an event."""

    def note(self, text: str) -> None:
        """Says something in between."""


def follow_view(stream: TextIO | None = None) -> FollowView:
    """A bar on a terminal, lines elsewhere.

    Args:
        stream: Where to; standard output unless given.
    """
    stream = stream or sys.stdout
    return BarView(Console(file=stream)) if stream.isatty() else LineView(stream)


class LineView:
    """Shows a training as lines, for files and pipes: states, log, and each tenth of the way.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._state = ""
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()

    def show(self, event: Event) -> None:
        """Prints what is new in an event."""
        if event["state"] != self._state and event["state"] not in ENDED:
            self._print(event["state"])
        for line in event.get("log") or []:
            self._print(line)
        progress = event.get("progress") or {}
        fraction = progress.get("fraction")
        if fraction is not None and int(fraction * 10) != self._tenth:
            self._tenth = int(fraction * 10)
            self._print(progress_text(progress))
        if event["state"] != self._state and event["state"] in ENDED:
            self._print(event["state"])
            for reason in event.get("reasons") or []:
                self._print(f"  {reason}")
        self._state = event["state"]

    def note(self, text: str) -> None:
        """Says something in between."""
        self._print(f"({text})")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class BarView:
    """Shows a training as a bar that moves at the bottom, with the log above it.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[news]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("", total=None, news="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Prints new lines of the log, and moves the bar."""
        for line in event.get("log") or []:
            # As the training coloured it; whatever else would move the cursor is left out.
            self._console.print(Text.from_ansi(line), highlight=False, soft_wrap=True)
        for reason in (event.get("reasons") or []) if event["state"] in ENDED else []:
            self._console.print(Text(reason, style="red"), soft_wrap=True)
        self._progress.update(self._bar, description=event["state"])
        if progress := event.get("progress"):
            self._move(progress)
        if event["state"] in ENDED:
            self._progress.stop_task(self._bar)

    def _move(self, progress: Mapping[str, Any]) -> None:
        step, total = progress.get("step"), progress.get("total")
        if total is None and progress.get("fraction") is not None:
            step, total = progress["fraction"], 1.0
        self._progress.update(
            self._bar,
            completed=step or 0,
            total=total,
            news=" ".join(filter(None, (step_text(progress), news_text(progress)))),
        )

    def note(self, text: str) -> None:
        """Says something in between."""
        self._console.print(Text(f"({text})", style="dim"), soft_wrap=True)


def progress_text(progress: Mapping[str, Any]) -> str:
    """How far a training is, in a line."""
    fraction = progress.get("fraction")
    share = "" if fraction is None else f"{fraction:.0%}"
    return " ".join(filter(None, (share, step_text(progress), news_text(progress))))


def step_text(progress: Mapping[str, Any]) -> str:
    """Which step of how many was done last."""
    step, total = progress.get("step"), progress.get("total")
    if step is None:
        return ""
    return f"step {step}" + (f" of {total}" if total is not None else "")


def news_text(progress: Mapping[str, Any]) -> str:
    """What a training is about, and what it measures."""
    metrics = progress.get("metrics") or {}
    parts = [progress.get("message") or "", *(f"{key}={metrics[key]:.4g}" for key in metrics)]
    return " ".join(filter(None, parts))
