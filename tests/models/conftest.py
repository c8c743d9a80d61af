"""A stage for actors (`actors.py`)."""

from collections.abc import Iterator

import pytest

from kitfox.modules import default_registry
from tests.models.actors import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with default_registry().preserved():
        made = Stage()
        made.actor()
        yield made
        made.go.set()
