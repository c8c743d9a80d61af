"""The settings that a process accumulates: defaults, then what libraries and scripts configure.

Each `configure` is merged over what is there, in the order of the calls; libraries call it when
they are imported, scripts before they start a server. `get_config` gives the present state to
whoever asks. The server itself is configured by `kitfox.config`, which is strict; what it knows of
the accumulated settings is handed to it by `server_overrides`.

    kitfox.toolkit.settings.configure("config.yml")
    kitfox.toolkit.settings.get_config().runtime.library
"""

import logging
import os
import sysconfig
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml

from kitfox import config as server_config

__all__ = [
    "SHARED",
    "Settings",
    "SettingsDict",
    "added_search_path",
    "configure",
    "get_config",
    "override_from_environment",
    "process_settings",
    "read_file",
    "server_overrides",
]

SHARED = "KITFOX_SETTINGS"
"""The variable that carries the settings of a process to the processes that it starts."""

_log = logging.getLogger("kitfox.SETTINGS")


class SettingsDict(dict[str, Any]):
    """A dict that cannot be changed; keys can be read as attributes, absent ones read as None."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__({key: _frozen(value) for key, value in (values or {}).items()})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy, pickle and friends ask whether such methods exist
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"settings are not assigned to: {name!r}; call configure")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"settings are not deleted: {name!r}")

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are not changed in place; call configure")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["SettingsDict"], tuple[dict[str, Any]]]:
        return type(self), (_plain(self),)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value if isinstance(value, SettingsDict) else SettingsDict(value)
    return [_frozen(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """A copy in ordinary dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Settings:
    """Settings that grow with each `configure`.

    Args:
        defaults: What is there to begin with.
        environ: Variables that override single values; the process's own unless given.
    """

    def __init__(
        self, defaults: Mapping[str, Any], *, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._given: dict[str, Any] = override_from_environment(_plain(defaults), self._environ)
        self._applied: list[str] = []
        self._inherited: frozenset[str] = frozenset()
        self._current = self._with_config_files(self._given)

    @classmethod
    def shared(cls, text: str, *, environ: Mapping[str, str] | None = None) -> "Settings":
        """The settings that another process gave to `share`.

        What was configured there already is passed over when it is configured here again, as by
        a library that both processes import.
        """
        found = msgspec.json.decode(text)
        settings = cls(found["values"], environ=environ)
        settings._inherited = frozenset(found["applied"])
        return settings

    def share(self, environ: MutableMapping[str, str]) -> None:
        """Puts the settings into the environment of processes to be started."""
        values = {**_plain(self._current), "config_files": ""}  # they are merged in already
        shared = {"values": values, "applied": self._applied}
        environ[SHARED] = msgspec.json.encode(shared, enc_hook=str).decode()

    @property
    def current(self) -> SettingsDict:
        """All settings as they are now."""
        return self._current

    def configure(
        self,
        config_yml_path: str | os.PathLike[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        """Merges a file, a dict, or a file and then a dict over the settings.

        Dicts are merged key by key, lists go before the lists that were there, anything else
        takes the place of what was there. With `merge_strategy: override` in it, a file replaces
        whole top-level keys. Single values are overridden by variables: `runtime.grpc.port` by
        `RUNTIME_GRPC_PORT`. Files named in `config_files` (or the variable `CONFIG_FILES`, comma
        separated) are merged last.

        Raises:
            ValueError: Neither is given, or the file holds no keys and values.
            FileNotFoundError: There is no such file.
        """
        if not config_yml_path and config_dict is None:
            raise ValueError("configure needs config_yml_path or config_dict; got neither")
        given = self._given
        for source in (read_file(config_yml_path) if config_yml_path else None, config_dict):
            if source is not None:
                given = self._applied_to(given, _plain(source))
        self._current = self._with_config_files(given)
        self._given = given

    def _applied_to(self, given: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        fingerprint = repr(values)
        if fingerprint in self._inherited:
            return given
        self._applied.append(fingerprint)
        return _combined(given, override_from_environment(values, self._environ))

    def _with_config_files(self, given: Mapping[str, Any]) -> SettingsDict:
        """The settings with those of the files that come last; reading them again adds nothing."""
        named = self._environ.get("CONFIG_FILES") or given.get("config_files") or ""
        files = named.split(",") if isinstance(named, str) else [str(item) for item in named]
        for name in (file.strip() for file in files):
            if name:
                values = override_from_environment(read_file(name), self._environ)
                given = _combined(given, values)
        return SettingsDict(given)


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {error}") from error
    if not isinstance(values, dict | None):
        raise ValueError(f"{file}: expected keys and values, found {type(values).__name__}")
    plain: dict[str, Any] = _plain(values or {})
    return plain


def override_from_environment(
    values: Mapping[str, Any], environ: Mapping[str, str], prefix: str = ""
) -> dict[str, Any]:
    """The values, where a variable named like the path of a single one takes its place.

    `runtime.grpc.port` is `RUNTIME_GRPC_PORT`, and dashes become underscores too. Sections and
    lists stay as they are, whatever variables are named like them (`LOG` may well be set).
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".upper().replace("-", "_").replace(".", "_")
        if isinstance(value, Mapping):
            found[key] = override_from_environment(value, environ, f"{name}_")
        elif isinstance(value, list) or name not in environ:
            found[key] = value
        else:
            found[key] = _value_of(environ[name])
    return found


def _value_of(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _combined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    if new.get("merge_strategy", "merge") == "override":
        return {**old, **new, "merge_strategy": old.get("merge_strategy", "merge")}
    return _merged(old, new)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            result[key] = [*value, *before]
        else:
            result[key] = value
    return result


class _Process:
    """Holds the settings of this process, made when they are first asked for."""

    settings: Settings | None = None


def process_settings() -> Settings:
    """The settings of this process: those of the process that started it, else the defaults."""
    if _Process.settings is None:
        inherited = os.environ.get(SHARED)
        _Process.settings = Settings.shared(inherited) if inherited else Settings(_defaults())
    return _Process.settings


def configure(
    config_yml_path: str | os.PathLike[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
) -> None:
    """Merges a YAML file, a dict, or both over the settings of this process.

    Args:
        config_yml_path: The file.
        config_dict: Merged after the file.

    Raises:
        ValueError: Neither is given, or the file holds no keys and values.
        FileNotFoundError: There is no such file.
    """
    process_settings().configure(config_yml_path, config_dict)


def get_config() -> SettingsDict:
    """The settings of this process as they are now; later calls of `configure` do not change it."""
    return process_settings().current


def _defaults() -> dict[str, Any]:
    """What Kitfox's server is configured with when nothing is said, and what only authors read."""
    values: dict[str, Any] = msgspec.to_builtins(server_config.Config())
    authors = {
        "config_files": "",
        "merge_strategy": "merge",
        "enable_error_checks": True,
        "runtime": {
            "load_threads": None,
            "tls": {"server": {"key": "", "cert": ""}, "client": {"cert": ""}},
            "version_info": {"python_packages": {"all": False}, "runtime_image": ""},
        },
        "model_management": {"finders": {"default": {"config": {"load_path": None}}}},
    }
    return _merged(authors, values)


# caikit's level names that the server's configuration does not have.
_LEVELS = {"fatal": "error", "warn": "warning", "trace": "debug"}


def server_overrides(
    settings: Mapping[str, Any], *, search_path: list[str] | None = None
) -> dict[str, Any]:
    """What of the settings the server's own configuration knows, as a nested dict.

    Keys that it does not know are dropped, each with a line in the log at level debug.

    Args:
        settings: As `get_config` gives them.
        search_path: Where the server finds the library, beside what `runtime.python_path` says.
    """
    defaults: dict[str, Any] = msgspec.to_builtins(server_config.Config())
    found = _known(settings, defaults, ())
    level = str(found.get("log", {}).get("level", "info")).lower()
    found.setdefault("log", {})["level"] = (
        "debug" if level.startswith("debug") else _LEVELS.get(level, level)
    )
    runtime = found.setdefault("runtime", {})
    runtime["python_path"] = [*(runtime.get("python_path") or []), *(search_path or [])]
    return found


def _known(
    settings: Mapping[str, Any], defaults: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        here = (*path, key)
        default = defaults.get(key)
        # An empty default is no section: its keys are ids and the like.
        if isinstance(default, Mapping) and default and isinstance(value, Mapping):
            found[key] = _known(value, default, here)
        elif (
            key in defaults
            and (not default or not isinstance(default, Mapping))
            and _is_said(here, value)
        ):
            found[key] = _plain(value)
        else:
            _log.debug("The server has no use for the setting %s", ".".join(here))
    return found


def _is_said(path: tuple[str, ...], value: Any) -> bool:
    """Whether a value is one; none, and empty text for a number, leave most keys as they are."""
    if value is not None and value != "":
        return True
    nested = value
    for key in reversed(path):
        nested = {key: nested}
    try:
        server_config.parse(nested, source="settings")
    except server_config.ConfigError:
        return False
    return True


def added_search_path(search_path: list[str]) -> list[str]:
    """The folders of `sys.path` that are there by this process only, absolute."""
    paths = sysconfig.get_paths()
    usual = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    usual.add(str(Path(paths["stdlib"]) / "lib-dynload"))
    folders = dict.fromkeys(str(Path(item).absolute()) for item in search_path)
    return [item for item in folders if item not in usual and Path(item).is_dir()]
