"""What a server tells the others of the models that it uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitfox.errors import Unavailable
from kitfox.training import JobStore
from kitfox.training.models_in_use import ModelsInUse
from kitfox.training.retention import Retention
from tests.training.retention_crashes import EVERYTHING, make_training
from tests.waiting import wait_for


@pytest.fixture
def shared(postgresql_url: str) -> Iterator[JobStore]:
    found = JobStore(postgresql_url)
    yield found
    found.close()


def told(store: JobStore) -> set[str]:
    """What others see."""
    with store.database.read() as connection:
        return {row["model"] for row in connection.query("SELECT model FROM models_in_use")}


def test_it_tells_what_it_uses_now_and_at_its_end_nothing(shared: JobStore, tmp_path: Path) -> None:
    used = {"a"}
    in_use = ModelsInUse(store=shared, models=lambda: used.copy())
    in_use.start()
    wait_for(lambda: told(shared) == {"a"}, what="the first note", seconds=60)
    used |= {"b"}
    in_use.changed()
    wait_for(lambda: told(shared) == {"a", "b"}, what="the second note", seconds=60)
    for name in "abc":
        shared.add(make_training(tmp_path, name))
    assert Retention(store=shared, rules=EVERYTHING).sweep() == 1
    in_use.stop()
    assert told(shared) == set()


def test_it_tells_it_again_and_again_and_goes_on_after_trouble(
    shared: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitfox.training.models_in_use._AFTER_TROUBLE", 0.01)
    calls: list[None] = []

    def models() -> set[str]:
        calls.append(None)
        if len(calls) == 2:
            raise RuntimeError("the models change just now")
        return {"a"}

    tell = shared.note_use

    def note_use(server: str, models: frozenset[str], *, seconds: float) -> None:
        if len(calls) == 1:
            raise Unavailable("not now")
        tell(server, models, seconds=seconds)

    monkeypatch.setattr(shared, "note_use", note_use)
    in_use = ModelsInUse(store=shared, models=models, period=0.01)
    in_use.start()
    wait_for(lambda: len(calls) > 4, what="the notes", seconds=60)
    assert told(shared) == {"a"}
    in_use.stop()


def test_who_has_a_store_alone_tells_nobody(tmp_path: Path) -> None:
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    in_use = ModelsInUse(store=store, models=lambda: {"a"})
    in_use.start()
    in_use.changed()
    in_use.stop()
    assert told(store) == set()
    store.close()
