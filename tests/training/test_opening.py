"""A worker finds what the author has written, however it is laid out."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from kitfox.training.opening import library_of


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["packed_fox/__init__.py"], "packed_fox"),
        (["single_fox.py"], "single_fox"),
        (["loose_fox/part.py"], "loose_fox"),
    ],
)
def test_a_library_is_imported_from_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], name: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.syspath_prepend(tmp_path)
    library = library_of(importlib.import_module(name))
    assert (library.package, library.path) == (name, str(tmp_path))
    script = f"import sys; sys.path.insert(0, {library.path!r}); import {library.package}"
    subprocess.run([sys.executable, "-c", script], cwd="/", check=True)
