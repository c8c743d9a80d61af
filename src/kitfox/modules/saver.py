"""From a model to its folder: what an author's `save` writes with.

The folder's `config.yml` is written last and in one step, so a folder that has one is complete.
"""

import datetime
import os
import shutil
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml

from kitfox.errors import InvalidArgument
from kitfox.modules.config import CONFIG_FILE, OLDER_ID_KEYS, ModuleConfig
from kitfox.modules.registry import LOCAL
from kitfox.modules.serializers import ObjectSerializer

if TYPE_CHECKING:
    from kitfox.modules.module_class import ModuleBase

__all__ = ["ModuleSaver"]


class ModuleSaver:
    """Writes a model folder; used by a module's `save`, as a context manager.

    On a clean exit `config.yml` is written; on an exception it is not.

    Example:
        >>> def save(self, model_path: str) -> None:
        ...     with ModuleSaver(self, model_path) as saver:
        ...         saver.save_object(self.vocabulary, "vocabulary.json", JSONSerializer())
        ...         saver.save_module(self.tokenizer, "tokenizer")
        ...         saver.update_config({"greeting": self.greeting})

    Args:
        module: The model.
        model_path: The folder; made on entering.
        exist_ok: Whether the folder may exist. If not, it is removed again on an exception.

    Raises:
        FileExistsError: On entering: the folder exists and may not.
        TypeError: The model's class has no module id, so nothing could load the folder.
    """

    def __init__(
        self, module: "ModuleBase", model_path: str | os.PathLike[str], exist_ok: bool = True
    ) -> None:
        if not getattr(module, "MODULE_ID", ""):
            raise TypeError(
                f"`{type(module).__qualname__}` cannot be saved: "
                "it is not decorated with @module(...), so nothing could load it again"
            )
        self.module = module
        self.model_path = os.fspath(model_path)
        self.exist_ok = exist_ok
        self.config = ModuleConfig(_first_values(module))

    def __enter__(self) -> Self:
        Path(self.model_path).mkdir(parents=True, exist_ok=self.exist_ok)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write_config()
        elif not self.exist_ok:
            shutil.rmtree(self.model_path, ignore_errors=True)

    def add_dir(self, relative_path: str, base_relative_path: str = "") -> tuple[str, str]:
        """Makes a folder in the model folder.

        Args:
            relative_path: The folder.
            base_relative_path: A folder in the model folder that it is relative to.

        Returns:
            Its path relative to the model folder, and its absolute path.
        """
        relative, absolute = self._place(base_relative_path, relative_path)
        Path(absolute).mkdir(parents=True, exist_ok=True)
        return relative, absolute

    def copy_file(
        self, file_path: str | os.PathLike[str], relative_path: str = ""
    ) -> tuple[str, str]:
        """Copies a file, under its name, into the model folder or a folder in it.

        Returns:
            Its path relative to the model folder, and its absolute path.

        Raises:
            FileNotFoundError: There is no such file.
        """
        source = Path(file_path)
        if not source.is_file():
            raise FileNotFoundError(f"`{source}` is no file that could be copied into the model")
        self.add_dir(relative_path)
        relative, absolute = self._place(relative_path, source.name)
        shutil.copy2(source, absolute)
        return relative, absolute

    def save_object(
        self,
        obj: Any,
        filename: str,
        serializer: ObjectSerializer | type[ObjectSerializer],
        relative_path: str = "",
    ) -> tuple[str, str]:
        """Writes an object into the model folder or a folder in it.

        Returns:
            The file's path relative to the model folder, and its absolute path.
        """
        writer = serializer() if isinstance(serializer, type) else serializer
        self.add_dir(relative_path)
        relative, absolute = self._place(relative_path, filename)
        writer.serialize(obj, absolute)
        return relative, absolute

    def save_module(self, module: "ModuleBase", relative_path: str) -> tuple[str, str]:
        """Saves a contained module into a folder; `ModuleLoader.load_module` reads it back.

        Args:
            module: The contained model.
            relative_path: The folder in the model folder, which is also the key for loading.

        Returns:
            The folder's path relative to the model folder, and its absolute path.
        """
        relative, absolute = self.add_dir(relative_path)
        module.save(absolute)
        self._module_paths()[relative_path] = relative
        return relative, absolute

    def save_module_list(
        self, modules: "Mapping[str, ModuleBase]", config_key: str
    ) -> list[tuple[str, str]]:
        """Saves contained modules; `ModuleLoader.load_module_list` reads them back, in order.

        Args:
            modules: The contained models by their folder in the model folder.
            config_key: The key for loading.

        Returns:
            For each its path relative to the model folder, and its absolute path.
        """
        places = []
        for relative_path, module in modules.items():
            relative, absolute = self.add_dir(relative_path)
            module.save(absolute)
            places.append((relative, absolute))
        self._module_paths()[config_key] = [relative for relative, _ in places]
        return places

    def update_config(self, additional_config: Mapping[str, Any]) -> None:
        """Adds keys to the `config.yml` to come; `load` reads them as `loader.config.key`.

        Raises:
            KeyError: `model_path` is among them.
        """
        if "model_path" in additional_config:
            raise KeyError("`model_path` is set when a model is loaded and must not be configured")
        self.config.update(additional_config)

    def _module_paths(self) -> dict[str, Any]:
        paths: dict[str, Any] = self.config.setdefault("module_paths", {})
        return paths

    def _place(self, base: str, name: str) -> tuple[str, str]:
        relative = Path(base) / name
        if relative.is_absolute() or ".." in relative.parts:
            raise InvalidArgument(f"`{relative}` is not inside of the model folder")
        return str(relative), str((Path(self.model_path) / relative).absolute())

    def _write_config(self) -> None:
        text = _to_yaml(self.config)
        file = Path(self.model_path) / CONFIG_FILE
        beside = file.with_name(f".{CONFIG_FILE}.{uuid.uuid4().hex}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        # What identifies a model stays the same when it is saved again.
        for key in ("created", "tracking_id"):
            self.module.metadata.setdefault(key, self.config[key])


def _first_values(module: "ModuleBase") -> dict[str, Any]:
    """What every `config.yml` says, beside what is kept from where the model was loaded."""
    now = str(datetime.datetime.now())
    library = type(module).__module__.partition(".")[0]
    fixed = {
        "module_id": module.MODULE_ID,
        "module_class": module.MODULE_CLASS,
        "name": module.MODULE_NAME,
        "version": module.MODULE_VERSION,
        "model_backend": getattr(module, "BACKEND_TYPE", LOCAL),
        "saved": now,
        f"{library}_version": _library_version(library),
    }
    dropped = {"model_path", "module_paths", *OLDER_ID_KEYS}
    kept = {key: value for key, value in module.metadata.items() if key not in dropped}
    return {"created": now, "tracking_id": str(uuid.uuid4()), **kept, **fixed}


def _library_version(library: str) -> str:
    """The version of the package that a module belongs to."""
    import importlib.metadata  # here, because a server that only loads models need not wait for it

    try:
        return importlib.metadata.version(library)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return str(getattr(sys.modules.get(library), "__version__", "0.0.0"))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # one of them
    """Plain YAML; dicts of any class are mappings. libyaml writes it where PyYAML has it."""


_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)


def _to_yaml(config: Mapping[str, Any]) -> str:
    try:
        return _dump(config)
    except yaml.representer.RepresenterError as error:
        key = next(key for key, value in config.items() if not _is_dumpable(value))
        raise InvalidArgument(
            f"`{CONFIG_FILE}`, key `{key}`: {type(error.args[-1]).__name__} cannot be written "
            "as YAML; use text, numbers, lists and dicts"
        ) from error


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=False)
    return text


def _is_dumpable(value: Any) -> bool:
    try:
        _dump(value)
    except yaml.representer.RepresenterError:
        return False
    return True
