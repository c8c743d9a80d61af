"""What several servers of one store tell each other of the models that they have loaded.

Each notes them in the store, with a time until which that holds: when one was loaded or unloaded,
and again and again meanwhile. Who removes what has been kept long enough leaves what is noted. A
server that dies protects its models until the time is over.
"""

import threading
import uuid
from collections.abc import Callable, Collection

from kitfox import logs
from kitfox.training.store import JobStore

__all__ = ["ModelsInUse"]

log = logs.channel("TRAINING")

_LEASE = 600.0
"""For how many seconds a note holds. The servers' clocks must agree better than that."""
_PERIOD = 60.0
"""Seconds until a note is made again."""
_AFTER_TROUBLE = 5.0
"""The same, when the store could not be told."""


class ModelsInUse:
    """Tells the other servers of a store what this one uses; nothing where there can be none.

    Args:
        store: The trainings.
        models: Gives the models: each by its folder, or by the id of a training or
            `<model name>@<id>`. Called from a thread.
        lease: For how many seconds what is told holds.
        period: Seconds until it is told again.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        models: Callable[[], Collection[str]],
        lease: float = _LEASE,
        period: float = _PERIOD,
    ) -> None:
        self._store = store
        self._models = models
        self._lease = lease
        self._period = period
        self._server = uuid.uuid4().hex
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to tell."""
        if self._store.database.shared:
            self._thread = threading.Thread(
                target=self._run, name="kitfox-models-in-use", daemon=True
            )
            self._thread.start()

    def changed(self) -> None:
        """Has it told at once, as there are others now."""
        self._changed.set()

    def stop(self) -> None:
        """Tells that nothing is used any more."""
        self._ended.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join()
            self._tell(frozenset)

    def _run(self) -> None:
        while not self._ended.is_set():
            told = self._tell(self._models)
            self._changed.wait(self._period if told else _AFTER_TROUBLE)
            self._changed.clear()

    def _tell(self, models: Callable[[], Collection[str]]) -> bool:
        try:
            self._store.note_use(self._server, frozenset(models()), seconds=self._lease)
        except Exception:
            log.exception("Other servers could not be told which models this one uses")
            return False
        return True
