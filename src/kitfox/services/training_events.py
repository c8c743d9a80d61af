"""Following trainings: how one goes, now and at each change, with every line of its log once.

However many follow, one task looks at the store and at the logs for all of them. Each of those who
follow takes what is new at its own pace: one that is slow gets the newest state, and reads on in
the log where it was.
"""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from pathlib import Path
from typing import Any

from kitfox import logs
from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument, JobNotFound, Unavailable
from kitfox.interfaces.runtime.trainings import TrainingEvent
from kitfox.services.methods import Context, Decode, Encode
from kitfox.services.training_management import described_progress
from kitfox.training import Job, TrainingService
from kitfox.training.jobs import TERMINAL

__all__ = ["TrainingEvents", "added"]

log = logs.channel("TRAINING")

_PERIOD = 0.25
_SILENCE = 60.0
_LOG_PART = 1 << 16
_NO_FILE = -1


class _Followed:
    """A training that somebody follows, as it was seen last."""

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        """None when it was removed."""
        self.log_size = 0
        self.changes = 0
        self.followers = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def see(self, job: Job | None, log_size: int) -> None:
        """Takes in how it is now."""
        known = self.job
        is_same = job is not None and known is not None and _visible(job) == _visible(known)
        self.job = job
        if not is_same or log_size != self.log_size:
            self.log_size = log_size
            self.wake()

    def wake(self) -> None:
        """Has all who wait look again."""
        self.changes += 1
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def change(self, seconds: float) -> None:
        """Waits until something is different, or for so long."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait({future}, timeout=seconds)
        finally:
            self._waiting.discard(future)


class TrainingEvents:
    """Tells those who follow trainings how they go.

    To be used from the event loop only.

    Args:
        trainings: The trainings.
        period: Seconds between looks at those that are followed.
    """

    def __init__(self, trainings: TrainingService, *, period: float = _PERIOD) -> None:
        self._trainings = trainings
        self._period = period
        self._followed: dict[str, _Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._draining = False
        self._hurry = asyncio.Event()

    def look(self) -> None:
        """To be called when a training has ended: whoever follows it is told at once."""
        self._hurry.set()

    def drain(self) -> None:
        """The server is about to stop: all who follow are told so."""
        self._draining = True
        for followed in self._followed.values():
            followed.wake()

    async def follow(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """How a training goes: at once, at each change, and for the last time when it has ended."""
        fields: dict[str, Any] = {}
        async for request in requests:
            fields = decode(request)
        offset = fields.get("log_from") or 0
        if offset < 0:
            raise InvalidArgument(f"log_from: must not be negative, got {offset}")
        training_id = fields.get("training_id") or ""
        job = await asyncio.to_thread(self._trainings.get, training_id)
        followed = self._begin(job)
        try:
            log_reader = _LogReader(self._trainings, offset)
            async for event in self._events(training_id, followed, log_reader):
                yield [encode(event)]
        finally:
            self._end(training_id, followed)

    async def end(self, training_id: str) -> Job:
        """All that is known of a training when it has ended, in whatever state.

        Raises:
            Unavailable: The server is about to stop; the training goes on.
        """
        followed = self._begin(await asyncio.to_thread(self._trainings.get, training_id))
        try:
            while True:
                seen, job = followed.changes, followed.job
                if job is None:
                    raise JobNotFound(training_id, "training_id")
                if job.state in TERMINAL:
                    # As its callers may see it.
                    return await asyncio.to_thread(self._trainings.get, training_id)
                if self._draining:
                    raise Unavailable(
                        f"the server is about to stop; training {training_id} goes on, and the "
                        "next server tells how"
                    )
                if seen == followed.changes:
                    await followed.change(_SILENCE)
        finally:
            self._end(training_id, followed)

    async def _events(
        self, training_id: str, followed: _Followed, log_reader: "_LogReader"
    ) -> AsyncIterator[DataObjectBase]:
        loop = asyncio.get_running_loop()
        last: Any = None
        told = 0.0
        while True:
            seen, is_draining, job = followed.changes, self._draining, followed.job
            if job is None:
                raise JobNotFound(training_id, "training_id")
            # The log is read after the state was: what was logged before the end is all there.
            lines, is_more = await asyncio.to_thread(log_reader.read, job)
            if lines or _visible(job) != last or loop.time() - told >= _SILENCE:
                last, told = _visible(job), loop.time()
                yield _event(job, lines, log_reader.offset)
            if is_more:
                continue
            if job.state in TERMINAL:
                return
            if is_draining:
                raise Unavailable("the server is about to stop; follow on from the last log_offset")
            if seen == followed.changes:
                await followed.change(_SILENCE)

    def _begin(self, job: Job) -> _Followed:
        followed = self._followed.setdefault(job.id, _Followed(job))
        followed.followers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())
        return followed

    def _end(self, training_id: str, followed: _Followed) -> None:
        followed.followers -= 1
        if not followed.followers:
            del self._followed[training_id]

    async def _watch(self) -> None:
        """Looks at all that are followed, as long as there are any."""
        while self._followed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._period)
            self._hurry.clear()
            try:
                found = await asyncio.to_thread(self._look, list(self._followed))
            except Exception:
                # The store may be busy or away for a while; it is asked again.
                log.exception("Trainings that are followed could not be looked at")
                continue
            for training_id, (job, log_size) in found.items():
                if training_id in self._followed:
                    self._followed[training_id].see(job, log_size)

    def _look(self, training_ids: Collection[str]) -> dict[str, tuple[Job | None, int]]:
        jobs = self._trainings.these(training_ids)
        found: dict[str, tuple[Job | None, int]] = {}
        for training_id in training_ids:
            job = jobs.get(training_id)
            found[training_id] = (job, _NO_FILE if job is None else _size(job))
        return found


def _visible(job: Job) -> tuple[object, ...]:
    """What of a job those who follow it see."""
    # Without a file, the end of the log comes with the record, at each sign of life.
    return job.state, job.progress, job.reasons, job.attempt, job.started


def _size(job: Job) -> int:
    try:
        return Path(job.log_path).stat().st_size
    except OSError:
        # The log is elsewhere: its end is kept in the store when there is something new.
        return _NO_FILE - job.beats


def _event(job: Job, lines: list[str], offset: int) -> DataObjectBase:
    return TrainingEvent(
        training_id=job.id,
        state=job.state.value,
        progress=described_progress(job.progress),
        log=lines,
        log_offset=offset,
        reasons=list(job.reasons),
        time=datetime.datetime.now(datetime.UTC),
    )


class _LogReader:
    """Reads a training's log line by line for one who follows it.

    Args:
        trainings: The trainings.
        offset: The byte to begin at.
    """

    def __init__(self, trainings: TrainingService, offset: int) -> None:
        self._trainings = trainings
        self._tail = ""
        self.offset = offset

    def read(self, job: Job) -> tuple[list[str], bool]:
        """The lines that have come, and whether there are more already. Reads the disk."""
        part = self._trainings.log_of(
            job, offset=self.offset, limit=_LOG_PART, whole_lines=job.state not in TERMINAL
        )
        if part is None:
            return self._read_tail(job), False
        self.offset = part.next_offset
        return _lines(part.text), not part.ended

    def _read_tail(self, job: Job) -> list[str]:
        """What is new in the end of a log that lies on another host."""
        tail = self._trainings.get(job.id).log_tail
        if job.state not in TERMINAL:
            tail = tail[: tail.rfind("\n") + 1]
        new = added(self._tail, tail)
        self._tail = tail
        return _lines(new)


def added(before: str, after: str) -> str:
    """What has been added to a text of which the beginning may have been dropped."""
    if after.startswith(before):
        return after[len(before) :]
    first = after[: after.find("\n") + 1]
    start = before.find(first) if first else -1
    while start >= 0:
        if after.startswith(before[start:]):
            return after[len(before) - start :]
        start = before.find(first, start + 1)
    return after


def _lines(text: str) -> list[str]:
    """The lines of a text; of one that was written over by itself, what stayed."""
    if not text:
        return []
    lines = text.removesuffix("\n").split("\n")
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]
