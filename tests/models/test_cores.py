"""The machine is shared out: as much as there is, and no more than a container may use."""

import os
from pathlib import Path

import pytest

from kitfox.models.cores import LibraryThreads, available_cores


@pytest.mark.parametrize(("limit", "cores"), [("50000 100000", 1), ("100000 100000", 1)])
def test_a_containers_limit_counts(tmp_path: Path, limit: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize("text", ["max 100000", "", "nonsense"])
def test_without_a_limit_all_cores_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert 1 <= available_cores(tmp_path) <= (os.cpu_count() or 1)


class Torch:
    """What is asked of torch."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.calls = 0

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.threads = threads
        self.calls += 1


def test_torchs_threads_are_shared_by_the_calls_that_run() -> None:
    torch = Torch(8)
    threads = LibraryThreads(torch)
    for parallel, share in ((4, 2), (1, 8), (3, 2), (100, 1)):
        threads.share(parallel)
        assert torch.threads == share


def test_nothing_is_set_that_is_set() -> None:
    torch = Torch(8)
    threads = LibraryThreads(torch)
    for _ in range(10):
        threads.share(4)
    assert torch.calls == 1
