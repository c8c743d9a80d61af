"""Data stream sources: the messages that name data, and the typed streams made of them."""

import errno
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from kitfox.data import (
    DataFileError,
    DataObjectBase,
    FileReference,
    ListOfFileReferences,
    S3Files,
    codec_of,
    dataobject,
    make_data_stream_source,
    open_data_stream,
)
from kitfox.errors import InvalidArgument, ValidationError

PACKAGE = "tests.sources"


@dataobject(PACKAGE)
class Sample(DataObjectBase):
    text: str
    number: int
    weight: float | None


@dataobject(PACKAGE)
class Nested(DataObjectBase):
    sample_one: Sample
    tags: list[str]


@dataobject(PACKAGE)
class Strict(DataObjectBase):
    text: str

    def __post_init__(self) -> None:
        if self.text == "bad":
            raise ValueError("text must not be bad")


SOURCE = make_data_stream_source(Sample, PACKAGE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of files that all hold samples, and of some that do not."""
    files = {
        "a.json": '[{"text": "a", "number": 1}, {"text": "b", "number": "2", "weight": 0.5}]',
        "a.jsonl": '{"text": "c", "number": 3}\n\n{"text": "d", "extra": {"deep": true}}\n',
        "a.csv": 'text,number,weight\ne,5,0.25\n"f, g",6,\n',
        "plain_json": '  [{"text": "h", "number": 7}]',
        "plain_lines": '{"text": "i", "number": 8}\n',
        "plain_table": "number,text\n9,j\n",
        "plain_parts": "--b\r\nContent-Type: application/json\r\n\r\n"
        '[{"text": "k", "number": 10}]\r\n--b--\r\n',
        "objects/one.json": '{"text": "l", "number": 11}',
        "objects/two.json": '[{"text": "m", "number": 12}]',
        "tables/b.csv": "text,number\np,2\n",
        "tables/a.csv": "text,number\nn,1\no,1\n",
        "numbers.json": "[1, 2, 3]",
        "words.csv": "word\none\ntwo\n",
        "table.txt": "text,number\nx,1\n",
        "bad.json": '[{"text": "a", "number": 1}, {"text": "a", "number": "many"}]',
        "bad.jsonl": '{"text": "x"}\nnot json\n',
        "odd.jsonl": '{"text": "x"}\n{"text": 5}\n',
        "nested.jsonl": '{"sampleOne": {"text": "x", "number": []}}\n',
        "object.json": '{"text": "not a list"}',
        "empty.json": "",
        "empty.csv": "",
        "header.csv": "text,number\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, newline="")
    (tmp_path / "empty").mkdir()
    return tmp_path


def read(folder: Path, element: Any = Sample, **source: Any) -> list[Any]:
    """The elements of a source that is given by the member that is set."""
    made = make_data_stream_source(element, PACKAGE).from_json(source)
    return list(open_data_stream(made, element, base_dir=folder))


def texts(samples: list[Any]) -> str:
    return "".join(sample.text for sample in samples)


# the messages


def test_a_source_class_has_the_names_of_its_element() -> None:
    assert SOURCE.full_name == "tests.sources.DataStreamSourceSample"
    assert SOURCE.fields == ("jsondata", "file", "list_of_files", "directory", "s3files")
    data_class: Any = SOURCE.get_field_message_type("jsondata")
    assert data_class.full_name == "tests.sources.DataStreamSourceSampleJsonData"
    assert [item.number for item in SOURCE.get_proto_class().DESCRIPTOR.fields] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("element", "name"),
    [(int, "Int"), (str, "Str"), (float, "Float"), (bool, "Bool"), (Nested, "Nested")],
)
def test_elements_may_be_of_any_type(element: Any, name: str) -> None:
    made = make_data_stream_source(element, PACKAGE)
    assert made.__name__ == f"DataStreamSource{name}"


def test_a_source_class_is_made_once() -> None:
    assert make_data_stream_source(Sample, PACKAGE) is SOURCE
    assert make_data_stream_source(Sample, "tests.elsewhere") is not SOURCE


@pytest.mark.parametrize(
    ("value", "member"),
    [
        ({"data": [{"text": "a", "number": 1, "weight": None}]}, "jsondata"),
        ({"data": []}, "jsondata"),
        ({"filename": "a"}, "file"),
        ({"files": ["a"]}, "list_of_files"),
        ({"dirname": "a", "extension": "csv"}, "directory"),
        ({"bucket": "b", "files": ["a"]}, "s3files"),
    ],
)
def test_requests_tell_the_source_by_its_fields(value: Any, member: str) -> None:
    source: Any = codec_of(SOURCE).convert_json({"data_stream": value})
    assert source.which_oneof("data_stream") == member
    assert SOURCE.from_binary_buffer(source.to_binary_buffer()).which_oneof("data_stream") == member


@pytest.mark.parametrize(
    "value", [{"jsondata": {"data": []}}, {"nope": 1}, [1], {"data": [{"nope": 1}]}]
)
def test_other_fields_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="data_stream"):
        codec_of(SOURCE).convert_json({"data_stream": value})


# reading


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"jsondata": {"data": [{"text": "x"}, {"text": "y"}]}}, "xy"),
        ({"jsondata": {}}, ""),
        ({}, ""),
        ({"file": {"filename": "a.json"}}, "ab"),
        ({"file": {"filename": "a.jsonl"}}, "cd"),
        ({"file": {"filename": "a.csv"}}, "ef, g"),
        ({"file": {"filename": "plain_json"}}, "h"),
        ({"file": {"filename": "plain_lines"}}, "i"),
        ({"file": {"filename": "plain_table"}}, "j"),
        ({"file": {"filename": "plain_parts"}}, "k"),
        ({"file": {"filename": "header.csv"}}, ""),
        ({"list_of_files": {"files": ["a.json", "tables/b.csv", "a.jsonl"]}}, "abpcd"),
        ({"list_of_files": {}}, ""),
        ({"directory": {"dirname": "objects"}}, "lm"),
        ({"directory": {"dirname": "objects", "extension": "json"}}, "lm"),
        ({"directory": {"dirname": "tables", "extension": "csv"}}, "nop"),
        ({"directory": {"dirname": "tables", "extension": ".csv"}}, "nop"),
    ],
)
def test_a_source_is_read(data: Path, source: dict[str, Any], found: str) -> None:
    assert texts(read(data, **source)) == found


def test_elements_are_typed(data: Path) -> None:
    assert read(data, file={"filename": "a.json"}) == [Sample("a", 1, None), Sample("b", 2, 0.5)]
    assert read(data, file={"filename": "a.csv"}) == [Sample("e", 5, 0.25), Sample("f, g", 6, None)]


def test_primitive_elements(data: Path) -> None:
    assert read(data, int, file={"filename": "numbers.json"}) == [1, 2, 3]
    assert read(data, float, file={"filename": "numbers.json"}) == [1.0, 2.0, 3.0]
    assert read(data, str, file={"filename": "words.csv"}) == ["one", "two"]
    assert read(data, int, jsondata={"data": [4, 5]}) == [4, 5]
    with pytest.raises(DataFileError, match=r"numbers\.json, row 1: expected text, got the number"):
        read(data, str, file={"filename": "numbers.json"})
    with pytest.raises(DataFileError, match="expected one column of single values, got 3"):
        read(data, int, file={"filename": "a.csv"})


def test_no_source_at_all_is_an_empty_stream() -> None:
    assert list(open_data_stream(None, Sample)) == []


def test_names_are_below_the_base_or_the_working_directory(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCE.from_json({"file": {"filename": "a.json"}})
    monkeypatch.chdir(data)
    assert texts(list(open_data_stream(source, Sample))) == "ab"
    absolute = SOURCE.from_json({"file": {"filename": str(data / "a.json")}})
    assert texts(list(open_data_stream(absolute, Sample, base_dir=Path("/")))) == "ab"


def test_a_stream_is_read_again_and_sees_what_is_there_then(data: Path) -> None:
    stream = open_data_stream(
        SOURCE.from_json({"directory": {"dirname": "tables", "extension": "csv"}}),
        Sample,
        base_dir=data,
    )
    assert texts(list(stream)) == "nop"
    (data / "tables" / "c.csv").write_text("text,number\nq,1\n")
    assert texts([*stream]) == "nopq"


def test_nothing_is_read_before_somebody_iterates(data: Path) -> None:
    source = SOURCE.from_json({"file": {"filename": "later.json"}})
    stream = open_data_stream(source, Sample, base_dir=data)
    (data / "later.json").write_text("[]")
    assert list(stream) == []


# faults


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"file": {"filename": "absent.json"}}, "data file {}/absent.json does not exist"),
        ({"file": {"filename": "absent"}}, "data file {}/absent does not exist"),
        ({"file": {"filename": ""}}, "data file {} does not exist or is no file"),
        ({"file": {"filename": "tables"}}, "data file {}/tables does not exist or is no file"),
        ({"directory": {"dirname": "absent"}}, "no such folder: {}/absent"),
    ],
)
def test_what_is_not_there_is_named(data: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read(data, **source)
    assert str(caught.value).startswith(message.format(data))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"file": {"filename": "table.txt"}}, "Extension not supported! .txt; supported are .json"),
        (
            {"directory": {"dirname": "tables", "extension": "txt"}},
            "Extension not supported! .txt",
        ),
        (
            {"directory": {"dirname": "empty", "extension": "csv"}},
            "directory {}/empty contains no source files with extension csv",
        ),
        ({"s3files": {"files": ["f"]}}, "S3Files: the bucket is missing"),
        ({"file": {"filename": "object.json"}}, "{}/object.json: the file is no JSON array"),
        ({"file": {"filename": "empty.json"}}, "{}/empty.json: the file is empty"),
        ({"file": {"filename": "empty.csv"}}, "{}/empty.csv: the file has no rows"),
        (
            {"file": {"filename": "bad.json"}},
            "{}/bad.json, row 2, column 'number': expected a whole number, got text 'many'",
        ),
        ({"file": {"filename": "bad.jsonl"}}, "{}/bad.jsonl, line 2: the text is no JSON"),
        (
            {"file": {"filename": "odd.jsonl"}},
            "{}/odd.jsonl, line 2, column 'text': expected text, got the number 5",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    data: Path, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(data, **source)
    assert str(caught.value).startswith(message.format(data))


def test_a_fault_deep_in_an_element_has_its_path(data: Path) -> None:
    with pytest.raises(DataFileError, match=r"line 1, column 'sampleOne\.number': expected a whol"):
        read(data, Nested, file={"filename": "nested.jsonl"})


def test_what_the_class_itself_refuses_is_told_with_its_place(data: Path) -> None:
    (data / "s.jsonl").write_text('{"text": "good"}\n{"text": "bad"}\n')
    (data / "s.csv").write_text("text\ngood\nbad\n")
    for name, place in (("s.jsonl", "line 2"), ("s.csv", r"row 2 \(line 3\)")):
        with pytest.raises(DataFileError, match=f"{place}: text must not be bad"):
            read(data, Strict, file={"filename": name})


def test_a_file_that_may_not_be_read_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    # Not by the file's mode: the tests may be run by root, who may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataFileError, match=r"a\.csv: the file cannot be read"):
        read(data, file={"filename": "a.csv"})


def test_elements_before_a_fault_are_given(data: Path) -> None:
    stream = iter(open_data_stream(FileSource(FileReference("bad.json")), Sample, base_dir=data))
    assert next(stream).text == "a"
    with pytest.raises(DataFileError):
        next(stream)


class FileSource:
    """Stands for a source of any class: only `data_stream` is looked at."""

    def __init__(self, data_stream: Any) -> None:
        self.data_stream = data_stream


def test_members_may_lack_their_content(data: Path) -> None:
    assert read_source(ListOfFileReferences(None), data) == []  # type: ignore[arg-type] # unset
    with pytest.raises(InvalidArgument, match="S3Files"):
        read_source(S3Files.from_json({}), data)


def read_source(content: Any, folder: Path) -> list[Any]:
    return list(open_data_stream(FileSource(content), Sample, base_dir=folder))


def test_enum_elements(data: Path) -> None:
    @dataobject("tests.sources.enums")
    class Mood(Enum):
        CALM = 1

    (data / "moods.json").write_text('["CALM", 1]')
    assert read(data, Mood, file={"filename": "moods.json"}) == [Mood.CALM, Mood.CALM]
