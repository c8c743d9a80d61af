"""Ids that stand for a model which is loaded under another one: `name@version` of the current one.

It is loaded once, and answers to both for as long as it is that version.
"""

from collections.abc import Mapping

from kitfox.models.identity import Files
from kitfox.models.loaded import LoadedModel

__all__ = ["SameModels"]

_MOST = 10_000


class SameModels:
    """Remembers such ids.

    Args:
        loaded: The loaded models by the id that they were loaded under.
    """

    def __init__(self, loaded: Mapping[str, LoadedModel]) -> None:
        self._loaded = loaded
        self._known: dict[str, tuple[str, Files | None]] = {}

    def note(self, model_id: str, model: LoadedModel) -> None:
        """Has an id stand for a loaded model, until another version is in its place."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[model_id] = (model.name, model.files)

    def find(self, model_id: str) -> LoadedModel | None:
        """The model that an id stands for."""
        known = self._known.get(model_id)
        if known is None:
            return None
        name, files = known
        model = self._loaded.get(name)
        if model is None or model.files is not files:  # it was loaded anew
            self._known.pop(model_id, None)  # two threads may find that out
            return None
        return model

    def forget(self, model_id: str) -> bool:
        """Has an id stand for nothing; whether it stood for a model."""
        found = self.find(model_id) is not None
        self._known.pop(model_id, None)
        return found
