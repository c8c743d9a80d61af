"""Loading models by the paths that the process's settings add: `load_path` and the finder's.

kitfox.toolkit.settings.configure(config_dict={"load_path": "/models"})
model_lookup.load("hello")                      # ./hello, else /models/hello
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kitfox.errors import InvalidArgument
from kitfox.modules import ModelSource, ModuleBase, extract, load_model
from kitfox.modules import resolve_and_load as resolve
from kitfox.toolkit.local_training import get_model_future, train
from kitfox.toolkit.settings import get_config

__all__ = ["ModelManager", "load", "resolve_and_load"]


def load(
    module_path: ModelSource,
    load_singleton: bool = False,
    finder: str = "default",
    initializer: str = "default",
    **kwargs: Any,
) -> ModuleBase:
    """Loads a model.

    Args:
        module_path: A model folder, a zip file of one, or the content of such a file. A path that
            does not exist is looked for below `load_path` of the settings, and below
            `model_management.finders.default.config.load_path`.
        load_singleton: Whether a model that was so loaded from the same path is given again.
        finder: `default`; there is no other.
        initializer: `default`; there is no other.
        **kwargs: Passed on to the module's `load`.

    Raises:
        FileNotFoundError: There is no model at that path.
        ValueError: The model cannot be loaded, or another finder or initializer is asked for.
    """
    for kind, name in (("finder", finder), ("initializer", initializer)):
        if name != "default":
            raise InvalidArgument(f"{kind} {name!r} is not known; there is only 'default'")
    return load_model(_found(module_path), load_singleton=load_singleton, **kwargs)


def resolve_and_load(path_or_model: ModelSource | ModuleBase) -> ModuleBase:
    """Gives a model back unchanged, and loads anything else, as `load` does.

    Raises:
        ValueError: It cannot be loaded; the cause says why.
    """
    if isinstance(path_or_model, ModuleBase):
        return path_or_model
    return resolve(_found(path_or_model))


class ModelManager:
    """The functions of this module, those that train, and `extract`, as methods."""

    load = staticmethod(load)
    extract = staticmethod(extract)
    resolve_and_load = staticmethod(resolve_and_load)
    train = staticmethod(train)
    get_model_future = staticmethod(get_model_future)


MODEL_MANAGER = ModelManager()
"""It holds nothing; authors call its methods."""


def _found(source: ModelSource) -> ModelSource:
    if not isinstance(source, str | os.PathLike) or Path(source).exists():
        return source
    candidates = (str(Path(folder) / source) for folder in _load_paths())
    return next((path for path in candidates if Path(path).exists()), source)


def _load_paths() -> Iterator[str]:
    config: Any = get_config()
    if config.load_path:
        yield str(config.load_path)
    section = config.model_management
    for name in ("finders", "default", "config", "load_path"):
        section = section.get(name) if isinstance(section, dict) else None
    if section:
        yield str(section)
