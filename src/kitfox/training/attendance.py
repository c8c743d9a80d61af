"""Running a store's jobs from a process that is no server, as long as no other process does."""

import contextlib
import threading

from kitfox.errors import KitfoxError
from kitfox.training.retention import Retention
from kitfox.training.scheduler import Scheduler
from kitfox.training.scheduler_lock import HasScheduler

__all__ = ["Attendance"]


class Attendance:
    """Starts a scheduler, at once or as soon as the one that another process has is gone.

    A store in a file has one scheduler. Whoever adds a job to a store that a server runs leaves it
    to the server; should that end, the job must not wait for ever while somebody waits for it.

    Args:
        scheduler: Not started yet.
        retention: What is removed by whoever runs the store; not started yet.
        period: Seconds between tries.
    """

    def __init__(
        self, scheduler: Scheduler, *, retention: Retention | None = None, period: float = 0.5
    ) -> None:
        self._scheduler = scheduler
        self._retention = retention
        self._period = period
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Starts the scheduler if it may; else tries again later. Whether it runs now.

        Raises:
            KitfoxError: The store cannot be used.
        """
        try:
            self._run()
        except HasScheduler:
            self._thread = threading.Thread(
                target=self._try_again, name="kitfox-attendance", daemon=True
            )
            self._thread.start()
            return False
        return True

    def stop(self) -> None:
        """Ends what was started. Workers go on; the next scheduler finds them."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._retention is not None:
            self._retention.stop()
        self._scheduler.stop()

    def _try_again(self) -> None:
        while not self._ended.wait(self._period):
            with contextlib.suppress(KitfoxError):
                self._run()
                return

    def _run(self) -> None:
        self._scheduler.start()
        if self._retention is not None:
            self._retention.start()
