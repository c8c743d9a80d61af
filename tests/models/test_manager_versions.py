"""Versions of loaded models: each is loaded once, and the store and what is served agree."""

import shutil
from pathlib import Path

import pytest

from kitfox.errors import FailedPrecondition, Internal, ModelNotFound
from kitfox.models import ModelManager, ModelStore
from kitfox.modules.manifest import seal
from tests.models.actors import Stage, ask, run, write_model


@pytest.fixture
def versioned(tmp_path: Path, stage: Stage) -> Path:
    """A models folder with `fox` in three versions, and a training that made another one."""
    store = ModelStore(tmp_path / "models")
    for version in ("v1", "v2", "v3"):
        source = write_model(tmp_path, "fox", version)
        files = {item.name: item.read_bytes() for item in source.iterdir()}
        store.deploy(f"fox@{version}", files)
    seal(write_model(tmp_path, "t1", "trained"))
    seal(write_model(tmp_path, "t2", "broken", act="raise"))
    return store.root


def with_trainings(models: ModelManager, folder: Path) -> ModelManager:
    models.store._find_elsewhere = lambda name: folder / name if name in ("t1", "t2") else None
    return models


def test_what_is_promoted_is_loaded_once(versioned: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        with_trainings(models, versioned.parent)
        assert await ask(models, "fox") == "v1"
        await models.promote("fox", "t1")
        assert await ask(models, "fox") == "trained"
        assert models.loaded["fox"].path == versioned / ".versions" / "fox" / "t1"
        await models.promote("fox", "t1")
        await models.follower.look()
        await models.roll_back("fox")
        assert await ask(models, "fox") == "v1"
        assert stage.loads == {"fox": 1, "t1": 1, "v1": 1}

    run(scenario, versioned)


def test_a_training_that_does_not_load_becomes_no_version(versioned: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        with_trainings(models, versioned.parent)
        assert await ask(models, "fox") == "v1"
        with pytest.raises(Internal, match="the lines are forgotten"):
            await models.promote("fox", "t2")
        assert models.store.describe("fox").versions == ("v1", "v2", "v3")
        assert await ask(models, "fox") == "v1"

    run(scenario, versioned)


def test_a_roll_back_passes_versions_that_are_gone(versioned: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        assert await ask(models, "fox") == "v1"
        await models.promote("fox", "v2")
        await models.promote("fox", "v3")
        shutil.rmtree(versioned / ".versions" / "fox" / "v2")
        await models.roll_back("fox")
        assert await ask(models, "fox") == "v1"
        with pytest.raises(FailedPrecondition, match="no earlier version"):
            await models.roll_back("fox")

    run(scenario, versioned)


def test_the_current_version_is_loaded_once_under_both_names(versioned: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        assert await ask(models, "fox") == await ask(models, "fox@v1") == "v1"
        assert models.peek("fox@v1") is models.peek("fox") is await models.load("fox@v1")
        assert (stage.loads, list(models.loaded)) == ({"fox": 1}, ["fox"])
        await models.promote("fox", "v2")
        assert models.peek("fox@v1") is None
        answers = [await ask(models, name) for name in ("fox", "fox@v1", "fox@v2")]
        assert answers == ["v2", "v1", "v2"]
        assert stage.loads == {"fox": 1, "v1": 1, "v2": 1}
        assert models.unload("fox@v2")
        assert models.unload("fox")
        assert models.peek("fox@v2") is None

    run(scenario, versioned)


def test_another_version_in_the_same_place_is_not_taken_for_the_first(
    versioned: Path, stage: Stage
) -> None:
    async def scenario(models: ModelManager) -> None:
        assert await ask(models, "fox") == await ask(models, "fox@v1") == "v1"
        write_model(versioned, "fox", "by hand")
        await models.refresh("fox")
        assert await ask(models, "fox") == "by hand"
        with pytest.raises(ModelNotFound):
            await models.get("fox@v1")

    run(scenario, versioned)


def test_a_version_that_is_run_otherwise_is_loaded_for_itself(
    versioned: Path, stage: Stage
) -> None:
    async def scenario(models: ModelManager) -> None:
        assert await ask(models, "fox") == await ask(models, "fox@v1") == "v1"
        assert stage.loads == {"fox": 2}

    run(scenario, versioned, settings_of={"fox@v1": {"threads": 1}})
