"""The requests that models refuse because these ended their processes, beyond the end of a load."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from kitfox.models.identity import Files
from kitfox.models.quarantine_notes import QuarantineNotes, RefusedRequest

if TYPE_CHECKING:
    from kitfox.models.replicas.quarantine import Quarantine

__all__ = ["Quarantines"]

_MOST = 1000


class Quarantines:
    """Keeps what each model refuses while it is unloaded, evicted, or loaded anew.

    What other files do with a request is not known, so another version begins with nothing.

    Args:
        notes: Keeps it for the next server as well.
    """

    def __init__(self, notes: QuarantineNotes | None = None) -> None:
        self._notes = notes
        self._kept: OrderedDict[tuple[str, Files], Quarantine] = OrderedDict()
        self._writer: ThreadPoolExecutor | None = None

    def of(self, model_id: str, files: Files, known: Iterable[RefusedRequest] = ()) -> "Quarantine":
        """That of a model which is about to be loaded.

        Args:
            model_id: The model.
            files: Equal if what is loaded is the same as before.
            known: What it refuses, if this is not known yet.
        """
        # Only now: a server without models in processes of their own does without all of that.
        from kitfox.models.replicas.quarantine import Quarantine

        key = (model_id, files)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = Quarantine()
            for request in known:
                found.convict(request.digest, request.method, request.reason, request.since)
            found.on_change = partial(self._note, model_id, files, found)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return found

    async def recall(self, model_id: str, files: Files) -> "Quarantine":
        """That of a model which is about to be loaded, with what an earlier server knew."""
        return self.of(model_id, files, await self._noted(model_id, files))

    async def recall_if_any(self, model_id: str, files: Files) -> "Quarantine | None":
        """That of a model which has not been loaded, if an earlier server knew of something."""
        known = await self._noted(model_id, files)
        return self.of(model_id, files, known) if known else self.find(model_id)

    def find(self, model_id: str) -> "Quarantine | None":
        """That of the model which was loaded last under an id."""
        for (name, _), found in reversed(list(self._kept.items())):  # threads ask, too
            if name == model_id:
                return found
        return None

    def close(self) -> None:
        """Waits until all is written."""
        if self._writer is not None:
            self._writer.shutdown()

    async def _noted(self, model_id: str, files: Files) -> list[RefusedRequest]:
        if self._notes is None or (model_id, files) in self._kept:
            return []
        return await asyncio.to_thread(self._notes.read, model_id, files)

    def _note(self, model_id: str, files: Files, quarantine: "Quarantine") -> None:
        """Has it written what a model refuses now; the event loop does not wait for that."""
        if self._notes is None:
            return
        if self._writer is None:  # one thread, so that what is later is written later
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="quarantine")
        requests = [
            RefusedRequest(
                digest=entry.digest, method=entry.method, reason=entry.reason, since=entry.since
            )
            for entry in quarantine.entries()
        ]
        self._writer.submit(self._notes.write, model_id, files, requests)
