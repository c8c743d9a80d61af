"""A log read in parts is the log, whatever the parts are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.training.log_parts import read_part

texts = st.lists(st.text(st.sampled_from("aé€𝄞 \r"), max_size=12), max_size=8).map("\n".join)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "log"


@given(text=texts, limit=st.integers(4, 40))
def test_the_parts_are_the_log(log: Path, text: str, limit: int) -> None:
    log.write_bytes(text.encode())
    found, offset = "", 0
    while True:
        part = read_part(log, offset, limit, whole_lines=False)
        assert part is not None
        assert len(part.text.encode()) <= limit
        found, offset = found + part.text, part.next_offset
        if part.ended:
            break
    assert found == text
    assert offset == len(text.encode())


@given(text=texts, more=texts)
def test_a_line_that_is_being_written_is_left_for_later(log: Path, text: str, more: str) -> None:
    log.write_bytes(text.encode())
    part = read_part(log, 0, 1000, whole_lines=True)
    assert part is not None
    assert part.text == text[: text.rfind("\n") + 1]
    log.write_bytes((text + more).encode())
    rest = read_part(log, part.next_offset, 1000, whole_lines=False)
    assert rest is not None
    assert part.text + rest.text == text + more


def test_a_log_whose_beginning_was_dropped_is_read_from_the_new_one(log: Path) -> None:
    log.write_text("short\n")
    part = read_part(log, 1000, 100, whole_lines=True)
    assert part is not None
    assert (part.text, part.next_offset) == ("short\n", 6)
    assert read_part(log.with_name("none"), 0, 100, whole_lines=True) is None
