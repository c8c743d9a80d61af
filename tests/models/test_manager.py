"""Loading and unloading: once for all who ask, never for ever, and never half."""

import asyncio
import gc
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.errors import (
    Code,
    Internal,
    InvalidArgument,
    KitfoxError,
    ModelNotFound,
    NotFound,
    Unavailable,
)
from kitfox.models import ModelManager
from kitfox.modules import RequestContext
from kitfox.modules.manifest import seal
from tests.models.actors import Stage, ask, manager_of, run, write_model
from tests.models.replica_models import model_folder


async def until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- nothing tells when it comes true
            await asyncio.sleep(0.005)


async def failure_of(models: ModelManager, name: str) -> KitfoxError:
    with pytest.raises(KitfoxError) as caught:
        await models.get(name)
    return caught.value


def test_all_who_ask_for_a_model_share_one_load(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="slow")

    async def scenario(models: ModelManager) -> None:
        found = await asyncio.gather(*(models.get("fox") for _ in range(50)))
        assert len({id(model) for model in found}) == 1
        assert stage.loads["fox"] == 1
        assert await ask(models, "fox") == "fox"

    run(scenario, tmp_path)


def test_a_caller_who_goes_away_takes_the_load_from_nobody(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="wait")

    async def scenario(models: ModelManager) -> None:
        first, second = (asyncio.ensure_future(models.get("fox")) for _ in range(2))
        await until(lambda: stage.loads["fox"])
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        stage.go.set()
        assert (await second).name == "fox"
        assert stage.loads["fox"] == 1

    run(scenario, tmp_path)


def test_a_load_goes_on_when_nobody_waits_any_more(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="wait")

    async def scenario(models: ModelManager) -> None:
        only = asyncio.ensure_future(models.get("fox"))
        await until(lambda: stage.loads["fox"])
        only.cancel()
        stage.go.set()
        await until(lambda: models.peek("fox"))

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("raise", "the lines are forgotten"),
        ("exit", r"the module called sys\.exit\(3\)"),
        ("interrupt", r"the module raised KeyboardInterrupt\(\)"),
        ("cancel", r"the module raised CancelledError\(\)"),
        ("give up", r"the module raised CancelledError\(\)"),
        ("stop", r"the module raised StopIteration\('no more lines'\)"),
    ],
)
def test_a_load_that_fails_says_why(tmp_path: Path, stage: Stage, act: str, reason: str) -> None:
    write_model(tmp_path, "fox", act=act)

    async def scenario(models: ModelManager) -> None:
        with pytest.raises(Internal, match=f"Model fox failed to load. Nested error: {reason}"):
            async with asyncio.timeout(60):
                await models.get("fox")
        failure = models.failure("fox")
        assert failure is not None
        assert any("Error" in line or "exit" in line for line in failure.log)
        assert models.failed == {"fox"}

    run(scenario, tmp_path)


def test_what_was_said_during_a_load_is_kept_with_its_failure(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="talk")
    write_model(tmp_path, "hen", act="talk")
    write_model(tmp_path, "owl", act="wait")

    async def scenario(models: ModelManager) -> None:
        before = sys.stdout, logging.getLogger().handlers[:]
        errors = await asyncio.gather(*(failure_of(models, name) for name in ("fox", "hen")))
        for name, error in zip(("fox", "hen"), errors, strict=True):
            failure = models.failure(name)
            assert failure is not None
            assert failure.log[:2] == ("looking for weights", f"no weights of {name}")
            assert failure.log[-1] == "RuntimeError: the lines are forgotten"
            assert failure.reason == "the lines are forgotten"
            assert 'raise RuntimeError("the lines are forgotten")' in failure.log[-2]
            assert "weights" not in error.message
        # On a busy machine it may be given up before it has said anything.
        said: tuple[str, ...] = ()
        for seconds in (0.3, 3, 30):
            models._loader._seconds = seconds
            models._failures.forget("owl")
            assert (await failure_of(models, "owl")).code is Code.UNAVAILABLE
            failure = models.failure("owl")
            assert failure is not None
            said = failure.log
            if said[0] == "owl waits":
                break
        assert said[0] == "owl waits"
        assert (sys.stdout, logging.getLogger().handlers) == before
        stage.go.set()

    run(scenario, tmp_path, loading={"seconds": 0, "threads": 2})


def test_what_a_replica_said_is_kept_and_not_told_to_callers(tmp_path: Path) -> None:
    model_folder(tmp_path / "fox", mood="sulks")

    async def scenario(models: ModelManager) -> None:
        error = await failure_of(models, "fox")
        failure = models.failure("fox")
        assert failure is not None
        assert error.message.endswith("did not load it: RuntimeError: not today")
        assert failure.reason in error.message
        assert failure.log[0] == "I do not want to"
        assert failure.log[-1] == "RuntimeError: not today"

    run(scenario, tmp_path, execution={"mode": "process"})


def test_a_load_that_hangs_is_given_up_and_keeps_nobody_waiting(
    tmp_path: Path, stage: Stage
) -> None:
    for name in ("one", "two", "three"):
        write_model(tmp_path, name, act="wait")
    write_model(tmp_path, "fox")

    async def scenario(models: ModelManager) -> None:
        models._failures._clock = lambda: 0.0
        hanging = [models.get(name) for name in ("one", "two", "three")]
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, Unavailable)
            assert "did not load within 0.1 s (setting models.load_seconds)" in str(outcome)
        models._loader._seconds = 60
        assert await ask(models, "fox") == "fox"
        stage.go.set()  # what they load in the end is not offered
        assert (await failure_of(models, "one")).code is Code.UNAVAILABLE
        assert list(models.loaded) == ["fox"]

    run(scenario, tmp_path, loading={"seconds": 0.1, "threads": 1})


def test_a_reason_that_passes_is_waited_for(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox")
    write_model(tmp_path, "worse")
    stage.failures.update(fox=1, worse=5)

    async def scenario(models: ModelManager) -> None:
        assert await ask(models, "fox") == "fox"
        assert stage.loads["fox"] == 2
        with pytest.raises(Internal, match="the disk is tired"):
            await models.get("worse")
        assert stage.loads["worse"] == 2

    run(scenario, tmp_path, loading={"retries": 1})


def test_a_broken_model_is_not_loaded_at_each_request(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="raise")

    async def scenario(models: ModelManager) -> None:
        first = await failure_of(models, "fox")
        again = await failure_of(models, "fox")
        assert (again.code, again.message) == (first.code, first.message)
        assert stage.loads["fox"] == 1
        write_model(tmp_path, "fox", "mended")
        assert await ask(models, "fox") == "mended"
        assert models.failure("fox") is None

    run(scenario, tmp_path)


def test_a_broken_model_is_tried_again_after_a_pause(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="raise")
    now = 100.0

    async def scenario(models: ModelManager) -> None:
        nonlocal now
        models._failures._clock = lambda: now
        for attempts, pause in enumerate((4.9, 0.2, 9.8, 0.3), 1):
            await failure_of(models, "fox")
            assert stage.loads["fox"] == (attempts + 1) // 2
            now += pause
        await failure_of(models, "fox")
        assert stage.loads["fox"] == 3

    run(scenario, tmp_path)


def test_a_folder_that_is_still_being_copied_is_loaded_when_it_is_whole(
    tmp_path: Path, stage: Stage
) -> None:
    whole = write_model(tmp_path / "source", "fox", size=1000, weights=1000)
    half = tmp_path / "models" / "fox"
    half.mkdir(parents=True)

    async def scenario(models: ModelManager) -> None:
        error = await failure_of(models, "fox")
        assert error.code is Code.NOT_FOUND
        assert "does not contain a `config.yml`" in error.message
        shutil.copy(whole / "config.yml", half)
        (half / "weights.bin").write_bytes(b"w" * 10)
        error = await failure_of(models, "fox")
        assert "weights.bin is truncated: 10 bytes" in error.message
        shutil.copy(whole / "weights.bin", half)
        assert await ask(models, "fox") == "fox"

    run(scenario, half.parent)


def test_a_model_that_is_not_as_it_was_published_is_not_loaded(
    tmp_path: Path, stage: Stage
) -> None:
    weights = write_model(tmp_path, "fox", size=1000) / "weights.bin"
    seal(weights.parent)

    async def scenario(models: ModelManager) -> None:
        whole = weights.read_bytes()

        def write(content: bytes, *, at: int) -> None:
            weights.write_bytes(content)
            # Two changes of one moment may bear the same time.
            os.utime(weights, ns=(at, at))

        write(whole[:10], at=1)
        error = await failure_of(models, "fox")
        assert error.code is Code.UNAVAILABLE
        assert "weights.bin has 10 bytes, not 1000" in error.message
        write(b"v" * 1000, at=2)
        error = await failure_of(models, "fox")
        assert error.code is Code.DATA_LOSS
        assert stage.loads["fox"] == 0
        write(whole, at=3)
        assert await ask(models, "fox") == "fox"

    run(scenario, tmp_path)


def test_an_unknown_module_is_named(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", module_id="no-such-module")

    async def scenario(models: ModelManager) -> None:
        assert "no-such-module" in (await failure_of(models, "fox")).message

    run(scenario, tmp_path)


def test_a_new_version_serves_when_it_is_ready_and_calls_finish_on_the_old(
    tmp_path: Path, stage: Stage
) -> None:
    write_model(tmp_path, "fox", "old")

    async def scenario(models: ModelManager) -> None:
        old = await models.get("fox")
        old.leases.add("a call")
        write_model(tmp_path, "fox", "new", act="wait")
        reload = asyncio.ensure_future(models.reload("fox"))
        await until(lambda: stage.loads["fox"] == 2)
        assert models.peek("fox") is old
        assert await ask(models, "fox") == "old"
        stage.go.set()
        assert await reload is models.peek("fox")
        assert await ask(models, "fox") == "new"
        assert old.retired
        submit = old.execution.unary("run")
        assert await submit({}, RequestContext()) == "old"
        old.release("a call")

    run(scenario, tmp_path)


def test_a_new_version_that_does_not_load_leaves_the_old_one(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", "old")

    async def scenario(models: ModelManager) -> None:
        await models.get("fox")
        write_model(tmp_path, "fox", "new", act="raise")
        with pytest.raises(Internal, match="the lines are forgotten"):
            await models.refresh("fox")
        assert await ask(models, "fox") == "old"
        assert models.failure("fox") is not None
        await models.refresh("fox")  # not tried again at each look
        assert stage.loads["fox"] == 2
        write_model(tmp_path, "fox", "newer")
        await models.refresh("fox")
        assert await ask(models, "fox") == "newer"

    run(scenario, tmp_path)


def test_what_is_overwritten_in_place_is_another_version(tmp_path: Path, stage: Stage) -> None:
    folder = write_model(tmp_path, "fox", "old", size=10)

    async def scenario(models: ModelManager) -> None:
        first = await models.get("fox")
        await models.refresh("fox")
        (folder / "cache").write_text("left by the module")
        await models.refresh("fox")
        assert models.peek("fox") is first
        (folder / "weights.bin").write_bytes(b"v" * 10)
        os.utime(folder / "weights.bin", ns=(1, time.time_ns()))
        await models.refresh("fox")
        assert models.peek("fox") is not first

    run(scenario, tmp_path)


def test_files_that_are_exchanged_during_a_load_are_loaded_anew(
    tmp_path: Path, stage: Stage
) -> None:
    write_model(tmp_path, "fox", "old", act="wait")

    async def scenario(models: ModelManager) -> None:
        load = asyncio.ensure_future(models.get("fox"))
        await until(lambda: stage.loads["fox"])
        write_model(tmp_path, "fox", "new")
        stage.go.set()
        await load
        assert await ask(models, "fox") == "new"

    run(scenario, tmp_path)


def test_a_model_that_is_removed_during_its_load_is_not_found(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="wait", weights=5, size=5)

    async def scenario(models: ModelManager) -> None:
        load = asyncio.ensure_future(models.get("fox"))
        await until(lambda: stage.loads["fox"])
        (tmp_path / "fox").rename(tmp_path / ".removed")
        stage.go.set()
        with pytest.raises(KitfoxError) as caught:
            await load
        assert caught.value.code is Code.NOT_FOUND
        assert models.failure("fox") is None

    run(scenario, tmp_path)


@pytest.mark.parametrize("mode", ["thread", "inline"])
def test_what_is_unloaded_or_replaced_is_gone(tmp_path: Path, stage: Stage, mode: str) -> None:
    write_model(tmp_path, "fox", "old")

    async def scenario(models: ModelManager) -> None:
        def gone() -> bool:
            gc.collect()
            return not stage.alive

        assert await ask(models, "fox") == "old"
        write_model(tmp_path, "fox", "new")
        await models.reload("fox")
        assert await ask(models, "fox") == "new"
        await until(lambda: gc.collect() is not None and len(stage.alive) == 1)
        assert models.unload("fox")
        await until(gone)

    run(scenario, tmp_path, execution={"mode": mode})


def test_unloading_ends_a_load(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="wait")

    async def scenario(models: ModelManager) -> None:
        load = asyncio.ensure_future(models.get("fox"))
        await until(lambda: stage.loads["fox"])
        assert models.unload("fox")
        with pytest.raises(NotFound, match="unloaded while it was being loaded"):
            await load
        stage.go.set()
        assert not models.unload("fox")
        assert (await models.get("fox")).name == "fox"
        assert stage.loads["fox"] == 2

    run(scenario, tmp_path)


def test_an_unknown_id_does_not_list_the_store(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        write_model(tmp_path, f"fox{number}")

    async def scenario(models: ModelManager) -> None:
        monkeypatch.setattr(models.store, "names", pytest.fail)
        with pytest.raises(ModelNotFound, match=r"known models: fox\d+, .* and 40 more"):
            await models.get("nope")

    run(scenario, tmp_path)


@pytest.mark.parametrize("name", ["", "..", ".", "../fox", "/etc", "a/b", "a\0b", "x" * 300])
def test_a_name_that_is_none_is_refused_before_any_file_call(
    tmp_path: Path, stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(models: ModelManager) -> None:
        monkeypatch.setattr(models.store, "find", pytest.fail)
        with pytest.raises(InvalidArgument):
            await models.get(name)
        with pytest.raises(InvalidArgument):
            await models.reload(name)

    run(scenario, tmp_path)


def test_without_lazy_loading_a_request_loads_nothing(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox")

    async def scenario(models: ModelManager) -> None:
        with pytest.raises(ModelNotFound):
            await models.get("fox")
        await models.load("fox")
        assert await ask(models, "fox") == "fox"

    run(scenario, tmp_path, lazy=False)


def test_the_store_is_followed(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "old")
    write_model(tmp_path, "gone")
    write_model(tmp_path, "broken", act="raise")

    async def scenario(models: ModelManager) -> None:
        follower = models.follower
        await follower.load_all()
        assert set(models.loaded) == {"old", "gone"}
        assert models.failed == {"broken"}
        await follower.look()
        assert sum(stage.loads.values()) == 3
        (tmp_path / "gone").rename(tmp_path / ".gone")
        write_model(tmp_path, "old", "new version")
        write_model(tmp_path, "new")
        write_model(tmp_path, "broken", "mended")
        await follower.look()
        assert set(models.loaded) == {"old", "new", "broken"}
        assert await ask(models, "old") == "new version"
        assert models.failed == frozenset()
        (tmp_path / "new").rename(tmp_path / ".new")
        write_model(tmp_path, "late")
        await follower.look(load_new=False)
        assert set(models.loaded) == {"old", "broken"}

    run(scenario, tmp_path)


def test_what_is_unloaded_before_it_was_seen_is_not_taken_for_new(
    tmp_path: Path, stage: Stage
) -> None:
    async def scenario(models: ModelManager) -> None:
        follower = models.follower
        await follower.load_all()
        for name in ("told", "replaced", "again"):
            write_model(tmp_path, name)
            await models.load(name)
            assert models.unload(name)
        write_model(tmp_path, "replaced", "other files")
        (tmp_path / "again").rename(tmp_path / ".again")
        await follower.look()
        assert set(models.loaded) == {"replaced"}
        (tmp_path / ".again").rename(tmp_path / "again")
        await follower.look()
        assert set(models.loaded) == {"replaced", "again"}
        assert await ask(models, "told") == "told"  # by a request, as ever

    run(scenario, tmp_path)


def test_what_was_unloaded_and_cannot_be_looked_at_keeps_no_other_from_its_load(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(models: ModelManager) -> None:
        follower = models.follower
        await follower.load_all()
        write_model(tmp_path, "told")
        await models.load("told")
        assert models.unload("told")
        write_model(tmp_path, "other")
        find = models.store.find_here

        def fail(name: str) -> Path | None:
            if name == "told":
                raise Unavailable("its folder cannot be read")
            return find(name)

        monkeypatch.setattr(models.store, "find_here", fail)
        await follower.look()
        assert "other" in models.loaded

    run(scenario, tmp_path)


def test_who_is_waited_for_comes_first(tmp_path: Path, stage: Stage) -> None:
    for name in ("first", *(f"other{number}" for number in range(8))):
        write_model(tmp_path, name, act="wait" if name == "first" else "slow")

    async def scenario(models: ModelManager) -> None:
        background = asyncio.ensure_future(models.follower.load_all())
        await until(lambda: stage.loads["first"])
        write_model(tmp_path, "asked")  # so that only who asks has it loaded
        asked = asyncio.ensure_future(models.get("asked"))
        await until(lambda: any(not later for later, *_ in models._loader._slots._waiting))
        stage.go.set()
        await asked
        order = list(stage.loads)
        assert order[order.index("first") + 1] == "asked"
        await background
        assert len(models.loaded) == 10

    run(scenario, tmp_path, loading={"threads": 1})


def test_a_failure_is_logged_once(
    tmp_path: Path, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path, "fox", act="raise")

    async def scenario(models: ModelManager) -> None:
        for _ in range(3):
            models._failures._clock = lambda: 0.0
            await failure_of(models, "fox")
            models._failures._clock = lambda: 1e6
            await failure_of(models, "fox")

    with caplog.at_level(logging.ERROR, logger="kitfox.MODELS"):
        run(scenario, tmp_path)
    (record,) = [item for item in caplog.records if "could not be loaded" in item.message]
    assert record.exc_info is not None
    assert stage.loads["fox"] > 1


def test_closing_ends_what_is_being_loaded(tmp_path: Path, stage: Stage) -> None:
    write_model(tmp_path, "fox", act="wait")

    async def whole() -> None:
        async with manager_of(tmp_path) as models:
            load = asyncio.ensure_future(models.get("fox"))
            await until(lambda: stage.loads["fox"])
        with pytest.raises(Unavailable, match="about to stop"):
            await load

    asyncio.run(whole())
