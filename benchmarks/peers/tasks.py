"""What every peer does: the same work, free of any server."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MESSAGES = 500


def hello(name: str) -> str:
    """A greeting."""
    return f"Hello {name}"


def greetings(name: str) -> Iterator[str]:
    """Many greetings."""
    return (f"Hello {name} {number}" for number in range(MESSAGES))


def embedder() -> Any:
    """The sentence-embedding model of the folder that the driver named.

    With a process for each processor, a session of one thread in each is best.
    """
    sys.path.append(str(Path(__file__).resolve().parents[1] / "embedding"))
    from embedder import Embedder

    return Embedder(os.environ["KITFOX_BENCH_MODEL"], threads=1)


def workers() -> int:
    """One for each processor, as peers recommend for a model on a CPU."""
    return len(os.sched_getaffinity(0))
