"""What becomes of a job whose worker is gone and has not said so itself."""

import time
from dataclasses import replace

from kitfox import logs
from kitfox.errors import AlreadyExists
from kitfox.modules.manifest import UnreadableModel
from kitfox.training import job_log, publication
from kitfox.training.jobs import Job, JobState
from kitfox.training.store import JobStore

__all__ = ["Settlement"]

log = logs.channel("TRAINING")


class _NothingToKeep(Exception):
    """A job that is to keep what it has has nothing."""


class Settlement:
    """Brings records to what has happened.

    Args:
        store: The jobs.
        patience: For how many seconds what cannot be read is tried again, before a job ends
            without it.
    """

    def __init__(self, store: JobStore, *, patience: float = 60.0) -> None:
        self._store = store
        self._patience = patience
        self._unreadable: dict[tuple[str, int], float] = {}
        """Since when what attempts have left cannot be read."""

    def settle(self, job: Job, why: str) -> Job | None:
        """Ends a job, or sends it back into the queue if it may be tried again.

        No process of it may be there any more.

        Args:
            job: As it is in the store.
            why: How its worker has ended: a sentence.

        Returns:
            The job as it is then; None if somebody has changed it meanwhile: look again.

        Raises:
            UnreadableModel: Nobody can tell what it has left; to be tried again.
        """
        try:
            moved = self._decide(job, why)
        except UnreadableModel as error:
            begin = self._unreadable.setdefault((job.id, job.attempt), time.monotonic())
            if time.monotonic() - begin < self._patience:
                raise
            canceled = job.state is JobState.CANCELING
            end = JobState.CANCELED if canceled else JobState.ERRORED
            moved = self._end(job, end, f"{why}; {error}")
        self._unreadable.pop((job.id, job.attempt), None)
        if moved is not None:
            log.info(
                "Training %s is %s: %s",
                *(job.id, moved.state, why),
                extra={"log_code": "<KFX50020I>"},
            )
        return moved

    def clear(self, job: Job, attempt: int) -> None:
        """Clears away what a worker may have left that told its end and died right after.

        Args:
            job: As it is in the store.
            attempt: The worker's, of which no process may be there any more.
        """
        ended = job.state in (JobState.COMPLETED, JobState.CANCELED)
        publication.discard(replace(job, attempt=attempt), checkpoints=ended)

    def _decide(self, job: Job, why: str) -> Job | None:
        if publication.is_published(job):  # it died between the last rename and the last commit
            return self._end(job, JobState.COMPLETED)
        if job.state is JobState.CANCELING:
            return self._end(job, JobState.CANCELED)
        if job.state is JobState.STOPPING:
            return self._keep(job)
        publication.discard(job)
        released = self._store.release(job.id, attempt=job.attempt, reasons=(why,))
        return released or self._end(job, JobState.ERRORED, why)

    def _keep(self, job: Job) -> Job | None:
        """Makes the last checkpoint of a job that was told to stop its model."""

        def put_in_place() -> None:
            # Here, where nobody else can settle the same job: they would find no checkpoint.
            if not publication.stage_checkpoint(job):
                raise _NothingToKeep
            publication.put_in_place(job)

        try:
            moved = self._store.publish(
                job.id,
                attempt=job.attempt,
                put_in_place=put_in_place,
                log_tail=job_log.tail(job.log_path),
            )
        except _NothingToKeep:
            return self._end(job, JobState.CANCELED, "stopped before its first checkpoint")
        except AlreadyExists as error:  # something else lies in the model's place
            return self._end(job, JobState.ERRORED, str(error))
        if moved is not None:
            publication.discard(job, checkpoints=True)
        return moved

    def _end(self, job: Job, state: JobState, *reasons: str) -> Job | None:
        # Those of a failure stay: another job may go on from them.
        publication.discard(job, checkpoints=state is not JobState.ERRORED)
        return self._store.move(
            job.id,
            [job.state],
            state,
            attempt=job.attempt,
            reasons=reasons,
            log_tail=job_log.tail(job.log_path),
        )
