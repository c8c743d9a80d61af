"""The `config.yml` of a model folder: which module saved it, and what the module wrote down."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kitfox.errors import InvalidArgument

__all__ = ["CONFIG_FILE", "AttributeDict", "ModelConfigError", "ModuleConfig"]

CONFIG_FILE = "config.yml"
"""The file that makes a folder a model."""

OLDER_ID_KEYS = ("block_id", "workflow_id", "resource_id")
"""What `module_id` was called in models saved by older versions."""


class ModelConfigError(InvalidArgument):
    """A `config.yml` that cannot be used.

    Args:
        path: The file.
        message: What is wrong with it, with line and column where they are known.
    """

    def __init__(self, path: str | os.PathLike[str], message: str) -> None:
        self.path = os.fspath(path)
        super().__init__(message)


class AttributeDict(dict[str, Any]):
    """A dict whose keys can be read as attributes; keys that are absent read as None.

    Example:
        >>> settings = AttributeDict({"tokenizer": {"lower": True}})
        >>> settings.tokenizer.lower, settings.absent
        (True, None)
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy, pickle and friends ask whether such methods exist
            raise AttributeError(name)
        value = self.get(name)
        # Wrapped level by level, when asked for: a YAML file may share or nest without end.
        if type(value) is dict:
            value = self[name] = AttributeDict(value)
        elif type(value) is list:
            value[:] = [AttributeDict(item) if type(item) is dict else item for item in value]
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]


class ModuleConfig(AttributeDict):
    """The contents of a model's `config.yml`, keys as attributes.

    Example:
        >>> config = ModuleConfig.load("models/hello")
        >>> config.name, config.absent
        ('HelloWorldModule', None)

    Args:
        values: The contents; `model_path` is not among them, as it is set by `load`.

    Raises:
        KeyError: `model_path` is among the values.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(values or {})
        if "model_path" in self:
            raise KeyError("`model_path` is set when a model is loaded and must not be configured")
        if self.get("module_id") is None:
            older = (self[key] for key in OLDER_ID_KEYS if self.get(key) is not None)
            if (module_id := next(older, None)) is not None:
                self["module_id"] = module_id

    @classmethod
    def load(cls, model_path: str | os.PathLike[str]) -> "ModuleConfig":
        """Reads the `config.yml` of a model folder; `model_path` is added to what it holds.

        Raises:
            FileNotFoundError: There is no such folder, or no `config.yml` in it.
            ModelConfigError: The file is not YAML, or no mapping of keys to values.
        """
        folder = os.fspath(model_path)
        file = Path(folder) / CONFIG_FILE
        try:
            text = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(
                f"Module load path `{folder}` does not contain a `{CONFIG_FILE}` file."
            ) from None
        config = cls.parse(text, file)
        config["model_path"] = folder
        return config

    @classmethod
    def parse(cls, text: bytes, file: Path) -> "ModuleConfig":
        """What the content of a `config.yml` says.

        Args:
            text: The content.
            file: Where it is from, for messages.

        Raises:
            ModelConfigError: It is not YAML, or no mapping of keys to values.
        """
        return cls(_parse(text, file))

    @property
    def older_id_key(self) -> str | None:
        """The deprecated key that `module_id` was taken from, if it was."""
        if self.get("module_id") is None:
            return None
        return next((key for key in OLDER_ID_KEYS if self.get(key) == self["module_id"]), None)


def _parse(text: bytes, file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" ({error.context})" if error.context else ""
        raise ModelConfigError(file, f"{file}{place}: {error.problem}{context}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-45 looks like a date
        raise ModelConfigError(file, f"{file}: {error}") from error
    if not isinstance(found, dict):
        kind = "nothing" if found is None else type(found).__name__
        raise ModelConfigError(file, f"{file}: expected keys and values, found {kind}")
    for key in found:
        if not isinstance(key, str):
            raise ModelConfigError(file, f"{file}: keys are text, not {key!r}")
    return found
