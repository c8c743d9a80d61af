"""What Python expressions gave when they were recorded, they give here."""

import json
import os
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kitfox.data import DataObjectBase, DataStream
from tests.data.conftest import KINDS

BETTER = {
    # A datetime that was read is aware, in UTC, so it does not equal a naive one.
    "dm.Scalars.from_proto(dm.Scalars(when=w).to_proto()).when == w": False,
}
ELSEWHERE = ("caikit.",)
"""Expressions about names that other packages provide begin so."""


@cache
def recording() -> list[dict[str, Any]]:
    """The recorded expressions, in their order."""
    lines = (KINDS / "python.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def evaluate(expression: str, names: dict[str, Any]) -> Any:
    """The value of an expression; `x := ...` keeps it under a name for those that follow."""
    name, separator, rest = expression.partition(" := ")
    value = eval(rest if separator else expression, names)  # noqa: S307 # recorded
    if separator:
        names[name] = value
    return value


class Writing:
    """Stands for `open` in the expressions, which leave their files open."""

    def __init__(self, path: str, mode: str) -> None:
        assert mode == "w"
        self.write = partial(Path(path).write_text, newline="")


def test_every_expression_gives_what_was_recorded(kinds: ModuleType, tmp_path: Path) -> None:
    names: dict[str, Any] = {
        "dm": kinds,
        "core": SimpleNamespace(data_model=SimpleNamespace(DataBase=DataObjectBase)),
        "DataStream": DataStream,
        "datetime": datetime,
        "json": json,
        "os": os,
        "open": Writing,
        "tmp": str(tmp_path),
    }
    different = []
    for entry in recording():
        expression = entry["expression"]
        if expression.startswith(ELSEWHERE):
            continue
        try:
            value = evaluate(expression, names)
        except Exception as error:  # noqa: BLE001 # compared with what was raised
            kinds_of = [cls.__name__ for cls in type(error).__mro__]
            if entry.get("raises") not in kinds_of:
                different.append((expression, entry, repr(error)))
            continue
        if expression in BETTER:
            assert value == BETTER[expression]
        elif " at 0x" not in entry.get("repr", "") and entry.get("repr") != repr(value):
            different.append((expression, entry, repr(value)))
    assert different == []


def test_the_recording_is_read(pytestconfig: pytest.Config) -> None:
    assert len(recording()) > 100
