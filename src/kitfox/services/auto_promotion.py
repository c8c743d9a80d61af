"""Making what a training has made the current version of its model, without a call that fails.

Which models wait for it is in the job store, so a server that dies in the middle is made good by
the next one. The switch itself is `ModelManager.promote`: the new version is loaded and warmed up
before it takes the place of the old one.
"""

import asyncio
import os

from kitfox import logs
from kitfox.errors import Code, JobNotFound, KitfoxError
from kitfox.models import ModelManager
from kitfox.training import Job, JobFilter, JobState, TrainingService

__all__ = ["AutoPromotion"]

log = logs.channel("TRAINING")

_WANTED = JobFilter(states=frozenset({JobState.COMPLETED}), promotion="wanted")
_PAGE = 100
_PASSING = {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED}
_ATTEMPTS = 3
_PAUSE = 2.0
_AFTER_TROUBLE = 5.0


class AutoPromotion:
    """Promotes models one after the other, in the order in which their trainings came.

    To be used from the event loop only.

    Args:
        trainings: The trainings.
        models: The models of the server.
        pause: Seconds until the next try when a model could not be loaded for lack of something.
    """

    def __init__(
        self, trainings: TrainingService, models: ModelManager, *, pause: float = _PAUSE
    ) -> None:
        self._trainings = trainings
        self._models = models
        self._pause = pause
        self._host = os.uname().nodename
        self._wake = asyncio.Event()
        self._begun = self._done = 0
        self._looked = asyncio.Condition()

    def look(self) -> None:
        """To be called when a training has ended."""
        self._wake.set()

    async def run(self) -> None:
        """Promotes what an earlier server has left, and then whatever comes; never ends."""
        while True:
            self._wake.clear()
            self._begun += 1
            try:
                await self._promote_all()
            except Exception:
                # The store may be busy or away for a while.
                log.exception("Models that wait for their promotion could not be looked at")
                asyncio.get_running_loop().call_later(_AFTER_TROUBLE, self.look)
            async with self._looked:
                self._done = self._begun
                self._looked.notify_all()
            await self._wake.wait()

    async def settle(self, seconds: float) -> None:
        """Waits, for so long at most, until all that has ended by now has been promoted."""
        wanted = self._begun + 1  # one that is under way may have missed it
        self.look()
        try:
            async with asyncio.timeout(seconds), self._looked:
                await self._looked.wait_for(lambda: self._done >= wanted)
        except TimeoutError:
            return

    async def _promote_all(self) -> None:
        """Promotes all that wait, the oldest first."""
        token = ""
        while True:
            page = await asyncio.to_thread(
                self._trainings.page, _WANTED, limit=_PAGE, token=token, newest_first=False
            )
            for job in page.jobs:
                if self._is_mine(job):
                    outcome = await self._promote(job)
                    await asyncio.to_thread(self._trainings.store.set, job.id, promotion=outcome)
                    if outcome == "done" and self._trainings.store.database.shared:
                        await self._make_good(job)
            token = page.next_token
            if not token:
                return

    def _is_mine(self, job: Job) -> bool:
        """Whether the model lies here: of several servers each promotes what it has trained."""
        return not self._trainings.store.database.shared or job.worker_host == self._host

    async def _promote(self, job: Job) -> str:
        """Promotes one model; what is to be kept of it."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if not await asyncio.to_thread(self._is_settled, job):
                    await self._models.promote(job.model_name, job.id)
            except Exception as error:
                passes = isinstance(error, KitfoxError) and error.code in _PASSING
                if passes and attempt < _ATTEMPTS:
                    await asyncio.sleep(self._pause)
                    continue
                log.warning(
                    "Training %s does not become the current version of model %s: %s",
                    job.id,
                    job.model_name,
                    error,
                    exc_info=not isinstance(error, KitfoxError),
                )
                return "failed"
            break
        return "done"

    async def _make_good(self, job: Job) -> None:
        """Sees to it that a later version is current which another server has promoted meanwhile.

        Whoever comes last here has all switches behind it, and all that was said of them before it.
        """
        later = await asyncio.to_thread(self._later, job)
        if later is not None:
            log.info("Training %s is made current again, after an older one", later.id)
            await self._promote(later)

    def _later(self, job: Job) -> Job | None:
        """The latest training whose model was promoted, if an older one is the current version."""
        done = JobFilter(states=_WANTED.states, model_name=job.model_name, promotion="done")
        newest = next(iter(self._trainings.page(done, limit=1).jobs), None)
        current = self._models.store.current_version(job.model_name)
        # What else is current was made so by somebody's word, a rollback perhaps.
        if newest is None or current == newest.id or job.id not in (current, newest.id):
            return None
        try:
            is_older = self._trainings.get(current).created < newest.created
        except JobNotFound:
            return None
        return newest if is_older else None

    def _is_settled(self, job: Job) -> bool:
        """Whether there is nothing to do: it is current, or a later one has become so."""
        if self._models.store.current_version(job.model_name) == job.id:
            return True  # it was done by a server that died before it could say so
        wanted = JobFilter(states=frozenset({JobState.COMPLETED}), model_name=job.model_name)
        token = ""
        while True:
            page = self._trainings.page(wanted, limit=_PAGE, token=token)
            for other in page.jobs:
                if other.id == job.id:
                    return False
                if other.promotion == "done":
                    log.info("Training %s is older than the current version", job.id)
                    return True
            token = page.next_token
            if not token:
                return False
