"""What gzip data holds, of one member or of several."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.server.compression import GzipError, unpack

PARTS = st.lists(st.binary(max_size=300) | st.binary(max_size=3).map(lambda item: item * 90_000))


@given(PARTS.filter(len), st.integers(0, 1_000_000))
def test_members_come_one_after_the_other_up_to_the_limit(parts: list[bytes], limit: int) -> None:
    data = b"".join(gzip.compress(part, mtime=0) for part in parts)
    assert unpack(data, limit) == b"".join(parts)[: limit + 1]


@given(PARTS.filter(len), st.data())
def test_what_is_cut_off_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    members = [gzip.compress(part, mtime=0) for part in parts]
    packed = b"".join(members)
    ends = {sum(map(len, members[: index + 1])) for index in range(len(members))}
    size = data.draw(st.integers(0, len(packed) - 1).filter(lambda item: item not in ends))
    with pytest.raises(GzipError, match="too early"):
        unpack(packed[:size], 10_000_000)


@given(st.binary(max_size=100), st.binary(min_size=1, max_size=9))
def test_what_is_no_gzip_is_refused(held: bytes, rest: bytes) -> None:
    for before in (b"", gzip.compress(held)):
        with pytest.raises(GzipError):
            unpack(before + rest, 1000)


def test_a_crowd_of_members_is_refused() -> None:
    member = gzip.compress(b"", mtime=0)
    assert unpack(member * 1000, 10) == b""
    with pytest.raises(GzipError, match="more than 1000 members"):
        unpack(member * 1001, 10)
