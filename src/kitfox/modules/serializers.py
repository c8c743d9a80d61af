"""How `ModuleSaver.save_object` writes an object: one small class for each format."""

import abc
from collections.abc import Sequence
from typing import Any

from kitfox.modules.files import save_csv, save_json, save_pickle, save_txt, save_yaml

__all__ = [
    "CSVSerializer",
    "JSONSerializer",
    "ObjectSerializer",
    "PickleSerializer",
    "TextSerializer",
    "YAMLSerializer",
]


class ObjectSerializer(abc.ABC):
    """Writes an object to a file; derive from it for a format of your own.

    Example:
        >>> class NumpySerializer(ObjectSerializer):
        ...     def serialize(self, obj: np.ndarray, file_path: str) -> None:
        ...         np.save(file_path, obj)
    """

    @abc.abstractmethod
    def serialize(self, obj: Any, file_path: str) -> None:
        """Writes `obj` to the file, which is made or replaced."""


class JSONSerializer(ObjectSerializer):
    """JSON."""

    def serialize(self, obj: Any, file_path: str) -> None:
        """Writes dicts, lists, text, numbers, booleans and None."""
        save_json(obj, file_path)


class TextSerializer(ObjectSerializer):
    """One line of text for each item."""

    def serialize(self, obj: Sequence[str] | str, file_path: str) -> None:
        """Writes text as it is, or lines."""
        save_txt(obj if isinstance(obj, str) else "\n".join(obj), file_path)


class YAMLSerializer(ObjectSerializer):
    """YAML."""

    def serialize(self, obj: Any, file_path: str) -> None:
        """Writes dicts, lists, text, numbers, booleans, dates and None."""
        save_yaml(obj, file_path)


class CSVSerializer(ObjectSerializer):
    """CSV."""

    def serialize(self, obj: Sequence[Sequence[Any]], file_path: str) -> None:
        """Writes rows of cells."""
        save_csv(obj, file_path)


class PickleSerializer(ObjectSerializer):
    """Python's pickle: any object, readable only by code that has its classes."""

    def serialize(self, obj: Any, file_path: str) -> None:
        """Pickles the object."""
        save_pickle(obj, file_path)
