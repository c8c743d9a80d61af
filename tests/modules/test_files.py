"""What a helper or serializer writes, its counterpart reads."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from kitfox.modules import (
    CSVSerializer,
    JSONSerializer,
    ObjectSerializer,
    PickleSerializer,
    TextSerializer,
    YAMLSerializer,
    files,
)

ROWS = [["a", "b"], ["1", 'x,\n"y"']]
TEXT = "first ä\nsecond\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("txt", TEXT),
        ("csv", ROWS),
        ("dict_csv", [{"a": "1", "b": "2"}, {"a": "3", "b": "ß"}]),
        ("json", {"a": [1, 2.5, None, "ß"]}),
        ("yaml", {"a": [1, 2.5, None, "ß"]}),
        ("pickle", {"a": {1, 2}}),
        ("binary", b"\x00\xff\r\n"),
    ],
)
def test_what_is_saved_is_loaded(tmp_path: Path, name: str, value: Any) -> None:
    for path in (tmp_path / "file", str(tmp_path / "file")):
        getattr(files, f"save_{name}")(value, path)
        assert getattr(files, f"load_{name}")(path) == value


@pytest.mark.parametrize(
    ("serializer", "value", "load"),
    [
        (JSONSerializer(), {"a": 1}, files.load_json),
        (YAMLSerializer(), {"a": [1]}, files.load_yaml),
        (CSVSerializer(), ROWS, files.load_csv),
        (PickleSerializer(), {1, 2}, files.load_pickle),
        (TextSerializer(), ["a", "b"], files.load_txt_lines),
        (TextSerializer(), TEXT, files.load_txt),
    ],
)
def test_what_is_serialized_is_loaded(
    tmp_path: Path, serializer: ObjectSerializer, value: Any, load: Any
) -> None:
    serializer.serialize(value, str(tmp_path / "file"))
    assert load(tmp_path / "file") == value


def test_rows_can_be_appended(tmp_path: Path) -> None:
    files.save_csv(ROWS, tmp_path / "file")
    files.save_csv([["2", "z"]], tmp_path / "file", mode="a")
    assert files.load_csv(tmp_path / "file") == [*ROWS, ["2", "z"]]


def test_columns_come_from_all_rows(tmp_path: Path) -> None:
    files.save_dict_csv([{"a": 1}, {"b": 2}], tmp_path / "file")
    assert files.load_dict_csv(tmp_path / "file") == [{"a": "1", "b": ""}, {"a": "", "b": "2"}]


def test_raw_text_keeps_its_line_ends(tmp_path: Path) -> None:
    files.save_raw("a\r\nb\n", tmp_path / "file")
    assert files.load_binary(tmp_path / "file") == b"a\r\nb\n"
    assert files.load_txt_lines(tmp_path / "file") == ["a", "b"]


def test_a_folder_is_compressed_with_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    files.save_txt("x", tmp_path / "folder" / "inner" / "file")
    packed = files.compress(tmp_path / "folder", tmp_path / "packed.zip")
    assert packed == str(tmp_path / "packed.zip")
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["inner/", "inner/file"]
