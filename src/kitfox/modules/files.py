"""Reading and writing small files in one call, in the formats that models are made of.

Text is UTF-8. Paths are text or `Path`s.
"""

import csv
import json
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from kitfox.modules.archive import pack_folder

__all__ = [
    "compress",
    "load_binary",
    "load_csv",
    "load_dict_csv",
    "load_json",
    "load_pickle",
    "load_txt",
    "load_txt_lines",
    "load_yaml",
    "save_binary",
    "save_csv",
    "save_dict_csv",
    "save_json",
    "save_pickle",
    "save_raw",
    "save_txt",
    "save_yaml",
]

FilePath: TypeAlias = str | os.PathLike[str]


def load_txt(filename: FilePath) -> str:
    """The whole text of a file."""
    return Path(filename).read_text(encoding="utf-8")


def save_txt(text: str, filename: FilePath) -> None:
    """Writes text."""
    Path(filename).write_text(text, encoding="utf-8")


def load_txt_lines(filename: FilePath) -> list[str]:
    """The lines of a text file, without their ends."""
    return load_txt(filename).splitlines()


def load_csv(filename: FilePath) -> list[list[str]]:
    """The rows of a CSV file."""
    with Path(filename).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def save_csv(rows: Iterable[Sequence[Any]], filename: FilePath, mode: str = "w") -> None:
    """Writes rows as CSV; with mode "a" they are appended."""
    with Path(filename).open(mode, encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def load_dict_csv(filename: FilePath) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by column name."""
    with Path(filename).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save_dict_csv(rows: Sequence[Mapping[str, Any]], filename: FilePath, mode: str = "w") -> None:
    """Writes rows as CSV with a header; the columns are the keys in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with Path(filename).open(mode, encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def load_json(filename: FilePath) -> Any:
    """The content of a JSON file."""
    return json.loads(load_txt(filename))


def save_json(value: Any, filename: FilePath) -> None:
    """Writes a value as JSON."""
    save_txt(json.dumps(value), filename)


def load_yaml(filename: FilePath) -> Any:
    """The content of a YAML file; no Python objects are made."""
    return yaml.safe_load(load_txt(filename))


def save_yaml(value: Any, filename: FilePath) -> None:
    """Writes a value as YAML."""
    save_txt(yaml.safe_dump(value, default_flow_style=False), filename)


def load_pickle(filename: FilePath) -> Any:
    """Unpickles a file, which can run any code: only for files that you made yourself."""
    with Path(filename).open("rb") as file:
        return pickle.load(file)  # noqa: S301 -- the caller chose the format, the docstring warns


def save_pickle(value: Any, filename: FilePath) -> None:
    """Pickles an object."""
    Path(filename).write_bytes(pickle.dumps(value))


def load_binary(filename: FilePath) -> bytes:
    """The bytes of a file."""
    return Path(filename).read_bytes()


def save_binary(data: bytes, filename: FilePath) -> None:
    """Writes bytes."""
    Path(filename).write_bytes(data)


def save_raw(text: str, filename: FilePath) -> None:
    """Writes text as it is, line ends included."""
    Path(filename).write_bytes(text.encode())


def compress(folder: FilePath, filename: FilePath) -> str:
    """Packs a folder into a zip file and gives the file's absolute path.

    Example:
        >>> compress("models/hello", "hello.zip")
        '/srv/hello.zip'
    """
    pack_folder(folder, filename)
    return str(Path(filename).absolute())
