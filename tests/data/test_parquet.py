"""Parquet files are read row by row into typed objects, and what is wrong in one is named."""

from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped] # it ships no types
import pytest
from pyarrow import parquet

from kitfox.data import (
    DataObjectBase,
    DataStream,
    FileReference,
    dataobject,
    make_data_stream_source,
    open_data_stream,
)


@dataobject(package="tests.parquet")
class Sample(DataObjectBase):
    text: str
    number: int


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def read(path: Path) -> list[Any]:
    source: Any = make_data_stream_source(Sample, "tests.parquet")
    stream = open_data_stream(source(data_stream=FileReference(str(path))), Sample)
    first = list(stream)
    assert list(stream) == first
    return first


def test_rows_become_objects_and_can_be_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "number": [1, 2, 3]})
    assert read(path) == [Sample(text=text, number=n) for n, text in enumerate("abc", 1)]
    assert DataStream.from_parquet(path).peek() == {"text": "a", "number": 1}


def test_a_value_of_the_wrong_type_is_named_with_file_row_and_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"], "number": ["many"]})
    with pytest.raises(ValueError, match=r"a\.parquet, row 1, column 'number': expected a whole"):
        read(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"a\.parquet: no readable Parquet file"):
        read(tmp_path / "a.parquet")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"], "nmber": [1]})
    words = r"a\.parquet: the column 'number' is missing; the file has the columns text, nmber"
    with pytest.raises(ValueError, match=words):
        read(path)
