"""A training as it goes: lines for files and pipes, a bar on a terminal."""

import io
from typing import Any

from rich.console import Console

from kitfox.cli.follow_view import BarView, LineView


def event(state: str, *log: str, **progress: Any) -> dict[str, Any]:
    return {"state": state, "log": list(log), "reasons": [], "progress": progress or None}


EVENTS = [
    event("QUEUED"),
    event("RUNNING", "reading [bold]rows[/bold]"),
    event("RUNNING", fraction=0.25, step=1, total=4, metrics={"loss": 0.123456}),
    event("RUNNING", fraction=0.26, step=1, total=4, metrics={"loss": 0.12}),
    event("RUNNING", "\x1b[31mred\x1b[0m", fraction=0.5, step=2, total=4, metrics={"loss": 0.1}),
    {**event("ERRORED", "last words"), "reasons": ["the words do not rhyme"]},
]


def test_lines_tell_what_is_new() -> None:
    out = io.StringIO()
    with LineView(out) as view:
        for item in EVENTS:
            view.show(item)
        view.note("the server went away")
    assert out.getvalue().splitlines() == [
        "QUEUED",
        "RUNNING",
        "reading [bold]rows[/bold]",
        "25% step 1 of 4 loss=0.1235",
        "\x1b[31mred\x1b[0m",
        "50% step 2 of 4 loss=0.1",
        "last words",
        "ERRORED",
        "  the words do not rhyme",
        "(the server went away)",
    ]


def test_a_bar_moves_below_the_log() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    with BarView(console) as view:
        for item in EVENTS:
            view.show(item)
    text = out.getvalue()
    assert "reading [bold]rows[/bold]" in text
    assert "red" in text
    assert "\x1b[31m" not in text
    assert "the words do not rhyme" in text
    last = [line for line in text.splitlines() if "ERRORED" in line][-1]
    assert "━" in last


def test_a_step_without_a_total_is_shown_as_such() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    with BarView(console) as view:
        view.show(event("RUNNING", step=7, metrics={}))
    assert "step 7" in out.getvalue()
