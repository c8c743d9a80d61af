"""What docs/caikit.md says can be imported can be."""

import importlib
import re
from pathlib import Path

import pytest

from kitfox.caikit.names import MODULES
from tests.caikit.conftest import GOLDEN
from tests.caikit.test_finder import load
from tests.caikit.test_recorded_libraries import EXPRESSIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "caikit.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `from (\S+) import (.*?)` \| `from (\S+) import (.*?)` \|$", PAGE, re.MULTILINE
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_both_sides_of_the_table_can_be_imported(row: tuple[str, str, str, str]) -> None:
    path, names, own_path, own_names = row
    assert path in MODULES
    old = {name: getattr(load(path), name) for name in names.split(", ")}
    home = importlib.import_module(own_path)
    for name in own_names.split(", "):
        if not hasattr(home, name):
            importlib.import_module(f"{own_path}.{name}")
        assert old.get(name, getattr(home, name)) is getattr(home, name)


def test_the_table_is_found() -> None:
    assert len(ROWS) == PAGE.count("| `from caikit") + PAGE.count("| `from py_to_proto")


def test_the_number_of_recorded_expressions_is_right() -> None:
    lines = (GOLDEN / "kinds_for_caikit" / "golden" / "python.jsonl").read_text().splitlines()
    assert f"comes with {len(lines)} recorded expressions" in PAGE
    assert len(EXPRESSIONS) == 2
