"""Names from clients, checked before any file call: of models, of versions, of files.

`name` is a model as it is now, `name@version` a certain version of it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from kitfox.errors import InvalidArgument

__all__ = ["DEEPEST", "ModelReference", "check_file_names", "check_model_id"]

_LONGEST = 255
"""Bytes: what file systems allow for one name."""
_LONGEST_PATH = 2048
DEEPEST = 32
"""How many folders deep a model's file may lie."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_NO_FILES = "Must provide at least one model_files entry and all must be valid file names"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReference:
    """A model id, taken apart."""

    name: str
    """The model's name."""
    version: str = ""
    """Its version, or the id of the training that made it; empty: the current one."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name

    @classmethod
    def parse(cls, model_id: str) -> "ModelReference":
        """Takes a model id apart.

        Args:
            model_id: `name` or `name@version`.

        Raises:
            InvalidArgument: The id is empty, or a part of it is no plain name.
        """
        if not model_id:
            raise InvalidArgument("Missing required model ID")
        name, at, version = model_id.partition("@")
        _check_name(name, "model id", model_id)
        if at:
            _check_name(version, "model version", model_id)
            if "@" in version:
                raise InvalidArgument(
                    f"model id {_shown(model_id)}: expected one '@' at most, between the name and "
                    "the version"
                )
        return cls(name=name, version=version)


def check_model_id(model_id: str) -> str:
    """Returns the id if it is `name` or `name@version`, with plain names.

    Raises:
        InvalidArgument: The id is empty, too long, or could name something outside the store.
    """
    ModelReference.parse(model_id)
    return model_id


def check_file_names(names: Iterable[str]) -> list[str]:
    """Returns the names of a model's files if each stays in the model's folder.

    Args:
        names: Relative paths with `/` between their parts.

    Raises:
        InvalidArgument: There are none, one could name something outside the folder, or two cannot
            be there together.
    """
    checked = [_check_file_name(name) for name in names]
    if not checked:
        raise InvalidArgument(_NO_FILES)
    files = set(checked)
    if len(files) < len(checked):
        twice = next(name for name in checked if checked.count(name) > 1)
        raise InvalidArgument(f"model file {_shown(twice)} is there twice")
    for name in checked:
        for parent in PurePosixPath(name).parents:
            if str(parent) in files:
                raise InvalidArgument(
                    f"model file {_shown(str(parent))} cannot be the folder of {_shown(name)} too"
                )
    return checked


def _check_name(name: str, what: str, model_id: str) -> None:
    shown = f"{what} {_shown(model_id)}"
    if not name:
        raise InvalidArgument(f"{shown}: expected a name before '@' and a version after it")
    size = _size(name, shown)
    if size > _LONGEST:
        raise InvalidArgument(f"{what} of {size} bytes: expected at most {_LONGEST}")
    if name in (".", "..") or any(char in "/\\\0" for char in name):
        raise InvalidArgument(f"{shown}: expected a plain name without '/', '\\', '..' or NUL")
    if name[0] == ".":
        raise InvalidArgument(f"{shown}: expected a name that does not begin with '.'")
    if _CONTROL.search(name):
        raise InvalidArgument(f"{shown}: expected a name without control characters")


def _check_file_name(name: str) -> str:
    if not name or not name.strip():
        raise InvalidArgument(_NO_FILES)
    shown = f"model file {_shown(name)}"
    if _size(name, shown) > _LONGEST_PATH:
        raise InvalidArgument(f"{shown}: expected at most {_LONGEST_PATH} bytes")
    if name[0] == "/" or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise InvalidArgument(f"{shown}: expected a path relative to the model, with '/' in it")
    if _CONTROL.search(name):
        raise InvalidArgument(f"{shown}: expected a name without control characters")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidArgument(f"{shown}: expected a path without '.', '..' or empty parts")
    if len(parts) > DEEPEST or any(_size(part, shown) > _LONGEST for part in parts):
        raise InvalidArgument(
            f"{shown}: expected at most {DEEPEST} parts of at most {_LONGEST} bytes each"
        )
    return name


def _size(name: str, shown: str) -> int:
    try:
        return len(name.encode())
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can hold
        raise InvalidArgument(f"{shown}: expected text that can be written as UTF-8") from None


def _shown(name: str) -> str:
    """A name as it may be repeated in an answer: in ASCII where it must be, and not too long."""
    text = repr(name) if name.isprintable() else ascii(name)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(name)} characters)"
