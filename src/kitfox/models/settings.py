"""What is configured for the execution of one model, put together from where it may be said."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kitfox.config import Batching, ConfigError, ModelExecution, Models, layer_execution
from kitfox.errors import KitfoxError
from kitfox.modules import ModelConfigError, model_config

__all__ = ["ExecutionSettings", "read_model_config"]

# caikit's names for "all models", the more specific one last: what lies on disk has this type.
_MODEL_TYPES = ("default", "standalone-model")


class ExecutionSettings:
    """Tells how a model is to be run.

    From the least to the most specific: `runtime.batching`, `models.execution`, the section
    `execution` of the model's `config.yml`, `models.settings` by module id and by model id. A key
    that is said more than once counts where it is said most specifically.

    Args:
        models: The section `models` of the configuration.
        batching: `runtime.batching`.
    """

    def __init__(
        self, models: Models | None = None, batching: Mapping[str, Batching] | None = None
    ) -> None:
        models = models or Models()
        self._settings = models.settings
        self._general = {**_from_batching(batching or {}), **_said(models.execution)}

    def of(self, name: str, path: Path) -> ModelExecution:
        """The settings of one model. Reads its `config.yml`, so not on the event loop.

        Args:
            name: The model's id. Of `name@version`, what is said of `name` counts as well.
            path: Its folder or archive; it need not be one that can be loaded.

        Raises:
            ModelConfigError: The model's own section has an unknown key or a wrong value.
        """
        values = read_model_config(path)
        module_id = str(values.get("module_id", ""))
        own = _own(values, path, f"model {name}, config.yml: execution")
        layers = [self._settings.get(key, {}) for key in _specific(name, module_id)]
        return layer_execution(self._general, own, *layers, source=f"model {name}: execution")


def _own(values: Mapping[str, Any], path: Path, source: str) -> Mapping[str, Any]:
    own = values.get("execution") or {}
    if not isinstance(own, Mapping):
        message = f"{source}: expected keys and values, got {type(own).__name__}"
        raise ModelConfigError(path, message)
    try:
        layer_execution(own, source=source)
    except ConfigError as err:
        raise ModelConfigError(path, err.message) from err
    return own


def _specific(name: str, module_id: str) -> Iterator[str]:
    yield module_id
    current, at, _ = name.partition("@")
    yield current
    if at:
        yield name


def _said(execution: ModelExecution) -> dict[str, Any]:
    """The keys that differ from their defaults: the others leave room for `runtime.batching`."""
    defaults = msgspec.to_builtins(ModelExecution())
    values = msgspec.to_builtins(execution)
    return {key: value for key, value in values.items() if value != defaults[key]}


def _from_batching(batching: Mapping[str, Batching]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _MODEL_TYPES:
        if (said := batching.get(name)) is not None and said.size:
            found = {
                "max_batch_size": said.size,
                "max_batch_delay_seconds": said.collect_delay_s,
            }
    return found


def read_model_config(path: Path) -> Mapping[str, Any]:
    """What a model's `config.yml` says; nothing when it cannot be read: loading tells of that."""
    try:
        return model_config(path)
    except (OSError, KeyError, KitfoxError):
        return {}
