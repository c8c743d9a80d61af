"""Tables of models and trainings for a terminal."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kitfox.config import Config
from kitfox.errors import NotFound
from kitfox.training import Job, JobStore

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


def show_jobs(config: Config) -> None:
    """Prints the trainings, the newest first."""
    table = _table("training id", "state", "module", "model", "created", "reason")
    for job in _store(config).list(limit=100):
        table.add_row(
            job.id,
            job.state.name,
            job.module_name,
            job.model_name,
            f"{job.created:%Y-%m-%d %H:%M:%S}",
            "; ".join(job.reasons),
        )
    _print(table, empty="no trainings")


def show_job(config: Config, training_id: str) -> None:
    """Prints all that is known of one training."""
    job = _store(config).get(training_id)
    table = _table("", "")
    for name in Job.__dataclass_fields__:
        value = getattr(job, name)
        if value not in (None, "", (), [], {}):
            table.add_row(name, str(value))
    _print(table, empty="")


def _store(config: Config) -> JobStore:
    url = config.store_url
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise NotFound(f"there is no job store at {path}: no training has been started there")
    return JobStore(url)


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
