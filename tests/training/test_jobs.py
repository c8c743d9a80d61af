"""The table of states and moves."""

import dataclasses
import datetime
import itertools

import pytest

from kitfox.training import IllegalMove, JobState
from kitfox.training.jobs import MOVES, TERMINAL, Job, check_move

LEGAL = {
    ("QUEUED", "RUNNING"),
    ("QUEUED", "CANCELED"),
    ("RUNNING", "QUEUED"),
    ("RUNNING", "CANCELING"),
    ("RUNNING", "COMPLETED"),
    ("RUNNING", "ERRORED"),
    ("RUNNING", "STOPPING"),
    ("STOPPING", "COMPLETED"),
    ("STOPPING", "ERRORED"),
    ("STOPPING", "CANCELING"),
    ("STOPPING", "CANCELED"),
    ("STOPPING", "QUEUED"),
    ("CANCELING", "CANCELED"),
    ("CANCELING", "COMPLETED"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, repeat=2)))
def test_only_the_moves_of_the_table_are_allowed(before: JobState, after: JobState) -> None:
    if (before.value, after.value) in LEGAL:
        check_move(before, after)
    else:
        with pytest.raises(IllegalMove, match=f"cannot go from {before} to {after}"):
            check_move(before, after)


def test_every_state_has_its_row_and_three_are_final() -> None:
    assert set(MOVES) == set(JobState)
    assert {"COMPLETED", "CANCELED", "ERRORED"} == TERMINAL


def test_the_duration_is_known_at_the_end() -> None:
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    job = Job(id="1", module_id="m", created=start, started=start)
    assert job.duration is None
    ended = Job(
        id="1",
        module_id="m",
        created=start,
        started=start,
        finished=start + datetime.timedelta(seconds=3),
    )
    assert ended.duration == datetime.timedelta(seconds=3)


def test_no_job_takes_less_than_no_time() -> None:
    """Begin and end are told by clocks of different processes, and of one that may be put back."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    job = Job(id="x", module_id="m", created=moment, started=moment)
    assert job.duration is None
    later = dataclasses.replace(job, finished=moment + datetime.timedelta(seconds=2))
    assert later.duration == datetime.timedelta(seconds=2)
    earlier = dataclasses.replace(job, finished=moment - datetime.timedelta(hours=1))
    assert earlier.duration == datetime.timedelta(0)
