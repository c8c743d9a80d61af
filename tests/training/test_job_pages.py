"""Lists of jobs: filters and pages."""

import datetime
from collections.abc import Callable

import pytest

from kitfox.errors import InvalidArgument
from kitfox.training import Job, JobFilter, JobPage, JobState, JobStore

Make = Callable[..., Job]
_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def ids(page: JobPage) -> list[str]:
    return [job.id for job in page.jobs]


def test_pages_follow_each_other(store: JobStore, make_job: Make) -> None:
    jobs = [make_job(id=f"job-{number}", log_tail="long") for number in range(5)]
    for job in jobs:
        store.add(job)
    first = store.page(JobFilter(), limit=2)
    assert ids(first) == ["job-4", "job-3"]
    assert first.jobs[0].log_tail == ""
    assert first.jobs[0].parameters is None
    store.add(make_job(id="job-5"))
    second = store.page(JobFilter(), limit=2, token=first.next_token)
    third = store.page(JobFilter(), limit=2, token=second.next_token)
    assert (ids(second), ids(third)) == (["job-2", "job-1"], ["job-0"])
    assert third.next_token == ""
    oldest = store.page(JobFilter(), limit=5, newest_first=False)
    assert ids(oldest) == [f"job-{number}" for number in range(5)]
    last = store.page(JobFilter(), limit=5, newest_first=False, token=oldest.next_token)
    assert last == JobPage(jobs=(store.get("job-5"),))


@pytest.mark.parametrize("token", ["x", "-1", "1.0", "9" * 30, "\u0665"])
def test_a_token_that_no_page_has_given_is_refused(store: JobStore, token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        store.page(JobFilter(), token=token)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(states=frozenset({JobState.QUEUED})), "bcd"),
        (JobFilter(states=frozenset({JobState.QUEUED, JobState.CANCELED})), "abcd"),
        (JobFilter(states=frozenset()), ""),
        (JobFilter(module="m2"), "bd"),
        (JobFilter(module="name of m2"), "bd"),
        (JobFilter(model_name="x_y"), "ab"),
        (JobFilter(text="x_y"), "ab"),
        (JobFilter(text="x?y"), "abc"),
        (JobFilter(text="*[z]*"), "d"),
        (JobFilter(text="[z]"), "d"),
        (JobFilter(text="c"), "c"),
        (JobFilter(text="X_Y"), ""),
        (JobFilter(text="%"), ""),
        (JobFilter(created_from=_DAY + datetime.timedelta(hours=2)), "cd"),
        (JobFilter(created_before=_DAY + datetime.timedelta(hours=2)), "ab"),
        (JobFilter(promotion="wanted", states=frozenset({JobState.QUEUED})), "c"),
    ],
)
def test_only_what_fits_is_listed(
    store: JobStore, make_job: Make, wanted: JobFilter, expected: str
) -> None:
    for hour, (name, model, module, promotion) in enumerate(
        (
            ("a", "x_y", "m1", "wanted"),
            ("b", "x_y", "m2", ""),
            ("c", "x-y", "m1", "wanted"),
            ("d", "[z]", "m2", "done"),
        )
    ):
        store.add(
            make_job(
                id=name,
                model_name=model,
                module_id=module,
                module_name=f"name of {module}",
                created=_DAY + datetime.timedelta(hours=hour),
                promotion=promotion,
            )
        )
    store.move("a", [JobState.QUEUED], JobState.CANCELED)
    assert "".join(ids(store.page(wanted, newest_first=False))) == expected
