"""What `--data` may name, and how a training is told of it."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kitfox.cli.data_sources import data_sources
from kitfox.errors import InvalidArgument


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv", "notes.txt"):
        (tmp_path / name).write_text("text,label\n")
    return tmp_path


def test_a_file_is_named_from_the_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = data_sources(["a.csv"], ["rows"])
    assert found == {"rows": {"data_stream": {"filename": str(folder / "a.csv")}}}


def test_several_files_are_read_one_after_the_other(folder: Path) -> None:
    paths = [str(folder / "a.csv"), str(folder / "b.csv")]
    assert data_sources(paths, ["rows"]) == {"rows": {"data_stream": {"files": paths}}}


@pytest.mark.parametrize("name", ["", "*.csv"])
def test_a_folder_has_files_of_one_extension(folder: Path, name: str) -> None:
    found = data_sources([str(folder / name)], ["rows"])
    assert found == {"rows": {"data_stream": {"dirname": str(folder), "extension": "csv"}}}


def test_a_folder_of_several_kinds_needs_a_pattern(folder: Path) -> None:
    (folder / "c.json").write_text("[]")
    with pytest.raises(InvalidArgument, match=r"files with \.csv, \.json; .* a pattern such as"):
        data_sources([str(folder)], ["rows"])
    (found,) = data_sources([str(folder / "*.json")], ["rows"]).values()
    assert found["data_stream"]["extension"] == "json"


def test_an_object_in_a_bucket_is_asked_for_as_the_environment_says() -> None:
    environ = {
        "AWS_ENDPOINT_URL": "http://localhost:9000",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    found = data_sources(["s3://box/in/a.csv", "s3://box/b.csv"], ["rows"], environ=environ)
    assert found["rows"]["data_stream"] == {
        "files": ["in/a.csv", "b.csv"],
        "bucket": "box",
        "endpoint": "http://localhost:9000",
        "region": "eu-west-1",
        "accessKey": "me",
        "secretKey": "secret",
    }
    with pytest.raises(InvalidArgument, match="objects of one bucket"):
        data_sources(["s3://box/a", "s3://other/a"], ["rows"], environ=environ)


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": 2}]', '{"a": 1}\n\n{"a": 2}\n'])
def test_standard_input_is_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert data_sources(["-"], ["rows"])["rows"]["data_stream"] == {"data": [{"a": 1}, {"a": 2}]}


def test_of_several_streams_each_is_named(folder: Path) -> None:
    found = data_sources(
        [f"train={folder / 'a.csv'}", f"test={folder / 'b.csv'}"], ["train", "test"]
    )
    assert found["train"]["data_stream"]["filename"].endswith("a.csv")
    assert found["test"]["data_stream"]["filename"].endswith("b.csv")
    with pytest.raises(InvalidArgument, match="one of: train, test"):
        data_sources([str(folder / "a.csv")], ["train", "test"])
    with pytest.raises(InvalidArgument, match="takes no stream of data"):
        data_sources([str(folder / "a.csv")], [])


def test_a_name_with_an_equals_sign_is_a_file(folder: Path) -> None:
    odd = folder / "x=1.csv"
    odd.touch()
    found = data_sources([str(odd)], ["rows"])
    assert found["rows"]["data_stream"]["filename"] == str(odd)


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"c\.csv does not exist"):
        data_sources([str(folder / "c.csv")], ["rows"])
