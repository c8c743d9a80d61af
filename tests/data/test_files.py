"""Files become elements one at a time; what is wrong names file, row, line and column."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kitfox.data import DataFileError, DataStream
from kitfox.errors import Code


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    return path


def faulty(stream: DataStream[Any]) -> DataFileError:
    """The error that reading a stream ends in."""
    with pytest.raises(DataFileError) as caught:
        list(stream)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value


# CSV


def test_csv_rows_are_lists_of_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'x,y\n1,"2,3"\n\n"a\nb",\n')
    assert list(DataStream.from_csv(path)) == [["x", "y"], ["1", "2,3"], ["a\nb", ""]]
    assert list(DataStream.from_csv(path, skip=2)) == [["a\nb", ""]]
    semicolons = write(tmp_path / "b.csv", "1;2\n")
    assert list(DataStream.from_csv(semicolons, delimiter=";")) == [["1", "2"]]


def test_header_csv_rows_are_dictionaries(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\ufeffx,y\r\n1,é\r\n")
    assert list(DataStream.from_header_csv(path)) == [{"x": "1", "y": "é"}]


def test_a_csv_file_without_rows_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n\n")
    assert str(faulty(DataStream.from_header_csv(path))) == (
        f"{path}: the file has no rows, not even a header"
    )
    assert list(DataStream.from_csv(path)) == []


def test_a_row_of_another_length_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,y\n1,2\n3\n")
    error = faulty(DataStream.from_header_csv(path))
    assert error.row == 2
    assert "the row has 1 cells and the header 2 (x, y)" in str(error)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    for read, name in (
        (DataStream.from_csv, "a.csv"),
        (DataStream.from_header_csv, "b.csv"),
        (DataStream.from_txt, "c.txt"),
        (DataStream.from_jsonl, "d.jsonl"),
    ):
        path = write(tmp_path / name, b'"x"\n"\xff"\n')
        error = faulty(read(path))
        assert error.path == str(path)
        assert "not UTF-8" in str(error)


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"x\n{'a' * 300_000}\n")
    assert [len(row["x"]) for row in DataStream.from_header_csv(path)] == [300_000]


# JSON


def test_items_of_a_json_array_are_streamed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", '\ufeff \n [1, 2.5, "a", {"b": [null, true]}, 12345678901234567890]'
    )
    assert list(DataStream.from_json_array(path)) == [
        1,
        2.5,
        "a",
        {"b": [None, True]},
        12345678901234567890,
    ]
    assert [type(item) for item in DataStream.from_json_array(path)][:2] == [int, float]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty; expected a JSON array"),
        (" " * 10_000, "the file is empty; expected a JSON array"),
        ('{"item": [1]}', "the file is no JSON array"),
        ("text", "the file is no JSON array"),
        ("[1, 2", "row 2: the file ends within the array"),
        ('[1, "2]', "row 2: the file ends within the array"),
        ("[1, x]", "row 2: the text is no JSON"),
        ("[1, [2}]", "row 2: the text is no JSON"),
        ("[1, ]", "row 2: there is a comma and no item after it"),
        ("[, 1]", "row 1: there is a comma and no item before it"),
        ("[1}", "the array ends with } where ] was expected"),
        ("[1] 2", "there is more after the end"),
        ("[1]" + " " * 100_000 + "]", "there is more after the end"),
        ("[" * 100_000, "row 1: the item is nested too deeply"),
        (b'["\xff"]', "row 1: the JSON is not UTF-8"),
    ],
)
def test_a_file_that_is_no_json_array_is_told(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    assert words in str(faulty(DataStream.from_json_array(write(tmp_path / "a.json", content))))


def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '\ufeff{"a": 1}\r\n\n  \n[2]\n"x"')
    assert list(DataStream.from_jsonl(path)) == [{"a": 1}, [2], "x"]
    error = faulty(DataStream.from_jsonl(write(tmp_path / "b.jsonl", "1\n\nnot json\n")))
    assert error.line == 3
    assert str(error).startswith(f"{tmp_path}/b.jsonl, line 3: the text is no JSON")


# text


def test_lines_of_text_have_no_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffl1\nl2\r\n\nl4")
    assert list(DataStream.from_txt(path)) == ["l1", "l2", "", "l4"]


def test_a_file_is_read_by_its_extension(tmp_path: Path) -> None:
    assert list(DataStream.from_file(write(tmp_path / "a.json", "[1]"))) == [1]
    assert list(DataStream.from_file(write(tmp_path / "a.CSV", "a,b\n"))) == [["a", "b"]]
    assert list(DataStream.from_file(write(tmp_path / "a.log", "x\n"))) == ["x"]


# folders


def test_collections_are_in_the_order_of_names(tmp_path: Path) -> None:
    for name, content in {
        "b.json": '{"n": 2}',
        "a.json": "[1]",
        "b.csv": "x\n2\n",
        "a.csv": "x\n1\n",
        "b.jsonl": "3\n4\n",
        "a.jsonl": "1\n",
        "b.txt": "two\n",
        "a.txt": "one\nmore",
        "c.md": "other",
    }.items():
        write(tmp_path / name, content)
    (tmp_path / "folder.json").mkdir()
    assert list(DataStream.from_json_collection(tmp_path)) == [[1], {"n": 2}]
    assert list(DataStream.from_csv_collection(tmp_path)) == [{"x": "1"}, {"x": "2"}]
    assert list(DataStream.from_jsonl_collection(tmp_path)) == [1, 3, 4]
    assert list(DataStream.from_txt_collection(tmp_path)) == ["one\nmore", "two\n"]
    assert list(DataStream.from_txt_collection(tmp_path, extension="md")) == ["other"]


def test_a_faulty_file_of_a_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.json", "1")
    write(tmp_path / "b.json", "{")
    write(tmp_path / "c.txt", b"\xff")
    assert "b.json: the text is no JSON" in str(faulty(DataStream.from_json_collection(tmp_path)))
    assert "c.txt: the file is not UTF-8" in str(faulty(DataStream.from_txt_collection(tmp_path)))


# multipart bodies

BODY = (
    b"--xyz\r\n"
    b'Content-Disposition: form-data; name="a"; filename="a.json"\r\n'
    b"Content-Type: application/json\r\n"
    b"\r\n"
    b'[{"text": "--xyz"}, 2]\r\n'
    b"--xyz\r\n"
    b'Content-Disposition: form-data; name="b"; filename="b.csv"\r\n'
    b"\r\n"
    b"x,y\r\n1,2\r\n"
    b"\r\n--xyz\r\n"
    b"Content-Type: text/csv\r\n"
    b"\r\n"
    b"x\n3\r\n"
    b"--xyz--\r\n"
)


def test_parts_are_read_one_after_the_other(tmp_path: Path) -> None:
    stream = DataStream.from_multipart_file(write(tmp_path / "body", BODY))
    assert list(stream) == [{"text": "--xyz"}, 2, {"x": "1", "y": "2"}, {"x": "3"}]
    assert len(list(stream)) == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no multipart body"),
        (b"text\n", "no multipart body"),
        (b"--xyz\r\n\r\n[1]\r\n", "ends without its last boundary"),
        (b"--xyz\r\nContent-Type: image/png\r\n\r\nx\r\n--xyz--\r\n", "is image/png; expected"),
        (b"--xyz\r\nContent-Type: application/json\r\n\r\n{}\r\n--xyz--\r\n", "no JSON array"),
    ],
)
def test_a_body_that_is_none_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(faulty(DataStream.from_multipart_file(write(tmp_path / "b", content))))


# memory and optional packages


@pytest.mark.slow
def test_a_file_is_never_in_memory(tmp_path: Path) -> None:
    """Reading 30 MB must not cost 10 MB."""
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("x,y\n")
        for number in range(1_000_000):
            file.write(f"some text that makes the row long,{number}\n")
    stream = DataStream.from_header_csv(path)
    stream.peek()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in stream) == 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


def test_parquet_needs_its_extra(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", b"PAR1")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from kitfox.data import DataStream\n"
        f"list(DataStream.from_parquet({str(path)!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Parquet files need pyarrow; install kitfox[parquet]" in ran.stderr
