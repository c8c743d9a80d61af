"""The folder of models on disk: what is there, and what is wrong with it.

Every entry of `runtime.local_models_dir` is a model named after the entry. Looking at the store
loads nothing: it reads the entries' `config.yml` only. Model ids come from clients, so each is
checked to be a plain name before any file call.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import InvalidArgument, KitfoxError
from kitfox.modules import ModuleBase, model_class

__all__ = ["ModelEntry", "ModelStore", "check_model_id"]

_LONGEST_ID = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """One model as it lies on disk."""

    name: str
    """The model's id."""
    path: Path
    """The folder, or the archive, that holds it."""
    module: type[ModuleBase] | None
    """The class that loads it, when it could be found."""
    problem: str = ""
    """Why it cannot be loaded; empty when nothing is known to be wrong."""


def check_model_id(model_id: str) -> str:
    """Returns the id if it is a plain name.

    Raises:
        InvalidArgument: The id is empty, too long, or could name something outside the store.
    """
    if not model_id:
        raise InvalidArgument("Missing required model ID")
    if len(model_id.encode()) > _LONGEST_ID:
        raise InvalidArgument(
            f"model id of {len(model_id.encode())} bytes: expected at most {_LONGEST_ID}"
        )
    if model_id in (".", "..") or any(char in "/\\\0" for char in model_id):
        raise InvalidArgument(
            f"model id {model_id!r}: expected a plain name without '/', '\\', '..' or NUL"
        )
    return model_id


class ModelStore:
    """Finds models by id.

    Args:
        root: The folder of models; it need not exist.
        find_elsewhere: Asked for ids that the folder does not have, such as training ids.
    """

    def __init__(
        self, root: Path, *, find_elsewhere: Callable[[str], Path | None] | None = None
    ) -> None:
        self.root = root
        self._find_elsewhere = find_elsewhere

    def names(self) -> list[str]:
        """The ids of all entries, sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(item.name for item in entries if _may_be_model(item.name))
        except OSError:
            return []

    def find(self, model_id: str) -> Path | None:
        """The path of a model, or None.

        Raises:
            InvalidArgument: `model_id` is not a plain name.
        """
        check_model_id(model_id)
        path = self.root / model_id
        if _may_be_model(model_id) and path.exists():
            return path
        return self._find_elsewhere(model_id) if self._find_elsewhere else None

    def entries(self) -> Iterator[ModelEntry]:
        """Every model of the folder, the broken ones with the reason."""
        for name in self.names():
            yield inspect_model(name, self.root / name)


def _may_be_model(name: str) -> bool:
    """Whether an entry is a model: trainings may be kept, and being written, in the same folder."""
    return not name.startswith((".", "jobs.sqlite3"))


def inspect_model(name: str, path: Path) -> ModelEntry:
    """What can be said of a model without loading it."""
    if path.is_file():
        return ModelEntry(name=name, path=path, module=None)
    try:
        return ModelEntry(name=name, path=path, module=model_class(path))
    except (OSError, KitfoxError) as err:
        return ModelEntry(name=name, path=path, module=None, problem=str(err))
