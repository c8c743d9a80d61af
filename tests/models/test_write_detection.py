"""Models that are being written are left alone, and others are not waited for."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kitfox.models import ModelStore, StoreWatch
from kitfox.models.file_clocks import shares_clock
from kitfox.models.inspection import measure, settled
from kitfox.modules.manifest import IncompleteModel

from .sayers import plain_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_what_grows_between_two_looks_is_left_for_the_next(root: Path) -> None:
    store = ModelStore(root, write_detection=0.02)
    for name in ("done", "growing"):
        plain_folder(root / name, "hi")

    def grow() -> None:
        with (root / "growing" / "weights").open("ab", buffering=0) as stream:
            stream.write(b"x")

    # A writer of its own would have to get a turn between any two looks.
    def now() -> float:
        found = time.time()
        grow()
        return found

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        grow()

    watch = StoreWatch(store)
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(time=now, sleep=sleep)
        patch.setattr("kitfox.models.inspection.time", clock)
        assert watch.look().added == ("done",)
        with pytest.raises(IncompleteModel, match="is being written"):
            store.verify("growing", root / "growing")
        assert watch.look().added == ()
    assert watch.look().added == ("growing",)
    store.verify("growing", root / "growing")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited."""
    found: list[float] = []
    monkeypatch.setattr("kitfox.models.inspection.time.sleep", found.append)
    return found


@pytest.mark.parametrize(
    ("age", "period", "wait"),
    [
        (5, 0.05, 0),
        (0.1, 0.05, 0),
        (0.03, 0.05, 0.04),
        (0, 0.05, 0.05),
        (-3, 0.05, 0.05),
        (5, 9, 4),
    ],
)
def test_nothing_is_waited_for_that_is_over(
    root: Path,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    age: float,
    period: float,
    wait: float,
) -> None:
    path = plain_folder(root / "m", "hi")
    changed = measure(path).changed
    monkeypatch.setattr("kitfox.models.inspection.shares_clock", lambda path: True)
    monkeypatch.setattr("kitfox.models.inspection.time.time", lambda: changed + age)
    assert settled([path], period=period) == {path}
    assert waits == ([] if not wait else [pytest.approx(wait, abs=0.03)])


@pytest.mark.parametrize(("age", "waited"), [(0.1, [0.05]), (1.9, [0.05]), (2.1, [])])
def test_another_machines_clock_is_not_trusted(
    root: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch, age: float, waited: list[float]
) -> None:
    path = plain_folder(root / "m", "hi")
    changed = measure(path).changed
    monkeypatch.setattr("kitfox.models.inspection.shares_clock", lambda path: False)
    monkeypatch.setattr("kitfox.models.inspection.time.time", lambda: changed + age)
    assert settled([path], period=0.05) == {path}
    assert waits == waited


def test_the_clock_of_a_file_system_is_known() -> None:
    assert shares_clock(Path("/dev/shm")) or not Path("/dev/shm").exists()  # noqa: S108 -- no file
    assert not shares_clock(Path("/proc"))
    assert not shares_clock(Path("/nowhere"))


def test_without_write_detection_nothing_waits(root: Path) -> None:
    store = ModelStore(root, write_detection=0)
    plain_folder(root / "m", "hi")
    assert store.settled(["m"]) == {"m"}
