"""Tables of models and trainings for a terminal."""

import datetime
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kitfox.cli.follow_view import progress_text
from kitfox.cli.trainings import ENDED

_UNLIMITED = 10_000

__all__ = ["show_job", "show_jobs", "show_model", "show_models", "show_quarantine"]


def show_models(models: Iterable[Mapping[str, Any]]) -> None:
    """Prints models, a line each.

    Args:
        models: What is known of each, as the server tells it.
    """
    table = _table("model", "state", "module", "version", "size", "path or problem")
    for model in models:
        table.add_row(
            model["model_id"],
            model["state"],
            " ".join(filter(None, (model.get("module_name"), model.get("module_version")))),
            model.get("version") or "",
            str(model.get("size") or ""),
            model.get("last_error") or model.get("path") or "",
        )
    _print(table, empty="no models")


def show_model(model: Mapping[str, Any]) -> None:
    """Prints all that is known of one model."""
    table = _table("", "")
    for name, value in model.items():
        if value not in (None, "", [], {}):
            lines = value if isinstance(value, list) else [value]
            table.add_row(name, ("\n" if name == "log" else ", ").join(map(str, lines)))
    _print(table, empty="")


def show_quarantine(requests: Iterable[Mapping[str, Any]]) -> None:
    """Prints the requests that a model refuses."""
    table = _table("digest", "method", "since", "refused", "reason")
    for item in requests:
        refused = str(item["refused"])
        table.add_row(item["digest"], item["method"], item["since"], refused, item["reason"])
    _print(table, empty="nothing is in quarantine")


def show_jobs(trainings: Iterable[Mapping[str, Any]]) -> None:
    """Prints trainings, a line each.

    Args:
        trainings: What is known of each, as the server tells it.
    """
    table = _table("training id", "state", "module", "model", "created", "progress or reason")
    for training in trainings:
        reasons = training.get("reasons") or []
        progress = progress_text(training.get("progress") or {})
        table.add_row(
            training["training_id"],
            training["state"],
            training.get("module_name") or "",
            training.get("model_name") or "",
            _time(training["created"]),
            "; ".join(reasons) or ("" if training["state"] in ENDED else progress),
        )
    _print(table, empty="no trainings")


def show_job(training: Mapping[str, Any]) -> None:
    """Prints all that is known of one training."""
    table = _table("", "")
    for name, value in training.items():
        if value in (None, "", [], {}, False):
            continue
        table.add_row(name, _shown(name, value))
    _print(table, empty="")


def _shown(name: str, value: Any) -> str:
    """A value of a description, as text."""
    if name in ("created", "started", "finished"):
        return _time(value)
    if name == "progress":
        return progress_text(value)
    if name == "data":
        return "\n".join(_data_text(item) for item in value)
    if isinstance(value, list):
        return "\n".join(map(str, value))
    if name == "environment":
        return "\n".join(f"{key} {value[key]}" for key in sorted(value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return str(value)


def _data_text(item: Mapping[str, Any]) -> str:
    """What a training was made from, in a line."""
    facts = [
        f"{item['rows']} rows" if item.get("rows") is not None else "",
        f"{item['size']} bytes" if item.get("size") is not None else "",
        f"sha256 {item['sha256']}" if item.get("sha256") else "",
        f"changed {item['changed']}" if item.get("changed") else "",
    ]
    said = ", ".join(filter(None, facts))
    return f"{item['parameter']}: {item['kind']} {item['name']}" + (f" ({said})" if said else "")


def _time(text: str) -> str:
    """A time as people at this place write it."""
    moment = datetime.datetime.fromisoformat(text)
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True)
    # The last column is text of any length; paths in it must stay whole for copying.
    table.add_column(columns[-1], overflow="fold")
    return table


def _print(table: Table, *, empty: str) -> None:
    if table.row_count:
        # Into a file or a pipe: one line a row, however long.
        Console(width=None if sys.stdout.isatty() else _UNLIMITED).print(table)
    else:
        print(empty)
