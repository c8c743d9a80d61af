"""What goes of trainings that have ended: what the rules say, whole, and nothing that is needed."""

import datetime
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitfox.errors import FailedPrecondition, JobNotFound
from kitfox.modules.manifest import MANIFEST
from kitfox.training import Job, JobFilter, JobState, JobStore, RetentionRules, publication
from kitfox.training.given_values import data_folder
from kitfox.training.job_rows import now
from kitfox.training.jobs import TERMINAL
from kitfox.training.retention import Retention, is_current
from tests.training.retention_crashes import EVERYTHING, make_training
from tests.waiting import wait_for

DAY = 86400


def files_of(job: Job) -> list[Path]:
    return [Path(job.output_path), publication.checkpoint_root(job), Path(job.log_path)]


@pytest.fixture
def retention(store: JobStore) -> Iterator[Retention]:
    made = Retention(store=store, rules=EVERYTHING, period=0.05)
    yield made
    made.stop()


def test_all_of_a_training_goes(store: JobStore, retention: Retention, tmp_path: Path) -> None:
    job = make_training(tmp_path, "a")
    store.add(job)
    assert retention.sweep() == 1
    with pytest.raises(JobNotFound):
        store.get("a")
    assert not list((tmp_path / "models").rglob("*"))
    assert not Path(job.log_path).exists()
    assert retention.sweep() == 0


def test_a_model_that_another_training_made_stays(
    store: JobStore, retention: Retention, tmp_path: Path
) -> None:
    """Trainings that save under a name alone replace each other's models."""
    place = str(tmp_path / "models" / "m")
    store.add(make_training(tmp_path, "old", state=JobState.ERRORED, output_path=place))
    newer = make_training(tmp_path, "newer", output_path=place, pinned=True)
    store.add(newer)
    assert retention.sweep() == 1
    assert publication.trainer(Path(place)) == ("newer", 1)
    assert all(path.exists() for path in files_of(newer))


@pytest.mark.parametrize(
    "needed",
    [
        lambda job: {"model_paths": {"base": job.output_path}},
        lambda job: {"model_paths": {"base": f"{job.output_path}/inner"}},
        lambda job: {"resume_path": str(publication.checkpoint_root(job) / "1-1")},
    ],
)
def test_what_an_unfinished_training_needs_stays(
    store: JobStore,
    retention: Retention,
    make_job: Callable[..., Job],
    tmp_path: Path,
    needed: Callable[[Job], dict[str, object]],
) -> None:
    job = make_training(tmp_path, "a")
    store.add(job)
    store.add(make_job(id="user", **needed(job)))
    assert retention.sweep() == 0
    with pytest.raises(FailedPrecondition, match=r"a cannot be removed: training user needs"):
        retention.remove_now(job)
    assert all(path.exists() for path in files_of(job))
    store.move("user", [JobState.QUEUED], JobState.CANCELED)
    assert retention.sweep() == 2


def test_data_that_a_caller_gave_goes_too(
    store: JobStore, retention: Retention, tmp_path: Path
) -> None:
    job = make_training(tmp_path, "a")
    data = data_folder(job.log_path)
    data.mkdir()
    (data / "rows.jsonl").write_text("{}\n")
    store.add(job)
    assert retention.sweep() == 1
    assert not data.exists()


def test_a_model_that_cannot_be_read_goes_when_it_can(
    store: JobStore, retention: Retention, tmp_path: Path
) -> None:
    """Forgotten before, it would lie about for ever."""
    job = make_training(tmp_path, "a")
    store.add(job)
    manifest, aside = (Path(job.output_path) / name for name in (MANIFEST, "aside"))
    manifest.rename(aside)
    manifest.symlink_to(manifest)  # to itself, so that opening it fails
    assert is_current(replace(job, overwrite=True), tmp_path)
    assert retention.sweep() == 0
    assert Path(job.output_path).exists()
    aside.replace(manifest)
    assert retention.sweep() == 1
    assert not Path(job.output_path).exists()


def test_what_is_kept_for_other_reasons_stays(store: JobStore, tmp_path: Path) -> None:
    jobs = [make_training(tmp_path, f"{number}") for number in range(4)]
    for job in jobs:
        store.add(job)
    kept = {"0", "2"}
    retention = Retention(store=store, rules=EVERYTHING, is_kept=lambda job: job.id in kept)
    assert retention.sweep() == 2
    assert {job.id for job in store.list()} == kept
    retention.remove_now(jobs[0])  # somebody's word is more
    assert {job.id for job in store.list()} == {"2"}


def test_only_what_has_ended_and_is_not_pinned_is_removed(
    store: JobStore, retention: Retention, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    waiting, pinned = make_job(), make_training(tmp_path, "pinned", pinned=True)
    for job in (waiting, pinned):
        store.add(job)
    with pytest.raises(FailedPrecondition, match="is QUEUED; only one that has ended"):
        retention.remove_now(waiting)
    with pytest.raises(FailedPrecondition, match="is pinned; unpin it"):
        retention.remove_now(pinned)
    store.set("pinned", pinned=False)
    retention.remove_now(pinned)
    with pytest.raises(JobNotFound):
        retention.remove_now(pinned)


def test_the_bytes_of_all_that_is_kept_count(store: JobStore, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for number in range(4):
        ended = now - datetime.timedelta(hours=number)
        store.add(make_training(tmp_path, f"{number}", finished=ended))
    # Each has a model, a checkpoint and a log of 10,000 bytes: 12 KiB of the disk, and a little.
    Retention(store=store, rules=RetentionRules(bytes=120_000)).sweep()
    assert {job.id for job in store.list()} == {"0", "1"}


def test_it_is_done_again_and_again(store: JobStore, retention: Retention, tmp_path: Path) -> None:
    store.add(make_training(tmp_path, "a"))
    retention.start()
    with pytest.raises(FailedPrecondition, match="started already"):
        retention.start()
    wait_for(lambda: not store.list(), what="the first sweep")
    store.add(make_training(tmp_path, "b"))
    wait_for(lambda: not store.list(), what="another sweep")
    retention.stop()


@pytest.mark.slow
def test_a_removal_is_finished_however_it_was_broken_off(tmp_path: Path) -> None:
    """At no moment is a training shown whose model is not whole."""
    subprocess.run(
        [sys.executable, "-m", "tests.training.retention_crashes", str(tmp_path)], check=True
    )
    steps = list(tmp_path.iterdir())
    assert len(steps) > 10
    for folder in steps:
        store = JobStore(f"sqlite:///{folder / 'jobs.sqlite3'}")
        for job in store.list():
            assert publication.is_whole(Path(job.output_path), job)
        Retention(store=store).sweep()  # no rules: only what was begun
        shown = store.list()
        assert not store.removed()
        for job in shown:
            assert all(path.exists() for path in files_of(job))
        names = {job.id for job in shown}
        assert {path.name for path in (folder / "models").iterdir()} == names
        assert {path.stem for path in (folder / "logs").iterdir()} == names
        store.close()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What the rules look at in a job."""

    number: int
    state: JobState
    days: int
    size: int
    pinned: bool
    kept: bool
    promotion: str

    @property
    def may_go(self) -> bool:
        """Whether the rules count it at all."""
        return self.state in TERMINAL and not self.pinned and self.promotion != "wanted"


def to_go(facts: list[Fact], rules: RetentionRules) -> set[str]:
    """The same, said in another way."""

    def is_old(fact: Fact) -> bool:
        limit = rules.seconds if fact.state is JobState.COMPLETED else rules.failed_seconds
        return limit is not None and fact.days * DAY + 3600 > limit

    counted = [fact for fact in facts if fact.may_go]
    going = {fact for fact in counted if is_old(fact)}
    newest = sorted(
        (fact for fact in counted if fact not in going), key=lambda fact: (fact.days, -fact.number)
    )
    if rules.count is not None:
        going.update(newest[rules.count :])
    total = 0
    for fact in newest:
        total += fact.size
        if rules.bytes is not None and total > rules.bytes:
            going.add(fact)
    return {str(fact.number) for fact in going if not fact.kept}


_OPTIONAL = st.none() | st.integers(0, 12)
_FACT = st.fixed_dictionaries(
    {
        "state": st.sampled_from(sorted(JobState)) | st.just(JobState.COMPLETED),
        "days": st.integers(0, 12),
        "size": st.integers(0, 5),
        "pinned": st.sampled_from([False, False, True]),
        "kept": st.sampled_from([False, False, True]),
        "promotion": st.sampled_from(["", "", "wanted", "done"]),
    }
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    found=st.lists(_FACT, max_size=12),
    days=_OPTIONAL,
    failed_days=_OPTIONAL,
    count=_OPTIONAL,
    size=_OPTIONAL,
)
def test_what_breaks_a_rule_goes_and_nothing_else(
    store: JobStore,
    make_job: Callable[..., Job],
    found: list[dict[str, Any]],
    days: int | None,
    failed_days: int | None,
    count: int | None,
    size: int | None,
) -> None:
    with store.database.write() as connection:
        for table in ("job_parameters", "job_logs", "job_names", "jobs"):
            connection.change(f"DELETE FROM {table}")  # noqa: S608 -- constants
    now = datetime.datetime.now(datetime.UTC)
    facts = [Fact(number=number, **values) for number, values in enumerate(found)]
    for fact in facts:
        ended = now - datetime.timedelta(days=fact.days, hours=1)
        job = make_job(
            id=str(fact.number),
            state=fact.state,
            finished=ended if fact.state in TERMINAL else None,
            pinned=fact.pinned,
            promotion=fact.promotion,
        )
        store.add(job)
    store.measured({str(fact.number): fact.size for fact in facts})
    rules = RetentionRules(
        seconds=None if days is None else days * DAY,
        failed_seconds=None if failed_days is None else failed_days * DAY,
        count=count,
        bytes=size,
    )
    kept = {str(fact.number) for fact in facts if fact.kept}
    retention = Retention(store=store, rules=rules, is_kept=lambda job: job.id in kept)
    expected = to_go(facts, rules)
    assert retention.sweep() == len(expected)
    left = {job.id for job in store.page(JobFilter(), limit=1000).jobs}
    assert left == {str(fact.number) for fact in facts} - expected
    assert retention.sweep() == 0


def test_jobs_that_are_kept_are_in_nobodys_way(
    store: JobStore, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitfox.training.retention._BATCH", 3)
    ended = datetime.datetime.now(datetime.UTC)
    for number in range(20):
        store.add(make_job(id=f"{number:02}", state=JobState.ERRORED, finished=ended))
    retention = Retention(store=store, rules=EVERYTHING, is_kept=lambda job: job.id < "10")
    assert retention.sweep() == 10
    assert {job.id for job in store.list()} == {f"{number:02}" for number in range(10)}


def test_what_another_server_uses_stays(store: JobStore, tmp_path: Path) -> None:
    """By whichever of its names, and until the other says otherwise or has been silent for long."""
    jobs = [make_training(tmp_path, name, model_name="m") for name in "abcde"]
    for job in jobs:
        store.add(job)
    retention = Retention(store=store, rules=EVERYTHING)
    store.note_use("one", [jobs[0].output_path, "b"], seconds=60)
    store.note_use("other", ["b", "m@c"], seconds=60)
    store.note_use("dead", ["d"], seconds=-1)
    assert retention.sweep() == 2
    assert {job.id for job in store.list()} == {"a", "b", "c"}
    store.note_use("other", [], seconds=60)
    assert retention.sweep() == 1
    assert {job.id for job in store.list()} == {"a", "b"}
    retention.remove_now(jobs[0])  # somebody's word is more
    store.note_use("one", [], seconds=60)
    assert retention.sweep() == 1


def test_what_is_used_elsewhere_is_in_nobodys_way(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitfox.training.retention._BATCH", 2)
    names = "abcdefg"
    for name in names:
        store.add(make_training(tmp_path, name))
    store.note_use("other", names[:4], seconds=60)
    assert Retention(store=store, rules=EVERYTHING).sweep() == 3
    assert {job.id for job in store.list()} == set(names[:4])


def test_of_those_who_look_one_after_the_other_one_does(store: JobStore, tmp_path: Path) -> None:
    def look(**options: Any) -> None:
        retention = Retention(store=store, rules=EVERYTHING, shared=True, **options)
        retention.start()
        retention.stop()

    look()
    store.add(make_training(tmp_path, "a"))
    look()
    assert [job.id for job in store.list()] == ["a"]
    retention = Retention(store=store, rules=EVERYTHING, shared=True, period=0)
    retention.start()
    wait_for(lambda: not store.list(), what="the removal")
    retention.stop()


def test_whose_clock_was_wrong_keeps_nobody_from_looking(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("kitfox.training.ended_jobs.now", lambda: now() + 10**15)
        assert store.begin_sweep(60)
    assert store.begin_sweep(60)
    assert not store.begin_sweep(60)
