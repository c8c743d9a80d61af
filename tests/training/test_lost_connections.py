"""Connections to PostgreSQL that are lost in the middle of a transition."""

from collections.abc import Callable
from typing import Any

import pytest

from kitfox.errors import Unavailable
from kitfox.training import Job, JobState, JobStore

from .scripted_workers import StartScheduler, ended, postgresql_only

pytestmark = [pytest.mark.slow, postgresql_only]

Make = Callable[..., Job]


def lose(store: JobStore) -> None:
    """Has the server end the connection of a transaction that has changed something."""
    with store.database.write() as connection:
        connection.change("UPDATE jobs SET model_name = 'lost'")
        connection.query("SELECT pg_terminate_backend(pg_backend_pid())")


def test_what_was_changed_is_undone_and_the_next_change_succeeds(
    store: JobStore, make_job: Make
) -> None:
    job = make_job(model_name="kept")
    store.add(job)
    with pytest.raises(Unavailable) as caught:
        lose(store)
    assert "cannot be reached: " in str(caught.value)
    assert "\n" not in str(caught.value)
    moved = store.move(job.id, [JobState.QUEUED], JobState.CANCELED)
    assert moved is not None
    assert moved.model_name == "kept"


@pytest.mark.parametrize(
    ("transition", "end"),
    [("claim", JobState.COMPLETED), ("release", JobState.COMPLETED), ("move", JobState.ERRORED)],
)
def test_the_scheduler_goes_on_with_another_connection(
    store: JobStore,
    start_scheduler: StartScheduler,
    make_job: Make,
    monkeypatch: pytest.MonkeyPatch,
    transition: str,
    end: JobState,
) -> None:
    real = getattr(store, transition)
    lost: list[str] = []

    def perform(*args: Any, **values: Any) -> Any:
        if not lost:
            lost.append(transition)
            lose(store)
        return real(*args, **values)

    monkeypatch.setattr(store, transition, perform)
    script = "no start" if end is JobState.ERRORED else "os._exit(3) if attempt < 2 else complete()"
    start_scheduler().submit(job := make_job(parameters=script, retries=1))
    assert ended(store, job).state is end
    assert lost == [transition]
