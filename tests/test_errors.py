"""Sentences of errors that carry facts."""

from pathlib import Path

from kitfox.errors import Code, DiskFull, ResourceExhausted


def test_a_full_disk_says_what_is_needed_what_is_free_and_where() -> None:
    error = DiskFull("saving the model", Path("/srv/out"), needed=12_345_678, free=4_096)
    assert str(error) == (
        "The disk is full while saving the model: at least 12,345,678 bytes needed, "
        "4,096 bytes free at /srv/out"
    )
    assert isinstance(error, ResourceExhausted)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert (error.where, error.needed, error.free) == ("/srv/out", 12_345_678, 4_096)


def test_what_nobody_knows_is_left_out() -> None:
    assert str(DiskFull("saving", "/srv", needed=None, free=0)).endswith(
        "while saving: 0 bytes free at /srv"
    )
    assert str(DiskFull("saving", "/srv", needed=None, free=None)).endswith("while saving at /srv")
