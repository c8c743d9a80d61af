"""The bell by which other processes wake a scheduler."""

import select
from pathlib import Path

from kitfox.training.bell import Bell, ring


def is_readable(bell: Bell) -> bool:
    poller = select.poll()
    poller.register(bell, select.POLLIN)
    return bool(poller.poll(0))


def test_a_ring_is_heard_once(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    bell = Bell(path)
    assert not is_readable(bell)
    assert not bell.clear()
    assert ring(path)
    assert ring(path)
    assert is_readable(bell)
    assert bell.clear()
    assert not is_readable(bell)
    assert path.stat().st_mode & 0o777 == 0o600
    bell.close()


def test_nobody_hears_a_bell_that_is_not_there_or_not_listened_to(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    assert not ring(path)
    Bell(path).close()
    assert not ring(path)
    path.unlink()
    path.write_text("no pipe")
    assert not ring(path)
    assert path.read_text() == "no pipe"


def test_a_bell_is_hung_in_the_place_of_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    path.write_text("no pipe")
    bell = Bell(path)
    assert ring(path)
    assert bell.clear()
    bell.close()


def test_a_bell_that_is_full_of_rings_still_rings(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    bell = Bell(path)
    assert all(ring(path) for _ in range(70_000))
    assert bell.clear()
    bell.close()
