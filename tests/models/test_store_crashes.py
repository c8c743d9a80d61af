"""Whatever moment a server is killed at, the models folder is as before or as after the change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kitfox.errors import AlreadyExists, NotFound
from kitfox.models import ModelStore

from .crashes import CHANGES, PLAIN_CHANGES
from .sayers import Training, word_of

pytestmark = pytest.mark.slow

BEFORE_AND_AFTER = {
    # A model, and what it says before and after the change.
    "deploy": ("new", None, "new"),
    "deploy_version": ("m@v3", None, "v3"),
    "promote": ("m", "v1", "v2"),
    "promote_training": ("m", "v1", "t1"),
    "promote_over_folder": ("old", "v1", "v2"),
    "roll_back": ("back", "v2", "v1"),
    "roll_back_from_folder": ("trained", "v2", "v1"),
    "remove": ("m", "v1", None),
    "remove_version": ("m@v2", "v2", None),
}


@pytest.mark.parametrize("plain", [False, True], ids=["exchanging", "renaming"])
def test_a_server_killed_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    subprocess.run(
        [sys.executable, "-m", "tests.models.crashes", tmp_path, *(["plain"] if plain else [])],
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=100,
    )
    for change in PLAIN_CHANGES if plain else CHANGES:
        folders = sorted((tmp_path / change).iterdir(), key=lambda path: int(path.name))
        assert len(folders) > 5
        found = [check(folder, change) for folder in folders]
        # Once it has happened, it has happened at every later step too.
        assert found == sorted(found), change
        assert (found[0], found[-1]) == (False, True), change


def check(folder: Path, change: str) -> bool:
    """Whether the change has happened; and that it can be made if not, and nothing is left over."""
    model_id, before, after = BEFORE_AND_AFTER[change]
    training = Training(folder / "output")
    store = ModelStore(folder / "models", find_elsewhere=training.find)
    store.names()  # the next look
    others = {"m", "back", "old", "trained"} - {model_id}
    assert others <= {*store.names(), *({"m"} if change == "remove" else set())}
    assert [entry.problem for entry in store.entries()] == [""] * len(store.names())
    path = store.find(model_id)
    found = None if path is None else word_of(path)
    assert found in (before, after), folder
    if path is not None:
        store.verify(model_id, path)
    name = model_id.partition("@")[0]
    if found is not None and "@" not in model_id:
        assert store.history(name)[-1].version == store.describe(name).version
    happened = found == after
    if not happened:
        try:
            CHANGES[change](store)
        except (AlreadyExists, NotFound):
            pytest.fail(f"{folder}: the change cannot be made again")
        path = store.find(model_id)
        assert (None if path is None else word_of(path)) == after
    work = folder / "models" / ".versions" / ".work"
    assert [item.name for item in work.iterdir()] == ["lock"]
    hidden = [path for path in (folder / "models").rglob(".*") if ".work" not in path.parts]
    assert {path.name for path in hidden} <= {".versions", ".history.json"}
    return happened
