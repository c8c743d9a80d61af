"""Where a model lies that is asked for, as far as that is known without asking other machines."""

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitfox.models.identity import Files, files_if_any
from kitfox.models.reference import ModelReference
from kitfox.models.store import ModelStore

__all__ = ["MOST_HINTS", "Place", "Places"]

MOST_HINTS = 50
"""How many ids are named that could be asked for instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What is known of where a model lies."""

    path: Path | None = None
    """Where, if it is here."""
    files: Files | None = None
    """What is there."""
    may_be_remote: bool = False
    """Whether it may be in a remote store."""
    hints: Sequence[str] = ()
    """Ids that could be asked for, if there is none."""


class Places:
    """Looks for models. All of this reads the disk.

    Args:
        store: Where.
        lazy: Whether a request may load a model of the models folder.
    """

    def __init__(self, store: ModelStore, *, lazy: bool) -> None:
        self._store = store
        self._lazy = lazy

    def find(self, model_id: str) -> Place:
        """Where a model lies that a request may load."""
        is_plain = not ModelReference.parse(model_id).version
        if not self._lazy and is_plain and (self._store.root / model_id).exists():
            return Place()
        return self.look(model_id)

    def look(self, model_id: str) -> Place:
        """Where a model lies, and what is there."""
        path = self._store.find_here(model_id)
        if path is not None:
            return Place(path=path, files=files_if_any(path))
        if self._store.may_be_remote(model_id):
            return Place(may_be_remote=True)
        return Place(hints=self.hints() if self._lazy else ())

    def hints(self) -> list[str]:
        """A few of the names in the store; there may be very many."""
        with contextlib.suppress(OSError), os.scandir(self._store.root) as entries:
            some = [item.name for item in itertools.islice(entries, MOST_HINTS)]
            return [name for name in some if not name.startswith(".")]
        return []
