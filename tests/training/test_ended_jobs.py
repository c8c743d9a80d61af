"""Jobs that have ended: which have been kept long enough, and how they go."""

import datetime
from collections.abc import Callable

import pytest

from kitfox.errors import AlreadyExists, JobNotFound
from kitfox.training import Job, JobFilter, JobState, JobStore, RetentionRules

Make = Callable[..., Job]
_NOW = datetime.datetime(2026, 1, 10, tzinfo=datetime.UTC)


def keep(store: JobStore, make_job: Make, name: str, age: float, **values: object) -> None:
    """A job that ended some days ago."""
    ended = _NOW - datetime.timedelta(days=age)
    store.add(make_job(**{"id": name, "state": JobState.COMPLETED, "finished": ended, **values}))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (RetentionRules(), ""),
        (RetentionRules(seconds=86400), "bc"),
        (RetentionRules(failed_seconds=86400), "f"),
        (RetentionRules(seconds=2.5 * 86400, failed_seconds=10), "cfe"),
        (RetentionRules(count=3), "cb"),
        (RetentionRules(count=0), "cbfae"),
        (RetentionRules(count=10), ""),
        (RetentionRules(bytes=350), "cbf"),
        (RetentionRules(bytes=0), "cbfa"),
        (RetentionRules(seconds=1e300), ""),
    ],
)
def test_what_breaks_a_rule_has_expired(
    store: JobStore, make_job: Make, rules: RetentionRules, expected: str
) -> None:
    keep(store, make_job, "a", 0.5, output_bytes=200)
    keep(store, make_job, "b", 2, output_bytes=200)
    keep(store, make_job, "c", 3, output_bytes=100)
    keep(store, make_job, "e", 0.1, state=JobState.ERRORED)
    keep(store, make_job, "f", 1.5, state=JobState.CANCELED)
    keep(store, make_job, "pinned", 50, pinned=True, output_bytes=1000)
    keep(store, make_job, "wanted", 50, promotion="wanted", output_bytes=1000)
    store.add(make_job(id="waits"))
    store.measured({"f": 250})
    assert sorted(job.id for job in store.expired(rules, _NOW)) == sorted(expected)
    limited = store.expired(rules, _NOW, limit=2)
    assert len(limited) == min(2, len(expected))
    if rules.count is not None:
        assert [job.id for job in limited] == list(expected[:2])


def test_a_marked_job_is_hidden_and_then_forgotten(store: JobStore, make_job: Make) -> None:
    keep(store, make_job, "gone", 1, log_tail="end")
    keep(store, make_job, "pinned", 1, pinned=True)
    store.add(make_job(id="waits"))
    assert [job.id for job in store.mark_removed(["gone", "pinned", "waits", "x"])] == ["gone"]
    assert store.mark_removed(["gone"]) == []
    for ask in (store.get, store.parameters, lambda name: store.set(name, pinned=True)):
        with pytest.raises(JobNotFound):
            ask("gone")
    assert {job.id for job in store.list()} == {"pinned", "waits"}
    assert {job.id for job in store.page(JobFilter()).jobs} == {"pinned", "waits"}
    assert store.counts()[JobState.COMPLETED] == 1
    assert store.expired(RetentionRules(count=0), _NOW) == []
    (marked,) = store.removed()
    assert marked.id == "gone"
    assert marked.removed is not None
    with pytest.raises(AlreadyExists):
        store.add(make_job(id="gone"))
    store.remove(["gone"])
    assert store.removed() == []
    store.add(make_job(id="gone"))
    assert store.get("gone").log_tail == ""


def test_what_is_not_measured_is_found(store: JobStore, make_job: Make) -> None:
    keep(store, make_job, "a", 1)
    store.add(make_job(id="waits"))
    assert [job.id for job in store.unmeasured()] == ["a"]
    store.measured({"a": 0})
    assert store.unmeasured() == []
