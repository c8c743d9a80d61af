"""CSV tables become typed elements; a fault names file, row, line and column."""

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitfox.data import DataFileError, DataObjectBase, JsonDict, dataobject
from kitfox.data.tables import read_table

PACKAGE = "tests.tables"


@dataobject(PACKAGE)
class Mood(Enum):
    CALM = 2


@dataobject(PACKAGE)
class Point(DataObjectBase):
    x: float


@dataobject(PACKAGE)
class Row(DataObjectBase):
    text_label: str
    number: int
    real: float
    flag: bool
    small: np.int32 | None
    single: np.float32 | None
    raw: bytes | None
    when: datetime | None
    mood: Mood | None
    many: list[int]
    named: dict[str, float]
    free: JsonDict | None
    point: Point | None
    either: int | str
    size: int = 7
    tags: list[str] | None = None


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Reads text as a table."""

    def read(text: str, element: Any = Row) -> list[Any]:
        path = tmp_path / "t.csv"
        path.write_text(text, newline="")
        return list(read_table(path, element))

    return read


def row(header: str, line: str) -> str:
    """A table of one row with the columns that are needed, and more."""
    return f"text_label,number,real,flag,{header}\na,1,0.5,true,{line}\n"


def test_columns_are_found_by_name_in_any_order(table: Any) -> None:
    (made,) = table("flag,extra,real,number,text_label\ntrue,x,0.5,1,a\n")
    assert (made.text_label, made.number, made.real, made.flag) == ("a", 1, 0.5, True)


def test_columns_may_have_camel_case_names_and_spaces_around(table: Any) -> None:
    (made,) = table(" textLabel , number,real ,flag\na,1,0.5,true\n")
    assert made.text_label == "a"


def test_fields_without_a_column_are_unset_or_have_their_default(table: Any) -> None:
    (made,) = table("text_label,number,real,flag\na,1,0.5,true\n")
    assert made.to_dict() == {
        "text_label": "a",
        "number": 1,
        "real": 0.5,
        "flag": True,
        "small": None,
        "single": None,
        "raw": None,
        "when": None,
        "mood": None,
        "many": [],
        "named": {},
        "free": None,
        "point": None,
        "size": 7,
        "tags": None,
    }


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("small", "-5", -5),
        ("small", "", None),
        ("single", "0.5", 0.5),
        ("raw", "AP8=", b"\x00\xff"),
        ("when", "2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("when", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("mood", "CALM", Mood.CALM),
        ("mood", "2", Mood.CALM),
        ("many", '"[1, 2]"', [1, 2]),
        ("many", "", []),
        ("named", '"{""a"": 1}"', {"a": 1.0}),
        ("free", '"{""a"": [1, null]}"', {"a": [1, None]}),
        ("point", '"{""x"": 2}"', Point(2.0)),
        ("point", "", None),
        ("size", "", None),
        ("size", "9", 9),
        ("tags", '"[""a""]"', ["a"]),
        ("tags", "", None),
        ("either", "text", "text"),
        ("either_int", "5", 5),
        ("eitherStr", "5", "5"),
    ],
)
def test_a_cell_is_converted(table: Any, column: str, cell: str, value: Any) -> None:
    (made,) = table(row(column, cell))
    name = "either" if column.startswith("either") else column
    assert getattr(made, name) == value
    assert type(getattr(made, name)) is type(value)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("+00000000000000000000000005", 5),
    ],
)
def test_whole_numbers(table: Any, cell: str, value: int) -> None:
    assert table(f"text_label,number,real,flag\na,{cell},0,1\n")[0].number == value


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", "1.0"), (" 1e3 ", "1000.0"), ("nan", "nan"), ("-inf", "-inf"), ("Infinity", "inf")],
)
def test_real_numbers(table: Any, cell: str, value: str) -> None:
    assert repr(table(f"text_label,number,real,flag\na,1,{cell},1\n")[0].real) == value


@pytest.mark.parametrize(
    ("cell", "value"),
    [("true", True), ("False", False), ("1", True), ("0", False), ("YES", True), ("no", False)],
)
def test_truth_values(table: Any, cell: str, value: bool) -> None:
    assert table(f"text_label,number,real,flag\na,1,1,{cell}\n")[0].flag is value


@pytest.mark.parametrize(
    ("header", "line", "column", "words"),
    [
        ("small", "x", "small", "expected a whole number, got text 'x'"),
        ("small", "2147483648", "small", "out of range for int32"),
        ("single", "1e300", "single", "out of range for float32"),
        ("raw", "***", "raw", "expected base64 text"),
        ("when", "soon", "when", "is no point in time"),
        ("mood", "WILD", "mood", "expected one of CALM (2)"),
        ("mood", "0", "mood", "expected one of CALM (2)"),
        ("many", "1", "many", "expected an array"),
        ("many", '"[1, ""a""]"', "many", "[1]: expected a whole number"),
        ("many", "[1", "many", "the text is no JSON"),
        ("point", '"{""z"": 2}"', "point", "z: Point has no such field"),
        ("either_int", "x", "either_int", "expected a whole number"),
        ("either_int,either_str", "1,a", "either_int", "either_int and either_str are alternative"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(
    table: Any, header: str, line: str, column: str, words: str
) -> None:
    with pytest.raises(DataFileError) as caught:
        table(row(header, line))
    assert (caught.value.row, caught.value.line, caught.value.column) == (1, 2, column)
    assert f"t.csv, row 1 (line 2), column '{column}': " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("a,x,1,1", "number"),
        ("a,,1,1", "number"),
        ("a,1.5,1,1", "number"),
        ("a,1_000,1,1", "number"),
        ("a,99999999999999999999,1,1", "number"),
        ("a,1,x,1", "real"),
        ("a,1,1_0,1", "real"),
        ("a,1,,1", "real"),
        ("a,1,1,maybe", "flag"),
        ("a,1,1,", "flag"),
    ],
)
def test_a_required_cell_that_does_not_fit_is_named(table: Any, line: str, column: str) -> None:
    with pytest.raises(DataFileError) as caught:
        table(f"text_label,number,real,flag\nok,1,1,1\n{line}\n")
    assert (caught.value.row, caught.value.line, caught.value.column) == (2, 3, column)


def test_rows_and_lines_are_counted_apart(table: Any) -> None:
    with pytest.raises(DataFileError) as caught:
        table('text_label,number,real,flag\n"two\nlines",1,1,1\n\n\nb,x,1,1\n')
    assert (caught.value.row, caught.value.line) == (2, 6)


def test_a_missing_column_is_named_with_those_present(table: Any) -> None:
    with pytest.raises(DataFileError) as caught:
        table("text_label,numbr,real\na,1,1\n")
    assert str(caught.value).endswith(
        "t.csv: the column 'number', 'flag' is missing; the file has the columns "
        "text_label, numbr, real"
    )


def test_two_columns_for_one_field_are_refused(table: Any) -> None:
    with pytest.raises(DataFileError, match="two columns for text_label"):
        table("text_label,textLabel,number,real,flag\na,b,1,1,1\n")


@pytest.mark.parametrize("line", ["a,1,1", "a,1,1,1,1"])
def test_a_row_of_another_length_is_told(table: Any, line: str) -> None:
    with pytest.raises(DataFileError, match=r"row 1 \(line 2\): the row has \d cells"):
        table(f"text_label,number,real,flag\n{line}\n")


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_a_file_without_rows_is_told(table: Any, text: str) -> None:
    with pytest.raises(DataFileError, match="the file has no rows, not even a header"):
        table(text)


def test_a_header_alone_is_an_empty_table(table: Any) -> None:
    assert table("text_label,number,real,flag\n") == []


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"x\n1\n\xff\n")
    with pytest.raises(DataFileError, match=r"t\.csv: the file is not UTF-8"):
        list(read_table(path, Point))


def test_a_class_without_fields_gives_empty_objects(table: Any) -> None:
    @dataobject(PACKAGE)
    class Empty(DataObjectBase):
        pass

    assert table("x,y\n1,2\n", Empty) == [Empty()]


def test_single_values(table: Any) -> None:
    assert table("n\n1\n2\n", int) == [1, 2]
    assert table("n\n\na\n", str) == ["a"]
    with pytest.raises(
        DataFileError, match=r"row 1 \(line 2\), column 'n': expected a whole number"
    ):
        table("n\nx\n", int)
