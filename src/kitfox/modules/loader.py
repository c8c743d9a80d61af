"""From a model folder to a model: find the class that its `config.yml` names, let it load.

`load_model` is the way in for everybody; `ModuleLoader` is what an author's `load` reads with.
"""

import inspect
import logging
import os
import threading
import typing
import weakref
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from kitfox.modules.archive import ArchivedModel, extract, find_model_folder
from kitfox.modules.config import CONFIG_FILE, ModelConfigError, ModuleConfig
from kitfox.modules.registry import ModuleRegistry, UnknownModule, default_registry
from kitfox.modules.signature import parameters_of
from kitfox.modules.unpacked import UnpackedFolder

if TYPE_CHECKING:
    from kitfox.modules.module_class import ModuleBase

__all__ = [
    "ModelSource",
    "ModuleLoader",
    "load_model",
    "model_class",
    "model_config",
    "resolve_and_load",
]

ModelSource: TypeAlias = str | os.PathLike[str] | bytes | BytesIO
"""A model folder, a zip file of one, or the content of such a zip file."""

_LONGEST_CONFIG = 1 << 20
"""Bytes: no `config.yml` in an archive is longer; a few bytes may unpack to very many."""

log = logging.getLogger("kitfox.MODULES")


class ModuleLoader:
    """Reads a model folder; made by a module's `load`.

    Example:
        >>> @classmethod
        ... def load(cls, model_path: str) -> "Greeter":
        ...     loader = ModuleLoader(model_path)
        ...     tokenizer = loader.load_module("tokenizer")
        ...     return cls(loader.config.greeting, tokenizer)

    Args:
        model_path: The folder, or its configuration when that has been read already.

    Raises:
        FileNotFoundError: There is no `config.yml` in the folder.
    """

    def __init__(self, model_path: str | os.PathLike[str] | ModuleConfig) -> None:
        if isinstance(model_path, ModuleConfig):
            self.config = model_path
            self.model_path = str(model_path.get("model_path") or "")
        else:
            self.config = ModuleConfig.load(model_path)
            self.model_path = os.fspath(model_path)

    def load_arg(self, key: str) -> Any:
        """The value of one key of `config.yml`; None when it is absent."""
        return self.config.get(key)

    def load_args(self, *keys: str) -> tuple[Any, ...]:
        """The values of several keys, in their order."""
        return tuple(self.load_arg(key) for key in keys)

    def load_module(self, key: str, load_singleton: bool = False) -> "ModuleBase":
        """Loads a contained module that was saved with `ModuleSaver.save_module`.

        Raises:
            KeyError: `module_paths` in `config.yml` has no such key.
        """
        path = self._module_paths(key)
        if not isinstance(path, str):
            raise KeyError(f"`module_paths.{key}` in {self._file} is a list; use load_module_list")
        return load_model(self._inside(path, key), load_singleton=load_singleton)

    def load_module_list(self, key: str) -> "list[ModuleBase]":
        """Loads the contained modules that were saved with `ModuleSaver.save_module_list`.

        Raises:
            KeyError: `module_paths` in `config.yml` has no such key.
        """
        paths = self._module_paths(key)
        if isinstance(paths, str):
            raise KeyError(f"`module_paths.{key}` in {self._file} is no list; use load_module")
        return [load_model(self._inside(path, key)) for path in paths]

    @property
    def _file(self) -> str:
        return f"`{Path(self.model_path) / CONFIG_FILE}`"

    def _module_paths(self, key: str) -> Any:
        paths = self.config.get("module_paths")
        if not isinstance(paths, dict):
            raise KeyError(f"{self._file} has no `module_paths`, so no module {key!r} to load")
        if key not in paths:
            known = ", ".join(map(repr, sorted(paths))) or "nothing"
            raise KeyError(f"`module_paths` in {self._file} has no {key!r}, only {known}")
        return paths[key]

    def _inside(self, path: object, key: str) -> str:
        parts = Path(str(path))
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelConfigError(
                Path(self.model_path) / CONFIG_FILE,
                f"`module_paths.{key}` in {self._file} leaves the model's folder: {path}",
            )
        return str(Path(self.model_path) / parts)


class _Singletons:
    """Models that are loaded once per path and process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a singleton may contain singletons
        self._models: dict[str, ModuleBase] = {}

    def load(self, path: str, registry: ModuleRegistry, arguments: dict[str, Any]) -> "ModuleBase":
        key = os.path.realpath(path)
        with self._lock:
            if key not in self._models:
                self._models[key] = _load_path(path, registry, arguments)
            return self._models[key]


# Sharing within the process is what `load_singleton` asks for.
_SINGLETONS = _Singletons()


def load_model(
    source: ModelSource,
    *,
    load_singleton: bool = False,
    registry: ModuleRegistry | None = None,
    **kwargs: Any,
) -> "ModuleBase":
    """Loads a model with the module class that its `config.yml` names.

    A zip file has `config.yml` at its root or in its only folder. It is unpacked into a temporary
    folder that is removed when the model is no longer in use.

    Example:
        >>> load_model("models/hello").run("World")

    Args:
        source: The folder, the path of a zip file, or the bytes of one.
        load_singleton: Whether a model that was so loaded from the same path is given again.
        registry: Where the class is looked up, if not among all imported ones.
        **kwargs: Passed on to the class's `load`.

    Raises:
        FileNotFoundError: There is no model at that path.
        ModelConfigError: Its `config.yml` cannot be used.
        UnknownModule: No imported class has its module id.
        UnsafeArchive: The zip file would write outside of its folder.
    """
    registry = registry or default_registry()
    if isinstance(source, bytes | BytesIO):
        return _load_archive(source, registry, kwargs)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"A model is loaded from a path or from bytes, not {type(source).__name__}")
    path = os.fspath(source)
    if load_singleton:
        return _SINGLETONS.load(path, registry, kwargs)
    return _load_path(path, registry, kwargs)


def resolve_and_load(model: "ModelSource | ModuleBase") -> "ModuleBase":
    """Gives a model back unchanged, and loads anything else.

    Raises:
        ValueError: It cannot be loaded; the cause says why.
    """
    from kitfox.modules.module_class import ModuleBase  # here, because its `load` needs this file

    if isinstance(model, ModuleBase):
        return model
    try:
        return load_model(model)
    except (OSError, TypeError) as error:
        raise ValueError(f"Expected a model or the path of one, not {model!r}: {error}") from error


def _load_path(path: str, registry: ModuleRegistry, arguments: dict[str, Any]) -> "ModuleBase":
    if Path(path).is_file() and zipfile.is_zipfile(path):
        return _load_archive(path, registry, arguments)
    return _load_folder(path, registry, arguments)


def _load_archive(
    archive: str | bytes | BytesIO, registry: ModuleRegistry, arguments: dict[str, Any]
) -> "ModuleBase":
    folder = UnpackedFolder()
    try:
        extract(archive, folder.path)
        model = _load_folder(find_model_folder(folder.path), registry, arguments)
    except BaseException:
        folder.remove()
        raise
    # Not at once: a model may map its files into memory, or read them later.
    weakref.finalize(model, folder.remove)
    return model


def _load_folder(path: str, registry: ModuleRegistry, arguments: dict[str, Any]) -> "ModuleBase":
    from kitfox.modules.module_class import ModuleBase  # here, because its `load` needs this file

    config = ModuleConfig.load(path)
    if config.older_id_key is not None:
        log.warning(
            "`%s` names its module with the deprecated key `%s`; rename it to `module_id`",
            Path(path) / CONFIG_FILE,
            config.older_id_key,
            extra={"log_code": "<KFX30010W>"},
        )
    cls = _class_of(config, path, registry)
    load: Any = cls.load
    backend = parameters_of(load).get("load_backend")
    if backend is not None and backend.default is backend.empty:
        arguments = {"load_backend": None, **arguments}
    model = load(config if _wants_config(load) else path, **arguments)
    if not isinstance(model, ModuleBase):
        raise TypeError(
            f"`{cls.MODULE_CLASS}.load` must return a model, not {type(model).__name__}"
        )
    return model


def model_config(path: str | os.PathLike[str]) -> ModuleConfig:
    """What the `config.yml` of a model says; nothing is loaded, and nothing is unpacked.

    Args:
        path: The model's folder, or the zip file of one.

    Raises:
        FileNotFoundError: There is no `config.yml`.
        ModelConfigError: It cannot be used.
        InvalidArgument: The file is no zip file, or a damaged one.
        UnsafeArchive: The zip file would write outside of its folder.
    """
    if not Path(path).is_file():
        return ModuleConfig.load(path)
    with ArchivedModel(path) as archived:
        text = archived.read(CONFIG_FILE, _LONGEST_CONFIG)
    return ModuleConfig.parse(text, Path(path) / CONFIG_FILE)


def model_class(path: str | os.PathLike[str]) -> "type[ModuleBase]":
    """The module class that loads a model; nothing is loaded.

    Args:
        path: The model's folder, or the zip file of one.

    Raises:
        UnknownModule: Its `config.yml` names a module that has not been defined.
        OSError: As `model_config` raises it; the other errors of that are raised as well.
    """
    return _class_of(model_config(path), os.fspath(path), default_registry())


def _class_of(config: ModuleConfig, path: str, registry: ModuleRegistry) -> "type[ModuleBase]":
    if config.module_id is None:
        raise ModelConfigError(Path(path) / CONFIG_FILE, f"No module_id found in config at {path}")
    module_id = str(config.module_id)
    try:
        return registry.find(module_id)
    except UnknownModule:
        raise UnknownModule(
            module_id,
            registry.classes(),
            model_path=path,
            module_class=config.get("module_class"),
        ) from None


def _wants_config(load: Any) -> bool:
    """Whether `load` says that it takes the configuration, and not the path."""
    function = inspect.unwrap(getattr(load, "__func__", load))
    first = next(iter(parameters_of(load)), "")
    annotation = getattr(function, "__annotations__", {}).get(first)
    members = typing.get_args(annotation) or (annotation,)
    names = {item if isinstance(item, str) else getattr(item, "__name__", "") for item in members}
    return "ModuleConfig" in names and "str" not in names
