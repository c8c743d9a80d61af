"""Configurations as dicts whose keys are read as attributes, for authors who used `aconfig`.

config = Config.from_yaml("tuning.yml")         # TUNING_RATE=0.5 overrides tuning.rate
config.tuning.rate, config.absent               # (0.5, None)
"""

import os
from collections.abc import Mapping
from typing import Any, Self

from kitfox.modules.config import AttributeDict
from kitfox.toolkit.settings import SettingsDict, override_from_environment, read_file

__all__ = ["Config", "ImmutableConfig"]


class Config(AttributeDict):
    """A configuration that can be changed.

    Args:
        config: Keys and values; they are copied.
        override_env_vars: Whether variables named like a value's path take its place.
    """

    def __init__(self, config: Mapping[str, Any], override_env_vars: bool = True) -> None:
        super().__init__(_values(config, override_env_vars))

    @classmethod
    def from_yaml(cls, config_path: str, override_env_vars: bool = True) -> Self:
        """The keys and values of a YAML file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds something else.
        """
        return cls(read_file(config_path), override_env_vars)


class ImmutableConfig(SettingsDict):
    """A configuration that stays as it is.

    Args:
        config: Keys and values; they are copied.
        override_env_vars: Whether variables named like a value's path take its place.
    """

    def __init__(self, config: Mapping[str, Any], override_env_vars: bool = True) -> None:
        super().__init__(_values(config, override_env_vars))

    @classmethod
    def from_yaml(cls, config_path: str, override_env_vars: bool = True) -> Self:
        """The keys and values of a YAML file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds something else.
        """
        return cls(read_file(config_path), override_env_vars)


def _values(config: Mapping[str, Any], override: bool) -> dict[str, Any]:
    # With no variables to look at, what comes back is still a copy.
    return override_from_environment(config, os.environ if override else {})
