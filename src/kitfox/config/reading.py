"""Reads the configuration: files and variables in, a `Config` out; nothing unknown accepted."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from kitfox.config.sections import Config, ConfigError, ModelExecution, Section, parse_bytes

S = TypeVar("S")

# Keys that hold a path, and so are made absolute from the folder of the file that names them.
_PATHS = (
    ("runtime", "local_models_dir"),
    ("runtime", "training", "output_dir"),
    ("runtime", "python_path"),
    ("runtime", "tls", "server", "key"),
    ("runtime", "tls", "server", "cert"),
    ("runtime", "tls", "client", "cert"),
    ("models", "cache_dir"),
    ("jobs", "result_dir"),
    ("data_streams", "file_source_base"),
)


def load(
    *files: Path | str,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Reads the configuration.

    Args:
        files: YAML files; a later one overrides an earlier one key by key. Files named in the
            variable `CONFIG_FILES` (comma separated) come after these.
        environ: Variables; `runtime.grpc.port` is overridden by `RUNTIME_GRPC_PORT`, and so on
            for every key that holds a single value.
        overrides: Values from the caller, as a nested mapping; they win over everything.

    Raises:
        ConfigError: A file is missing, is no YAML, or names a key or value that does not exist.

    Example:
        >>> load(environ={"RUNTIME_GRPC_PORT": "9000"}).runtime.grpc.port
        9000
    """
    environ = os.environ if environ is None else environ
    named = [name.strip() for name in environ.get("CONFIG_FILES", "").split(",") if name.strip()]
    merged: dict[str, Any] = {}
    for file in [*files, *named]:
        _merge(merged, _read(Path(file)))
    _override(merged, environ)
    if overrides:
        _check_names(overrides, Config, "the caller's overrides", ())
        _merge(merged, overrides)
    return parse(merged, source="the configuration")


def parse(values: Mapping[str, Any], *, source: str) -> Config:
    """Turns a nested mapping into a `Config`.

    Args:
        values: What a file would hold.
        source: Named in errors.

    Raises:
        ConfigError: An unknown key, or a value of the wrong type or range.
    """
    _check_names(values, Config, source, ())
    config = _convert(values, Config, source)
    training = config.training
    parse_bytes(config.models.memory_budget, f"{source}: models.memory_budget")
    parse_bytes(training.digest_bytes, f"{source}: training.digest_bytes")
    if training.retention.bytes is not None:
        parse_bytes(training.retention.bytes, f"{source}: training.retention.bytes")
    for model, keys in config.models.settings.items():
        layer_execution(keys, source=f"{source}: models.settings.{model}")
    return config


def layer_execution(*layers: Mapping[str, Any], source: str) -> ModelExecution:
    """What several groups of keys of `models.execution` come to, later ones winning key by key.

    Args:
        layers: What a file would hold.
        source: Named in errors.

    Raises:
        ConfigError: An unknown key, or a value of the wrong type or range.

    Example:
        >>> layer_execution({"threads": 2, "retry": True}, {"threads": 4}, source="test").threads
        4
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        _check_names(layer, ModelExecution, source, ())
        merged.update(layer)
    return _convert(merged, ModelExecution, source)


def _convert(values: Mapping[str, Any], kind: type[S], source: str) -> S:
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as err:
        text, _, path = str(err).partition(" - at `$.")
        raise ConfigError(f"{source}: {path.rstrip('`') or 'top level'}: {text}") from err


def describe(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key, dotted, with its value."""
    yield from _describe(config, "")


def _describe(section: Section, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _describe(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as err:
        raise ConfigError(f"cannot read configuration file {file}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"configuration file {file} is not UTF-8 text") from err
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(err, "problem", None) or "not readable"
        raise ConfigError(f"{file}{where}: not valid YAML: {problem}") from err
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected keys and values, got {type(values).__name__}")
    _check_names(values, Config, str(file), ())
    _apply_paths(values, file.absolute().parent)
    # Checked alone as well, so that a wrong value is reported with the file that holds it.
    parse(values, source=str(file))
    return values


def _apply_paths(values: dict[str, Any], base: Path) -> None:
    """Makes the path values absolute."""
    for *sections, key in _PATHS:
        section: Any = values
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict) or section.get(key) is None:
            continue
        value = section[key]
        if "tls" in sections and (not value or "-----BEGIN" in value):
            # None, or the text of the file itself.
            continue
        if isinstance(value, str):
            section[key] = os.path.normpath(base / value)
        elif isinstance(value, list):
            section[key] = [os.path.normpath(base / str(item)) for item in value]


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, Mapping):
            into[key] = dict(value)
        else:
            into[key] = value


def _override(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for path, kind in _leaves(Config, ()):
        text = environ.get("_".join(path).upper())
        if text is None:
            continue
        value: Any = None if text in ("", "null") and type(None) in get_args(kind) else text
        try:
            msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as err:
            name = "_".join(path).upper()
            raise ConfigError(f"variable {name} ({'.'.join(path)}): {err}") from err
        section = values
        for name in path[:-1]:
            section = section.setdefault(name, {})
        section[path[-1]] = value


def _leaves(
    section: type[Section], prefix: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, kind in get_type_hints(section, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _leaves(kind, (*prefix, name))
        elif get_origin(kind) not in (list, dict):
            yield (*prefix, name), kind


def _check_names(
    values: Mapping[str, Any], section: type[Section], source: str, prefix: Sequence[str]
) -> None:
    known = get_type_hints(section)
    for key, value in values.items():
        path = ".".join([*prefix, str(key)])
        if key not in known:
            close = _close(str(key), known, 0.5)
            nearest = close[0] if close else _elsewhere(str(key))
            dotted = nearest if "." in nearest else ".".join([*prefix, nearest])
            hint = f"did you mean {dotted!r}?" if nearest else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{source}: unknown key {path!r}; {hint}")
        kind = known[key]
        if isinstance(kind, type) and issubclass(kind, Section):
            if value is None:
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{source}: {path}: expected a section with the keys "
                    f"{', '.join(kind.__struct_fields__)}, got {type(value).__name__}"
                )
            _check_names(value, kind, source, [*prefix, str(key)])


def _elsewhere(key: str) -> str:
    """The dotted name of the first key of any section that has this name, or nearly."""
    names: dict[str, str] = {}
    for path, _ in _leaves(Config, ()):
        names.setdefault(path[-1], ".".join(path))
    close = _close(key, names, 0.7)
    return names[close[0]] if close else ""


def _close(key: str, known: Iterable[str], cutoff: float) -> list[str]:
    import difflib  # only here: each process of a server reads the configuration, most without this

    return difflib.get_close_matches(key, list(known), n=1, cutoff=cutoff)
