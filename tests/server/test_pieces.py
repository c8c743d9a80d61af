"""Bytes that come piece by piece."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.server.pieces import Pieces

SIZES = st.one_of(st.integers(0, 40), st.integers(4000, 4200), st.integers(60_000, 70_000))


@given(st.lists(st.lists(SIZES, max_size=12), max_size=4))
def test_they_are_taken_as_they_came(rounds: list[list[int]]) -> None:
    pieces = Pieces()
    for sizes in rounds:
        parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        for part in parts:
            pieces.add(part)
        assert pieces.size == sum(sizes)
        assert pieces.take() == b"".join(parts)
        assert pieces.size == 0


def test_a_single_piece_is_not_copied() -> None:
    pieces, piece = Pieces(), b"x" * 100_000
    pieces.add(b"")
    pieces.add(piece)
    assert pieces.take() is piece


@pytest.mark.parametrize("sizes", [[1] * 200_000, [4096, 1] * 100], ids=["tiny", "mixed"])
def test_small_ones_take_little_more_room_than_what_is_in_them(sizes: list[int]) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        pieces = Pieces()
        for size in sizes:
            pieces.add(bytes(size))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert pieces.size <= taken < 1.25 * pieces.size
