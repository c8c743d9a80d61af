"""Calls that take too long in replicas: who they are and where they are goes to the log.

What is beyond the model's limit is ended with its replica, which works for code that never lets go
of the interpreter lock too: the replica's page tells what runs, its signal handler in C where.
"""

import asyncio
import contextvars
import time

from kitfox import logs
from kitfox.models.replicas.page import Running
from kitfox.models.replicas.pool import Member, Pool
from kitfox.models.replicas.process import ReplicaProcess

__all__ = ["HungCalls"]

log = logs.channel("MODELS")

_TOLD_AFTER = 60.0
"""Seconds after which a call is told of that may run as long as it likes."""
_LOOKS = 5
_SHORTEST_PERIOD, _LONGEST_PERIOD = 0.02, 0.5
_LAST_WORDS = 0.2
"""Seconds that a replica has to say where it is before it is killed."""


class HungCalls:
    """Looks at what the replicas of one model run, a few times in the span that is allowed.

    To be used from the event loop.

    Args:
        pool: The replicas.
        model: The model's id.
        seconds: How long a call may run before its replica is killed; 0: as long as it likes, and
            it is told of after a minute.
        loop: The event loop.
    """

    def __init__(
        self, pool: Pool, *, model: str, seconds: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._pool = pool
        self._model = model
        self._seconds = seconds
        self._loop = loop
        self._limit = seconds or _TOLD_AFTER
        self._told: set[tuple[ReplicaProcess, Running]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Looks again and again from now on."""
        period = min(max(self._limit / _LOOKS, _SHORTEST_PERIOD), _LONGEST_PERIOD)
        # Not in the context of the call that had the model loaded: lines would bear its id.
        self._timer = self._loop.call_later(period, self._look, context=contextvars.Context())

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        slow = {
            (process, item)
            for process, member in self._pool.members.items()
            if member.calls
            for item in process.running()
            if now - item.since > self._limit
        }
        news, self._told = slow - self._told, slow
        for process in {process for process, _ in news}:
            found = [item for owner, item in news if owner is process]
            self._tell(process, self._pool.members[process], found)
        self.start()

    def _tell(self, process: ReplicaProcess, member: Member, slow: list[Running]) -> None:
        for item in slow:
            call = member.calls.get(item.number)
            if call is None:  # it is over, and its answer is on the way
                continue
            log.warning(
                "A call of method %s of model %s has been running in replica %d for more than "
                "%.3g s and %s; where the threads of the replica are follows",
                *(call.method, self._model, process.index, time.monotonic() - item.since),
                "is ended with it" if self._seconds else "goes on",
                extra={
                    "log_code": "<KFX20080W>",
                    "model_id": self._model,
                    "replica": process.index,
                    "request_id": None if call.context is None else call.context.request_id,
                },
            )
        process.dump()
        if self._seconds:
            self._loop.call_later(_LAST_WORDS, self._end, process, slow)

    def _end(self, process: ReplicaProcess, slow: list[Running]) -> None:
        """Kills a replica, unless it has come to an end with its calls after all."""
        running = set(process.running())
        hung = [item for item in slow if item in running]
        if hung:
            process.kill(
                f"a call took longer than {self._seconds:g} s (setting "
                "models.execution.run_seconds) and its process was killed",
                culprit=min(hung, key=lambda item: item.since).number,
            )
