"""How an attempt ends: its model is published, a checkpoint of it is, or it is told why not.

Whatever goes wrong on the way, the record in the store and the folder in its place fit together: a
model that lies there belongs to a training that is, or will be found to be, COMPLETED.
"""

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kitfox.errors import KitfoxError, ResourceExhausted, Unavailable
from kitfox.modules.manifest import UnreadableModel
from kitfox.training import job_log, processes, publication
from kitfox.training.data_record import DataRecorder
from kitfox.training.database import StoreError, StoreGone
from kitfox.training.disk_space import explained_space
from kitfox.training.environment import imported_packages, system
from kitfox.training.jobs import DataRecord, Job, JobState
from kitfox.training.progress import JobContext
from kitfox.training.store import JobStore

__all__ = ["GONE_PATIENCE", "Outcome", "describe", "insist", "is_trouble", "kind_of"]

log = logging.getLogger("kitfox.TRAINING")
Result = TypeVar("Result")

_STORE_PATIENCE = 120.0
"""For how many seconds a worker tries to tell the store what became of its job."""
GONE_PATIENCE = 5.0
"""For how many seconds a store whose file is gone is waited for: somebody may be exchanging it."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_UNDER_WAY = (JobState.RUNNING, JobState.STOPPING)


class Outcome:
    """Tells the store how an attempt has ended.

    Args:
        store: The worker's own.
        job: The record of the job.
        context: What the training has told.
        data: What has watched its data.
        settling: Called before the store is told the end: its orders do not matter from then on.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        context: JobContext,
        data: DataRecorder,
        *,
        settling: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._job = job
        self._context = context
        self._data = data
        self._settling = settling
        self._records: tuple[DataRecord, ...] | None = None

    def seal(self) -> None:
        """Makes what `save` has written a model that can be published."""
        partial = publication.partial_path(self._job)
        with explained_space("saving the model", partial, Path(self._job.output_path).parent):
            publication.seal(partial, self._job)
        self._records = self._data.records()

    def publish(self) -> None:
        """Puts the sealed model in its place; it is dropped if nobody wants it any more."""
        self._settle()
        if self._complete(lambda: publication.put_in_place(self._job)) is None:
            log.info("Training %s was cancelled; its model is dropped", self._job.id)
            publication.discard(self._job)
        else:
            publication.discard(self._job, checkpoints=True)

    def keep_checkpoint(self) -> None:
        """Publishes the newest checkpoint of a training that is to keep what it has.

        Without one nothing is told: it is cancelled, which is for the scheduler to say once all
        its processes are gone.
        """
        self._settle()
        if publication.patiently(lambda: publication.stage_checkpoint(self._job)):
            self.publish()
        else:
            log.info("Training %s has no checkpoint that could be kept", self._job.id)
            publication.discard(self._job)

    def leave(self) -> None:
        """Tells nothing, as if the worker had been killed: the attempt is to be made again."""
        self._settle()
        publication.discard(self._job)

    def fail(self, reason: str, failure: str = "") -> None:
        """Notes why there is no model; a job that is being cancelled stays so.

        Args:
            reason: A sentence.
            failure: Of what kind it is; see `Job.failure`.
        """
        self._settle()
        if self._is_published():
            # It went wrong after the rename: a model that is being served has been made.
            log.warning("Training %s is complete all the same: its model is there", self._job.id)
            if self._complete(lambda: None) is not None:
                publication.discard(self._job, checkpoints=True)
            return
        publication.discard(self._job)
        insist(
            lambda: self._store.move(
                self._job.id,
                _UNDER_WAY,
                JobState.ERRORED,
                attempt=self._job.attempt,
                reasons=(reason,),
                failure=failure,
                **self._measured(),
            )
        )

    def _settle(self) -> None:
        """From here on it takes milliseconds, and must not be disturbed."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._settling()

    def _complete(self, put_in_place: Callable[[], None]) -> Job | None:
        measured = self._measured()
        partial, place = publication.partial_path(self._job), Path(self._job.output_path)
        size = self._sealed_size(partial, place)
        met: list[Exception] = []

        def put() -> None:
            try:
                with explained_space("putting the model in place", partial, place.parent):
                    put_in_place()
            except Exception as error:
                met.append(error)
                raise

        def again(error: Exception) -> bool:
            """Trouble with the place itself ends it, unless the model is there already."""
            if any(error is one for one in met):
                return self._is_published()
            return is_trouble(error)

        def publish() -> Job | None:
            return self._store.publish(
                self._job.id,
                attempt=self._job.attempt,
                put_in_place=put,
                output_bytes=size,
                **measured,
            )

        return insist(publish, again=again)

    def _is_published(self) -> bool:
        """Whether the model is in its place; no, where that cannot be read for a while."""
        try:
            return publication.patiently(lambda: publication.is_published(self._job))
        except UnreadableModel as error:
            log.warning("It cannot be told whether the model is in its place: %s", error)
            return False

    def _sealed_size(self, *folders: Path) -> int | None:
        """The bytes of the model, which is in one of these; None if nobody can tell."""
        with contextlib.suppress(UnreadableModel):  # publishing says it, if it matters to that
            for folder in folders:
                if sealed := publication.is_whole(folder, self._job):
                    return sealed.size
        return None

    def _measured(self) -> dict[str, Any]:
        """What is known of the attempt now."""
        if self._records is None:  # it has not come to its end: there is no time for digests
            self._records = self._data.records(digests=False)
        return {
            "log_tail": job_log.tail(self._job.log_path),
            "peak_memory": processes.peak_memory(),
            "progress": self._context.progress,
            "environment": {**imported_packages(), **system()},
            "data": self._records,
        }


def is_trouble(error: Exception) -> bool:
    """Whether an error says that the store is busy, full, broken or away."""
    return isinstance(error, Unavailable | ResourceExhausted | StoreError)


def insist(
    action: Callable[[], Result],
    *,
    again: Callable[[Exception], bool] = is_trouble,
    seconds: float = _STORE_PATIENCE,
) -> Result:
    """Repeats what fails, for a while, as the store may be back soon.

    Args:
        action: What to do.
        again: Whether an error is one after which to try again.
        seconds: For how long.
    """
    begin, pause, told = time.monotonic(), _FIRST_PAUSE, ""
    while True:
        try:
            return action()
        except Exception as error:
            patience = min(seconds, GONE_PATIENCE) if isinstance(error, StoreGone) else seconds
            if time.monotonic() - begin > patience or not again(error):
                raise
            if str(error) != told and not isinstance(error, StoreGone):
                log.warning("The job store could not be told; trying again", exc_info=True)
                told = str(error)
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, 2 * pause)


def kind_of(error: BaseException) -> str:
    """Of what kind a failure is; see `Job.failure`."""
    if isinstance(error, MemoryError):
        return "memory"
    return "input" if isinstance(error, ValueError | TypeError) else ""


def describe(error: BaseException) -> str:
    """An exception as a reason: its text, after its type where the text says little by itself."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    if isinstance(error, KitfoxError):
        return text
    terse = (LookupError, SystemExit, StopIteration, AssertionError)
    return f"{type(error).__name__}: {text}" if isinstance(error, terse) else text
