"""The memory budget: what was used longest ago goes, what is in use stays."""

import asyncio
import random
import shutil
import threading
from pathlib import Path

import pytest

from kitfox.config import ConfigError, parse, parse_bytes
from kitfox.errors import ResourceExhausted
from kitfox.models import ModelManager
from tests.models.actors import HOARD, Stage, ask, run, write_model
from tests.models.models_under_test import until

SIZE = 10_000
TWO = int(2.5 * SIZE)
NAMES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture
def folder(tmp_path: Path, stage: Stage) -> Path:
    """Five models of about ten thousand bytes each."""
    for name in NAMES:
        write_model(tmp_path, name, size=SIZE)
    return tmp_path


def test_the_model_that_was_used_longest_ago_makes_room(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        for name in ("ant", "bee", "ant", "cat"):
            assert await ask(models, name) == name
        assert set(models.loaded) == {"ant", "cat"}
        assert models.budget.used <= TWO
        await ask(models, "bee")
        assert set(models.loaded) == {"cat", "bee"}

    run(scenario, folder, memory_budget=TWO)


def test_a_model_in_use_is_not_unloaded(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        for name in ("ant", "bee"):
            (await models.get(name)).leases.add("a call")
        with pytest.raises(ResourceExhausted, match=r"setting models\.memory_budget"):
            await models.get("cat")
        assert set(models.loaded) == {"ant", "bee"}
        assert models.failure("cat") is None
        models.budget._patience = 60
        waiting = asyncio.ensure_future(models.get("cat"))
        await asyncio.sleep(0.02)
        models.loaded["ant"].release("a call")
        await waiting
        assert set(models.loaded) == {"bee", "cat"}

    run(scenario, folder, memory_budget=TWO, memory_wait_seconds=0.1)


def test_what_is_larger_than_the_budget_is_refused_at_once(folder: Path, stage: Stage) -> None:
    write_model(folder, "whale", size=5 * SIZE)

    async def scenario(models: ModelManager) -> None:
        await models.get("ant")
        with pytest.raises(ResourceExhausted, match="Model whale cannot be loaded now"):
            await models.get("whale")
        assert set(models.loaded) == {"ant"}

    run(scenario, folder, memory_budget=TWO, memory_wait_seconds=60)


def test_what_no_request_would_load_again_stays(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        await models.follower.load_all()
        two = set(models.loaded)
        assert len(two) == 2
        with pytest.raises(ResourceExhausted):
            await models.load(next(name for name in NAMES if name not in two))
        await models.follower.look()
        assert set(models.loaded) == two

    run(scenario, folder, memory_budget=TWO, lazy=False, memory_wait_seconds=60)


def test_calls_that_finish_on_an_unloaded_model_still_count(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        model = await models.get("ant")
        model.leases.add("a call")
        models.unload("ant")
        assert models.budget.used == model.size
        model.release("a call")
        await until(lambda: models.budget.used == 0)

    run(scenario, folder, memory_budget=TWO)


def test_a_model_counts_until_it_is_closed_and_none_goes_in_its_place(
    folder: Path, stage: Stage
) -> None:
    async def scenario(models: ModelManager) -> None:
        for name in ("ant", "bee"):
            await ask(models, name)
        gate, execution = threading.Event(), models.loaded["ant"].execution
        close = execution.close

        def close_late() -> None:
            gate.wait(60)
            close()

        execution.close = close_late  # type: ignore[method-assign] # as processes that take long
        waiting = asyncio.ensure_future(models.get("cat"))
        await until(lambda: "ant" not in models.loaded)
        await asyncio.sleep(0.05)
        assert set(models.loaded) == {"bee"}
        assert models.budget.used >= 2 * SIZE
        assert not waiting.done()
        gate.set()
        await waiting
        assert set(models.loaded) == {"bee", "cat"}

    run(scenario, folder, memory_budget=TWO)


def test_a_small_model_behind_a_large_one_is_loaded(folder: Path, stage: Stage) -> None:
    write_model(folder, "ape", size=3 * SIZE)
    write_model(folder, "fly", size=SIZE // 10)

    async def scenario(models: ModelManager) -> None:
        await models.follower.load_all()
        assert {"ape", "fly"} & set(models.loaded) == {"fly"}
        assert len(models.loaded) == 3

    run(scenario, folder, memory_budget=TWO, lazy=False)


def test_what_did_not_fit_is_loaded_when_there_is_room(
    folder: Path, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(models: ModelManager) -> None:
        await models.follower.load_all()
        assert len(models.loaded) == 2
        first = next(iter(models.loaded))
        assert "3 models of the models folder are not loaded" in caplog.text
        tried: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models, "load", tried.append)
            await models.follower.look()
        assert not tried
        shutil.rmtree(folder / first)
        await models.follower.look()
        assert first not in models.loaded
        assert len(models.loaded) == 2
        assert len(stage.loads) == 3

    run(scenario, folder, memory_budget=TWO, lazy=False)


def test_each_replica_counts(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        with pytest.raises(ResourceExhausted, match=r"it takes 40\d{3} bytes"):
            await models.get("ant")

    settings = {"mode": "process", "replicas": 4}
    run(scenario, folder, memory_budget=3 * SIZE, execution=settings)


def test_what_a_model_turned_out_to_take_counts(folder: Path, stage: Stage) -> None:
    write_model(folder, "hoarder", act="hoard")

    async def scenario(models: ModelManager) -> None:
        await ask(models, "ant")
        await ask(models, "hoarder")
        assert set(models.loaded) == {"hoarder"}
        # It is measured by what the process grew, which may give back something else meanwhile.
        assert models.budget.used >= HOARD * 3 // 4
        await ask(models, "ant")
        assert set(models.loaded) == {"ant"}

    run(scenario, folder, memory_budget=HOARD // 2)


def test_two_of_five_models_under_random_traffic(folder: Path, stage: Stage) -> None:
    async def scenario(models: ModelManager) -> None:
        most = 0

        async def caller(seed: int) -> None:
            nonlocal most
            choice = random.Random(seed)  # noqa: S311 -- which model is called
            for _ in range(30):
                name = choice.choice(NAMES)
                assert await ask(models, name) == name
                most = max(most, len(models.loaded), models.budget.used)

        await asyncio.gather(*(caller(seed) for seed in range(4)))
        assert most <= TWO
        assert len(models.loaded) <= 2
        assert len(stage.loads) == 5

    run(scenario, folder, memory_budget=TWO, memory_wait_seconds=60)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [(0, 0), (4096, 4096), ("2GiB", 2 << 30), ("1.5 MiB", 3 << 19), ("3 kB", 3000), ("512", 512)],
)
def test_a_budget_is_written_as_people_write_it(text: int | str, bytes_: int) -> None:
    assert parse_bytes(text, "x") == bytes_
    assert parse({"models": {"memory_budget": text}}, source="x").models.budget_bytes == bytes_


@pytest.mark.parametrize("text", ["much", "2 GiX", "-1", "", "1e9"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"models.memory_budget: .* expected a number of bytes"):
        parse({"models": {"memory_budget": text}}, source="x")
