"""The job store: one suite over every database."""

import datetime
import threading
from collections.abc import Callable

import pytest

from kitfox.errors import AlreadyExists, JobNotFound, ResourceExhausted
from kitfox.training import (
    DataRecord,
    IllegalMove,
    Job,
    JobKind,
    JobState,
    JobStore,
    Library,
    Order,
    Progress,
)

Make = Callable[..., Job]


def start(store: JobStore, job: Job) -> Job:
    """Adds, claims and begins a job."""
    store.add(job)
    claimed = store.claim_next(host="here")
    assert claimed is not None
    begun = store.begin(claimed.id, attempt=claimed.attempt, pid=7, start="9@x", environment={})
    assert begun is not None
    return begun


def test_what_was_added_is_found_whole(store: JobStore, make_job: Make) -> None:
    job = make_job(
        model_name="naïve \N{FOX FACE}",
        libraries=(Library(package="a", path="/b"), Library(package="c")),
        model_paths={"base": "/models/base"},
        overwrite=True,
        priority=-2,
        retries=3,
        resume_path="/models/.x.checkpoints/1-2",
        retry_of="before",
        again_of="first",
        pinned=True,
        promotion="wanted",
        data=(DataRecord(parameter="p", kind="file", name="/x", rows=1),),
        log_tail="end",
        parameters='{"x": 1}',
    )
    store.add(job)
    found = store.get(job.id)
    assert found.parameters is None
    assert store.parameters(job.id) == '{"x": 1}'
    assert found == Job(
        **{name: getattr(job, name) for name in Job.__slots__ if name != "parameters"}
    )


def test_another_process_sees_it_at_once(store: JobStore, make_job: Make) -> None:
    job = make_job()
    store.add(job)
    other = JobStore(store.url, create=False)
    assert other.get(job.id).id == job.id
    other.close()


def test_an_unknown_id_is_named(store: JobStore) -> None:
    with pytest.raises(JobNotFound, match=r"^Unknown training_id: x$"):
        store.get("x")
    with pytest.raises(JobNotFound, match=r"^Unknown training_id: x$"):
        store.parameters("x")


def test_an_id_is_used_once(store: JobStore, make_job: Make) -> None:
    job = make_job()
    store.add(job)
    with pytest.raises(AlreadyExists, match=job.id):
        store.add(job)


def test_the_queue_is_bounded(store: JobStore, make_job: Make) -> None:
    store.add(make_job(), queue_limit=2)
    store.add(make_job(), queue_limit=2)
    with pytest.raises(ResourceExhausted, match=r"2 jobs.*training\.queue_limit is 2"):
        store.add(make_job(), queue_limit=2)
    store.claim_next(host="here")
    store.add(make_job(), queue_limit=2)


def test_jobs_are_claimed_in_order_and_once(store: JobStore, make_job: Make) -> None:
    jobs = [make_job() for _ in range(3)]
    for job in jobs:
        store.add(job)
    claimed = [store.claim_next(host="here") for _ in range(4)]
    assert [job and job.id for job in claimed] == [*(job.id for job in jobs), None]
    first = claimed[0]
    assert first is not None
    assert (first.state, first.attempt, first.worker_host) == (JobState.RUNNING, 1, "here")
    assert first.started is not None
    assert first.started.tzinfo is datetime.UTC


def test_the_most_urgent_go_first_and_several_at_once(store: JobStore, make_job: Make) -> None:
    ids = {
        (priority, number): make_job(priority=priority)
        for number in range(2)
        for priority in (0, -3, 7)
    }
    for job in ids.values():
        store.add(job)
    expected = [ids[priority, number].id for priority in (7, 0, -3) for number in range(2)]
    first = store.claim(host="here", scheduler="here 7 9@x", limit=4)
    assert [job.id for job in first] == expected[:4]
    assert {(job.state, job.attempt, job.scheduler) for job in first} == {
        (JobState.RUNNING, 1, "here 7 9@x")
    }
    assert [job.id for job in store.claim(host="here", limit=4)] == expected[4:]
    assert store.claim(host="here", limit=4) == []


def test_no_two_claimants_get_the_same_job(store: JobStore, make_job: Make) -> None:
    for _ in range(40):
        store.add(make_job())
    claimed: list[str] = []

    def claim() -> None:
        other = JobStore(store.url, create=False)
        while jobs := other.claim(host="here", limit=3):
            claimed.extend(job.id for job in jobs)
        other.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 40


def test_jobs_are_listed_by_state_in_pages(store: JobStore, make_job: Make) -> None:
    jobs = [make_job() for _ in range(5)]
    for job in jobs:
        store.add(job)
    store.claim_next(host="here")
    ids = [job.id for job in jobs]
    assert [job.id for job in store.list()] == ids[::-1]
    assert [job.id for job in store.list(newest_first=False, limit=2, offset=1)] == ids[1:3]
    assert [job.id for job in store.list(states=[JobState.RUNNING])] == ids[:1]
    assert store.list(states=[]) == []
    assert store.counts() == dict.fromkeys(JobState, 0) | {"QUEUED": 4, "RUNNING": 1}


def test_a_worker_gives_signs_of_life(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    assert (job.worker_pid, job.worker_start) == (7, "9@x")
    progress = Progress(fraction=0.5, step=1, total=2, metrics={"loss": float("nan"), "f1": 0.25})
    tail = "nul \0 and \ud800"
    assert store.beat(job.id, attempt=1, progress=progress, log_tail=tail) is Order.GO
    assert store.beat(job.id, attempt=1, checkpoint="/there") is Order.GO  # the rest stays
    found = store.get(job.id)
    assert found.heartbeat is not None
    assert found.progress is not None
    assert found.progress.fraction == 0.5
    assert found.progress.metrics["f1"] == 0.25
    assert found.log_tail == "nul \N{REPLACEMENT CHARACTER} and ?"
    assert found.checkpoint == "/there"
    assert store.get(job.id, log_tail=False).log_tail == ""
    assert [listed.log_tail for listed in store.list()] == [""]
    assert store.signs() == [(job.id, 1, found.beats, "here", "")]
    store.beat(job.id, attempt=1)
    assert store.signs()[0][2] > found.beats


def test_a_move_is_made_only_from_the_named_states(store: JobStore, make_job: Make) -> None:
    job = make_job()
    store.add(job)
    assert store.move(job.id, [JobState.RUNNING], JobState.ERRORED) is None
    assert store.get(job.id).state is JobState.QUEUED
    canceled = store.move(job.id, [JobState.QUEUED], JobState.CANCELED)
    assert canceled is not None
    assert canceled.finished is not None


def test_an_illegal_move_is_refused_whatever_the_state(store: JobStore, make_job: Make) -> None:
    job = make_job()
    store.add(job)
    with pytest.raises(IllegalMove, match=r"cannot go from COMPLETED to RUNNING; .* nothing"):
        store.move(job.id, [JobState.QUEUED, JobState.COMPLETED], JobState.RUNNING)
    assert store.get(job.id).state is JobState.QUEUED


def test_reasons_and_measurements_come_with_the_end(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    store.move(
        job.id,
        [JobState.RUNNING],
        JobState.ERRORED,
        attempt=1,
        reasons=("It broke.",),
        log_tail="Traceback",
        peak_memory=12345678901,
    )
    found = store.get(job.id)
    assert (found.state, found.reasons) == (JobState.ERRORED, ("It broke.",))
    assert (found.log_tail, found.peak_memory) == ("Traceback", 12345678901)
    assert found.duration is not None


def test_an_old_attempt_changes_nothing(store: JobStore, make_job: Make) -> None:
    job = make_job()
    store.add(job)
    store.claim_next(host="here")
    assert store.requeue(job.id, attempt=1)
    again = store.claim_next(host="here")
    assert again is not None
    assert again.attempt == 2
    published: list[str] = []

    assert store.begin(job.id, attempt=1, pid=7, start="9", environment={}) is None
    assert store.move(job.id, [JobState.RUNNING], JobState.ERRORED, attempt=1) is None
    assert store.beat(job.id, attempt=1, log_tail="old", checkpoint="/old") is Order.LOST
    assert store.order(job.id, attempt=1) is Order.LOST
    assert store.release(job.id, attempt=1, reasons=("old",)) is None
    assert not store.requeue(job.id, attempt=1)
    assert store.publish(job.id, attempt=1, put_in_place=lambda: published.append("x")) is None
    assert published == []
    assert store.get(job.id) == again


def test_a_begun_job_is_not_sent_back(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    assert not store.requeue(job.id, attempt=1)
    assert store.begin(job.id, attempt=1, pid=8, start="9", environment={}) is None


def test_a_cancelled_job_publishes_nothing(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    published: list[str] = []
    assert store.publish(job.id, attempt=1, put_in_place=lambda: published.append("x")) is None
    assert published == []


def test_a_job_whose_model_cannot_be_put_in_place_still_runs(
    store: JobStore, make_job: Make
) -> None:
    job = start(store, make_job())

    def fail() -> None:
        raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        store.publish(job.id, attempt=1, put_in_place=fail)
    assert store.get(job.id).state is JobState.RUNNING


def test_publishing_completes(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    published: list[str] = []
    found = store.publish(job.id, attempt=1, put_in_place=lambda: published.append("x"))
    assert found is not None
    assert found.state is JobState.COMPLETED
    assert published == ["x"]


def test_what_is_known_at_the_end_comes_with_the_result(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    data = (
        DataRecord(parameter="rows", kind="file", name="/r.csv", rows=3, size=12, sha256="ab"),
        DataRecord(parameter="more", kind="inline", name=""),
    )
    found = store.publish(
        job.id,
        attempt=1,
        put_in_place=lambda: None,
        environment={"numpy": "2"},
        data=data,
        output_bytes=12345678901,
    )
    assert found is not None
    assert (found.data, found.output_bytes) == (data, 12345678901)
    assert found.environment == {"numpy": "2"}


def test_a_job_that_is_to_stop_is_told_and_may_publish(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    assert store.order(job.id, attempt=1) is Order.GO
    store.move(job.id, [JobState.RUNNING], JobState.STOPPING, attempt=1)
    assert store.order(job.id, attempt=1) is store.beat(job.id, attempt=1) is Order.STOP
    found = store.publish(job.id, attempt=1, put_in_place=lambda: None)
    assert found is not None
    assert found.state is JobState.COMPLETED
    assert store.order(job.id, attempt=1) is store.beat(job.id, attempt=1) is Order.LOST


def test_a_cancelled_job_is_told(store: JobStore, make_job: Make) -> None:
    job = start(store, make_job())
    store.move(job.id, [JobState.RUNNING], JobState.CANCELING)
    assert store.order(job.id, attempt=1) is store.beat(job.id, attempt=1) is Order.CANCEL


def test_a_job_is_begun_again_as_often_as_it_may_be(store: JobStore, make_job: Make) -> None:
    job = make_job(retries=2)
    for deaths in (1, 2):
        start(store, job) if deaths == 1 else begin_next(store)
        released = store.release(job.id, attempt=deaths, reasons=("It died.",))
        assert released is not None
        assert (released.state, released.deaths) == (JobState.QUEUED, deaths)
        assert (released.reasons, released.worker_pid) == (("It died.",), None)
    begin_next(store)
    assert store.release(job.id, attempt=3, reasons=("It died.",)) is None
    assert store.get(job.id).state is JobState.RUNNING


def begin_next(store: JobStore) -> None:
    """Claims and begins what waits."""
    (job,) = store.claim(host="here")
    assert store.begin(job.id, attempt=job.attempt, pid=7, start="9@x", environment={})


def test_pins_and_promotions_change_in_any_state(store: JobStore, make_job: Make) -> None:
    job = make_job(promotion="wanted")
    store.add(job)
    assert store.set(job.id, pinned=True).pinned
    found = store.set(job.id, promotion="done")
    assert (found.pinned, found.promotion) == (True, "done")
    assert not store.set(job.id, pinned=False).pinned
    with pytest.raises(JobNotFound):
        store.set("x", pinned=True)


@pytest.fixture
def predictions(store: JobStore) -> JobStore:
    """The other kind of jobs in the same database."""
    return store.of(JobKind.PREDICTION)


def test_jobs_of_one_kind_know_nothing_of_the_other(
    store: JobStore, predictions: JobStore, make_job: Make
) -> None:
    training, prediction = make_job(), make_job(kind=JobKind.PREDICTION)
    store.add(training, queue_limit=1)
    predictions.add(prediction, queue_limit=1)
    for mine, job, others in (
        (store, training, prediction),
        (predictions, prediction, training),
    ):
        assert [found.id for found in mine.list()] == [job.id]
        assert mine.get(job.id).kind is job.kind
        assert mine.counts()[JobState.QUEUED] == 1
        with pytest.raises(JobNotFound, match=rf"^Unknown {job.kind}_id: {others.id}$"):
            mine.get(others.id)
        with pytest.raises(JobNotFound):
            mine.parameters(others.id)
        assert mine.move(others.id, [JobState.QUEUED], JobState.CANCELED) is None
        claimed = mine.claim_next(host="here")
        assert claimed is not None
        assert claimed.id == job.id
        assert mine.claim_next(host="here") is None
    assert store.begin(prediction.id, attempt=1, pid=7, start="9", environment={}) is None
    assert store.beat(prediction.id, attempt=1) is Order.LOST
    assert store.order(prediction.id, attempt=1) is Order.LOST
    assert not store.requeue(prediction.id, attempt=1)
    assert store.publish(prediction.id, attempt=1, put_in_place=lambda: None) is None
    assert predictions.get(prediction.id).state is JobState.RUNNING


def test_a_store_takes_no_job_of_another_kind(store: JobStore, make_job: Make) -> None:
    with pytest.raises(ValueError, match="is a prediction"):
        store.add(make_job(kind=JobKind.PREDICTION))


def test_an_id_is_used_once_over_all_kinds(
    store: JobStore, predictions: JobStore, make_job: Make
) -> None:
    job = make_job()
    store.add(job)
    with pytest.raises(AlreadyExists, match=job.id):
        predictions.add(make_job(id=job.id, kind=JobKind.PREDICTION))


def test_each_kind_has_its_own_queue_limit(predictions: JobStore, make_job: Make) -> None:
    predictions.add(make_job(kind=JobKind.PREDICTION), queue_limit=1)
    with pytest.raises(ResourceExhausted, match=r"prediction queue.* jobs\.queue_limit is 1"):
        predictions.add(make_job(kind=JobKind.PREDICTION), queue_limit=1)


@pytest.mark.parametrize("end", [JobState.COMPLETED, JobState.ERRORED])
def test_the_request_of_a_prediction_goes_when_it_ends(
    predictions: JobStore, make_job: Make, end: JobState
) -> None:
    job = make_job(kind=JobKind.PREDICTION, method="Ask", request_id="r", parameters='{"x": 1}')
    predictions.add(job)
    claimed = predictions.claim_next(host="here")
    assert claimed is not None
    assert (claimed.method, claimed.request_id) == ("Ask", "r")
    assert predictions.parameters(job.id) == '{"x": 1}'
    predictions.move(job.id, [JobState.RUNNING], end)
    with pytest.raises(JobNotFound):
        predictions.parameters(job.id)


def test_what_has_ended_long_enough_ago_can_be_forgotten(
    store: JobStore, predictions: JobStore, make_job: Make
) -> None:
    ended, waiting = (make_job(kind=JobKind.PREDICTION) for _ in range(2))
    training = make_job()
    store.add(training)
    store.move(training.id, [JobState.QUEUED], JobState.CANCELED)
    before = datetime.datetime.now(datetime.UTC)
    for job in (ended, waiting):
        predictions.add(job)
    predictions.move(ended.id, [JobState.QUEUED], JobState.CANCELED)
    assert predictions.ended_before(before) == []
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    assert predictions.ended_before(later) == [ended.id]
    predictions.remove([ended.id, waiting.id, training.id])
    with pytest.raises(JobNotFound):
        predictions.get(ended.id)
    assert predictions.parameters(waiting.id) == "{}"
    assert store.parameters(training.id) == "{}"
    predictions.add(ended)  # nothing is left of it
