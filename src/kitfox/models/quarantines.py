"""The requests that models refuse because these ended their processes, beyond the end of a load."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitfox.models.replicas.quarantine import Quarantine

__all__ = ["Quarantines"]

_MOST = 1000


class Quarantines:
    """Keeps what each model refuses while it is unloaded, evicted, or loaded anew.

    What other files do with a request is not known, so another version begins with nothing.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Hashable], Quarantine] = OrderedDict()

    def of(self, model_id: str, files: Hashable) -> "Quarantine":
        """That of a model which is about to be loaded.

        Args:
            model_id: The model.
            files: Equal if what is loaded is the same as before.
        """
        # Only now: a server without models in processes of their own does without all of that.
        from kitfox.models.replicas.quarantine import Quarantine

        key = (model_id, files)
        found = self._kept.setdefault(key, Quarantine())
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return found

    def find(self, model_id: str) -> "Quarantine | None":
        """That of the model which was loaded last under an id."""
        for name, files in reversed(self._kept):
            if name == model_id:
                return self._kept[name, files]
        return None
