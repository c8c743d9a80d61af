"""Loads that end the process are remembered, until there is a reason to try again."""

import os
from pathlib import Path

import pytest

from kitfox.errors import Code, KitfoxError, Unavailable
from kitfox.models import ModelManager
from kitfox.models.identity import files_at
from kitfox.models.load_notes import LoadNotes
from tests.models.actors import Stage, ask, run, write_model


@pytest.fixture
def notes(tmp_path: Path) -> LoadNotes:
    return LoadNotes(tmp_path / ".versions" / ".loads")


def die(notes: LoadNotes, path: Path) -> None:
    """What a process leaves behind that ends during a load."""
    note = notes.begin(path.name, files_at(path))
    assert note._descriptor is not None
    os.close(note._descriptor)


def test_a_load_that_is_over_leaves_nothing(notes: LoadNotes, tmp_path: Path) -> None:
    path = write_model(tmp_path, "fox")
    for _ in range(3):
        note = notes.begin("fox", files_at(path))
        assert notes.suspects() == frozenset()  # it is alive
        note.end()
        note.end()
    assert not list((tmp_path / ".versions" / ".loads").iterdir())


def test_what_ended_two_processes_is_loaded_no_more(notes: LoadNotes, tmp_path: Path) -> None:
    path = write_model(tmp_path, "fox")
    for _ in range(2):
        die(notes, path)
        assert notes.suspects() == {"fox"}
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"the server ended each time .* 2 times"):
            notes.begin("fox", files_at(path))
    write_model(tmp_path, "fox", "changed")
    notes.begin("fox", files_at(path)).end()
    assert notes.suspects() == frozenset()


def test_a_load_that_succeeds_clears_the_name(notes: LoadNotes, tmp_path: Path) -> None:
    path = write_model(tmp_path, "fox")
    die(notes, path)
    notes.begin("fox", files_at(path)).end()
    die(notes, path)
    notes.begin("fox", files_at(path)).end()


def test_two_servers_do_not_suspect_each_other(notes: LoadNotes, tmp_path: Path) -> None:
    files = files_at(write_model(tmp_path, "fox"))
    first, second = notes.begin("fox", files), notes.begin("fox", files)
    first.end()
    second.end()
    notes.begin("fox", files).end()


def test_where_nothing_can_be_written_there_are_no_notes(tmp_path: Path) -> None:
    path = write_model(tmp_path, "fox")
    (tmp_path / "file").touch()
    notes = LoadNotes(tmp_path / "file" / "notes")
    notes.begin("fox", files_at(path)).end()
    assert notes.suspects() == frozenset()
    notes.forget("fox")


def test_the_others_are_loaded_first_and_it_when_it_is_asked_for(
    tmp_path: Path, stage: Stage, notes: LoadNotes
) -> None:
    for name in ("ant", "bee", "cat"):
        write_model(tmp_path, name)
    die(notes, tmp_path / "ant")
    for _ in range(2):
        die(notes, tmp_path / "bee")

    async def scenario(models: ModelManager) -> None:
        await models.follower.load_all()
        assert list(stage.loads) == ["cat", "ant"]
        with pytest.raises(KitfoxError, match="bee cannot be loaded now: the server ended") as got:
            await models.get("bee")
        assert got.value.code is Code.UNAVAILABLE
        assert models.failed == {"bee"}
        await models.pardon("bee")
        assert await ask(models, "bee") == "bee"
        assert notes.suspects() == frozenset()

    run(scenario, tmp_path, loading={"notes": notes})
