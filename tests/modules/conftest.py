"""Modules that a test defines are forgotten after it."""

from collections.abc import Iterator

import pytest

from kitfox.modules import default_registry


@pytest.fixture(autouse=True)
def preserved_registry() -> Iterator[None]:
    with default_registry().preserved():
        yield
