"""Lists of jobs: filters and pages."""

import datetime
import fnmatch
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


_STATES = st.sampled_from(sorted(JobState))
_NAMES = st.text(alphabet="ab-_%[]!*\N{FOX FACE}", max_size=4)
_JOBS = st.fixed_dictionaries(
    {
        "state": _STATES,
        "model_name": _NAMES,
        "module_id": st.sampled_from("mn"),
        "module_name": st.sampled_from("mno"),
        "promotion": st.sampled_from(["", "wanted", "done"]),
        "created": st.integers(0, 5).map(lambda hour: _DAY + datetime.timedelta(hours=hour)),
    }
)
_FILTERS = st.builds(
    JobFilter,
    states=st.just(frozenset(JobState)) | st.frozensets(_STATES),
    module=st.sampled_from(["", "", "m", "o"]),
    model_name=st.just("") | _NAMES,
    text=st.just("") | st.text(alphabet="ab-_%[]!*?1\N{FOX FACE}", max_size=3),
    created_from=st.none() | _JOBS.map(lambda job: job["created"]),
    created_before=st.none() | _JOBS.map(lambda job: job["created"]),
    promotion=st.sampled_from(["", "", "wanted"]),
)


def fits(job: Job, wanted: JobFilter) -> bool:
    """The same, said in another way."""
    return (
        job.state in wanted.states
        and wanted.module in ("", job.module_id, job.module_name)
        and wanted.model_name in ("", job.model_name)
        and (not wanted.text or any(has(name, wanted.text) for name in (job.id, job.model_name)))
        and (wanted.created_from is None or job.created >= wanted.created_from)
        and (wanted.created_before is None or job.created < wanted.created_before)
        and wanted.promotion in ("", job.promotion)
    )


def has(name: str, text: str) -> bool:
    if "*" in text or "?" in text:
        return fnmatch.fnmatchcase(name, text.replace("[", "[[]"))
    return text in name


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    found=st.lists(_JOBS, max_size=15),
    filters=st.lists(_FILTERS, min_size=1, max_size=10),
    limit=st.integers(1, 5),
    newest_first=st.booleans(),
    removed=st.integers(0, 20),
    few=st.sampled_from([0, 20_000]),
)
def test_pages_are_what_a_plain_look_finds(
    store: JobStore,
    make_job: Make,
    found: list[dict[str, object]],
    filters: list[JobFilter],
    limit: int,
    newest_first: bool,
    removed: int,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For every filter, whatever the order, the size of the pages and the way that is faster."""
    monkeypatch.setattr("kitfox.training.job_search._FEW", few)
    with store.database.write() as connection:
        for table in ("job_parameters", "job_logs", "job_names", "jobs"):
            connection.change(f"DELETE FROM {table}")  # noqa: S608 -- constants
    jobs = [
        make_job(id=f"a{number}", finished=_DAY, **values) for number, values in enumerate(found)
    ]
    for job in jobs:
        store.add(job)
    hidden = {job.id for job in store.mark_removed([f"a{removed}"])}
    in_order = [job for job in jobs if job.id not in hidden]
    if newest_first:
        in_order.reverse()
    for wanted in filters:
        pages = [store.page(wanted, limit=limit, newest_first=newest_first)]
        while token := pages[-1].next_token:
            pages.append(store.page(wanted, limit=limit, token=token, newest_first=newest_first))
        expected = [replace(job, parameters=None) for job in in_order if fits(job, wanted)]
        assert [job for page in pages for job in page.jobs] == expected
        assert all(len(page.jobs) == limit for page in pages[:-1])


def test_jobs_of_a_few_states_are_found_among_many(store: JobStore, make_job: Make) -> None:
    for number in range(30):
        state = JobState.QUEUED if number % 10 == 3 else JobState.COMPLETED
        store.add(make_job(id=f"{number:02}", state=state))
    wanted = JobFilter(states=frozenset({JobState.QUEUED, JobState.CANCELED}))
    first = store.page(wanted, limit=2)
    assert ids(first) == ["23", "13"]
    assert ids(store.page(wanted, limit=2, token=first.next_token)) == ["03"]
    assert [job.id for job in store.list(states=wanted.states, limit=2)] == ["23", "13"]


_HOUR = datetime.timedelta(hours=1)
_AMONG_MANY: list[tuple[JobFilter, Callable[[int], bool]]] = [
    (JobFilter(text="-6"), lambda number: number % 7 == 6),
    (JobFilter(text="*-6"), lambda number: number % 7 == 6),
    (JobFilter(text="fox-2", module="m1"), lambda number: number % 6 == 5),
    (JobFilter(model_name="fox-1"), lambda number: number % 3 == 1),
    (JobFilter(model_name="fox-", text="0"), lambda number: False),
    (JobFilter(module="m2", text="0"), lambda number: False),
    (
        JobFilter(module="m0", created_before=_DAY + 80 * _HOUR),
        lambda number: (number < 80 or number == 100) and number % 2 == 0,
    ),
    (
        JobFilter(text="-0", created_from=_DAY + 90 * _HOUR),
        lambda number: number >= 90 and (number % 7 == 0 or number % 3 == 0),
    ),
    # The clock was wrong when it was added.
    (JobFilter(created_before=_DAY + 2 * _HOUR), lambda number: number in (0, 1, 100)),
    (JobFilter(text="10", created_before=_DAY + 2 * _HOUR), lambda number: number == 100),
]


def test_jobs_are_found_among_many(store: JobStore, make_job: Make) -> None:
    """More than have their names in one row; and they go with their names."""
    jobs = [
        make_job(
            id=f"{number:04}-{number % 7}",
            model_name=f"fox-{number % 3}",
            module_id=f"m{number % 2}",
            created=_DAY + (number if number != 100 else -9999) * _HOUR,
        )
        for number in range(140)
    ]
    for job in jobs:
        store.add(job)
    for wanted, fitting in _AMONG_MANY:
        expected = [job.id for number, job in enumerate(jobs) if fitting(number)]
        for newest_first in (False, True):
            found, token = list[str](), None
            while token != "":
                page = store.page(wanted, limit=9, token=token or "", newest_first=newest_first)
                found, token = found + ids(page), page.next_token
            assert found == expected[:: -1 if newest_first else 1], wanted
    for job in jobs:
        store.move(job.id, [JobState.QUEUED], JobState.CANCELED)
    *gone, last = [job.id for job in jobs]
    store.mark_removed(gone)
    assert ids(store.page(JobFilter(text="fox"))) == [last]
    store.remove(gone)
    with store.database.read() as connection:
        rows = connection.query("SELECT names, ids FROM job_names")
    assert len(rows) == 1
    assert rows[0]["names"].count("fox") == 1
    assert rows[0]["ids"].count(last) == 1


def test_names_may_have_anything_in_them(store: JobStore, make_job: Make) -> None:
    names = ["\x1e", "\x1f1\x1f", "a\nb", "'", "\ufffd", "x\x1ey"]
    for name in names:
        store.add(make_job(model_name=name, module_name=name))
    for name in ("a\nb", "'"):
        for wanted in (JobFilter(model_name=name), JobFilter(text=name), JobFilter(module=name)):
            assert [job.model_name for job in store.page(wanted).jobs] == [name]
    assert [job.model_name for job in store.page(JobFilter(text="x?y")).jobs] == ["x\x1ey"]
    assert len(store.page(JobFilter(text="*")).jobs) == len(names)


def test_many_wildcards_take_no_longer_than_few(store: JobStore, make_job: Make) -> None:
    for _ in range(3):
        store.add(make_job(model_name="a" * 200))
    assert store.page(JobFilter(text="*a" * 40 + "*b")).jobs == ()
