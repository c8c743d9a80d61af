"""What is shown of a log."""

from pathlib import Path

import pytest

from kitfox.training import job_log


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"one\ntwo\n", "one\ntwo\n"),
        (b" 0%\r 50%\r100%\ndone\n", "100%\ndone\n"),
        (b"before\n 0%\r 50%", "before\n 50%"),
        (b"of Windows\r\nand more\r\n", "of Windows\nand more\n"),
        (b" 7%\r\r", " 7%\r\r"),
    ],
)
def test_of_a_line_that_was_written_over_the_last_state_is_shown(
    tmp_path: Path, written: bytes, shown: str
) -> None:
    log = tmp_path / "log"
    log.write_bytes(written)
    assert job_log.tail(str(log)) == shown


def test_the_end_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"line {number:06}\n" for number in range(10_000)]
    log.write_text("".join(lines))
    found = job_log.tail(str(log))
    assert "".join(lines).endswith(found)
    assert found.startswith("line ")
    assert job_log.TAIL_BYTES - 20 < len(found) <= job_log.TAIL_BYTES


def test_one_long_line_takes_no_longer_than_many(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 500_000 + b"\rlast")
    assert job_log.tail(str(log)) == "last"


def test_what_has_grown_has_another_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = job_log.mark(str(log))
    log.write_text("a")
    assert job_log.mark(str(log)) != before
