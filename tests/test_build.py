"""Envoy's filter is compiled where that is possible; elsewhere it is said why not."""

import shutil
from pathlib import Path

import pytest
from hatch_build import LIBRARY, SOURCE, compile_library

from tests.conftest import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / SOURCE).parent.mkdir(parents=True)
    shutil.copy(ROOT / SOURCE, tmp_path / SOURCE)
    return tmp_path


def test_it_is_compiled(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    assert compile_library(tree) == ""
    assert (tree / LIBRARY).stat().st_size > 10_000


@pytest.mark.parametrize("compiler", ["no-such-compiler", "/"])
def test_a_compiler_that_cannot_be_run_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    assert compile_library(tree).startswith(f"{compiler}, the C compiler, cannot be run: ")
    assert not (tree / LIBRARY).exists()


def test_what_the_compiler_says_is_passed_on(tree: Path) -> None:
    (tree / SOURCE).write_text("nonsense")
    assert "error" in compile_library(tree)
    assert [path.name for path in (tree / SOURCE).parent.iterdir()] == [Path(SOURCE).name]
