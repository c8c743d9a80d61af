"""Starts small servers, and leaves none behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from .small_server import SmallServer

Start: TypeAlias = Callable[..., SmallServer]
"""Takes the keyword arguments of `SmallServer`."""


@pytest.fixture
def engine() -> str:
    """Which engine `start` starts; tests of what holds for both override it."""
    return "envoy"


@pytest.fixture
def start(tmp_path: Path, engine: str) -> Iterator[Start]:
    """Starts small servers."""
    started: list[SmallServer] = []

    def launch(**settings: Any) -> SmallServer:
        started.append(SmallServer(tmp_path, engine, **settings))
        return started[-1]

    yield launch
    for item in started:
        item.close()
