"""The machine is shared out: as much as there is, and no more than a container may use."""

import os
from pathlib import Path

import pytest

from kitfox.models.cores import LibraryThreads, available_cores, library_environment


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


@pytest.mark.parametrize(
    ("parallel", "processes", "expected"),
    [
        (0, 0, {"ORT_INTRA_OP_NUM_THREADS": "1"}),
        (1, 0, {"ORT_INTRA_OP_NUM_THREADS": "8"}),
        (3, 0, {"ORT_INTRA_OP_NUM_THREADS": "2"}),
        (2, 2, {"ORT_INTRA_OP_NUM_THREADS": "2", "OMP_NUM_THREADS": "4"}),
        (4, 16, {"ORT_INTRA_OP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}),
    ],
)
def test_libraries_are_told_their_part(
    parallel: int, processes: int, expected: dict[str, str]
) -> None:
    found = library_environment(parallel, {}, processes=processes, cores=8)
    assert {k: v for k, v in found.items() if k.endswith("_NUM_THREADS")} == expected


def test_what_the_operator_set_stays_and_what_the_server_chose_is_chosen_anew() -> None:
    operator = {"OMP_NUM_THREADS": "3"}
    server = {**operator, **library_environment(1, operator, cores=8)}
    assert server["ORT_INTRA_OP_NUM_THREADS"] == "8"
    replica = {**server, **library_environment(1, server, processes=4, cores=8)}
    assert replica["ORT_INTRA_OP_NUM_THREADS"] == "2"
    assert replica["OMP_NUM_THREADS"] == "3"
    operator = {"OMP_NUM_THREADS": "3", "ORT_INTRA_OP_NUM_THREADS": "0"}
    assert not library_environment(1, operator, processes=2, cores=8)
