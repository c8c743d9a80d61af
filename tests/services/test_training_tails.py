"""What those who follow are told of a training that runs on another host, and of many at once."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import JobNotFound, KitfoxError
from kitfox.modules import RequestContext
from kitfox.services.training_events import TrainingEvents, added
from kitfox.training import Job, JobState, JobStore, Progress, Scheduler, TrainingService

ID = "elsewhere"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    yield found
    found.close()


@pytest.fixture
def service(store: JobStore, tmp_path: Path) -> TrainingService:
    """Nothing runs here: the tests do what a worker of another host does."""
    job = Job(
        id=ID,
        module_id="11111111-2222-3333-4444-555555555555",
        created=datetime.datetime.now(datetime.UTC),
        output_path=str(tmp_path / "model"),
        log_path=str(tmp_path / "not" / "here.log"),
    )
    store.add(job)
    return TrainingService(store=store, scheduler=Scheduler(store=store), output_dir=tmp_path)


class Following:
    """The events that one gets who follows."""

    def __init__(self, events: TrainingEvents) -> None:
        context = RequestContext()
        self._events = events.follow(
            self._request(), context, decode=lambda _: {"training_id": ID}, encode=self._keep
        )
        self.seen: list[Any] = []

    async def _request(self) -> AsyncIterator[bytes]:
        yield b""

    def _keep(self, event: Any) -> bytes:
        self.seen.append(event)
        return b""

    async def begin(self) -> None:
        """The first event comes at once."""
        async with asyncio.timeout(30):
            await anext(self._events)

    async def until(self, *lines: str) -> None:
        """Goes on until these lines have come."""
        async with asyncio.timeout(30):
            while self.lines != list(lines):
                await anext(self._events)

    async def to_the_end(self) -> None:
        async with asyncio.timeout(30):
            async for _ in self._events:
                pass

    @property
    def lines(self) -> list[str]:
        return [line for event in self.seen for line in event.log]


def test_the_end_of_a_log_that_lies_elsewhere_is_told(
    store: JobStore, service: TrainingService
) -> None:
    async def follow() -> Following:
        following = Following(TrainingEvents(service, period=0.01))
        await following.begin()
        store.claim(host="elsewhere")
        store.begin(ID, attempt=1, pid=1, start="", environment={})
        store.beat(ID, attempt=1, progress=Progress(step=1), log_tail="one\ntwo\nthr")
        await following.until("one", "two")
        # The beginning has been dropped, as from any log's end.
        store.beat(ID, attempt=1, log_tail="two\nthree\nfour\n")
        await following.until("one", "two", "three", "four")
        store.move(
            ID,
            [JobState.RUNNING],
            JobState.ERRORED,
            attempt=1,
            log_tail="four\nlast",
            reasons=("r",),
        )
        await following.to_the_end()
        return following

    following = asyncio.run(follow())
    assert following.lines == ["one", "two", "three", "four", "last"]
    assert following.seen[0].state == "QUEUED"
    assert [event.state for event in following.seen][-1] == "ERRORED"
    assert following.seen[-1].reasons == ["r"]


def test_a_store_that_fails_for_a_while_is_asked_again(
    store: JobStore, service: TrainingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    these, failures = store.these, iter(range(3))

    def failing(job_ids: Any) -> list[Job]:
        if next(failures, None) is not None:
            raise KitfoxError("the disk had a bad moment")
        return these(job_ids)

    async def follow() -> Following:
        following = Following(TrainingEvents(service, period=0.01))
        # The first event is of another look.
        monkeypatch.setattr(store, "these", failing)
        await following.begin()
        store.move(ID, [JobState.QUEUED], JobState.CANCELED)
        await following.to_the_end()
        return following

    assert asyncio.run(follow()).seen[-1].state == "CANCELED"
    assert next(failures, None) is None


def test_a_training_that_is_removed_is_not_found(store: JobStore, service: TrainingService) -> None:
    async def follow() -> None:
        events = TrainingEvents(service, period=60)
        following = Following(events)
        await following.begin()
        store.move(ID, [JobState.QUEUED], JobState.CANCELED)
        store.mark_removed([ID])
        events.look()  # and not between the two
        await following.to_the_end()

    with pytest.raises(JobNotFound, match=ID):
        asyncio.run(follow())


lines = st.lists(st.text("abc", max_size=3), max_size=8)


@given(before=lines, new=lines, dropped=st.integers(0, 8))
def test_what_was_added_is_found_whatever_was_dropped(
    before: list[str], new: list[str], dropped: int
) -> None:
    """With lines that differ; of lines that repeat themselves nobody can tell."""
    old = [f"{number} {line}\n" for number, line in enumerate(before)]
    whole = old + [f"{number} {line}\n" for number, line in enumerate(new, len(old))]
    kept = whole[min(dropped, len(old)) :]
    expected = whole[len(old) :] if dropped < len(old) or not old else kept
    assert added("".join(old), "".join(kept)) == "".join(expected)
