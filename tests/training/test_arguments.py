"""From a job's JSON to the arguments of `train`."""

import logging
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import ValidationError
from kitfox.training.arguments import decode_arguments

from .trainers import Counter, Empty, Row

SIGNATURE = Counter.TRAIN_SIGNATURE
assert SIGNATURE is not None

SOURCES = [
    {"data_stream": {"data": [{"word": "a", "number": 1}, {"word": "b", "number": 2}]}},
    {"jsondata": {"data": [{"word": "a", "number": 1}, {"word": "b", "number": 2}]}},
    {"data_stream": {"filename": "rows.csv"}},
    {"file": {"filename": "rows.csv"}},
    {"data_stream": {"files": ["rows.csv"]}},
    {"list_of_files": {"files": ["rows.csv"]}},
    {"data_stream": {"dirname": ".", "extension": "csv"}},
    {"directory": {"dirname": ".", "extension": "csv"}},
]


def decode(parameters: dict[str, Any], **options: Any) -> dict[str, Any]:
    assert SIGNATURE is not None
    return decode_arguments(SIGNATURE, parameters, **options)


@pytest.mark.parametrize("source", SOURCES)
def test_a_stream_is_read_from_any_source_under_either_name(
    source: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("word,number\na,1\nb,2\n")
    rows = decode({"rows": source}, base_dir=str(tmp_path))["rows"]
    expected = [Row(word="a", number=1), Row(word="b", number=2)]
    assert list(rows) == expected
    assert list(rows) == expected, "a stream can be read again"


def test_a_source_with_nothing_set_is_an_empty_stream() -> None:
    assert list(decode({"rows": {}})["rows"]) == []


def test_null_and_absent_leave_the_default() -> None:
    assert decode({"words": None, "factor": None, "base": None}) == {}


def test_parameters_that_train_does_not_have_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert decode({"factor": 2, "colour": "red"}) == {"factor": 2}
    assert "no parameter 'colour'" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"factor": "x"}, "factor"),
        ({"words": ["a", 1]}, "words[1]"),
        (
            {"rows": {"data_stream": {"data": [{"word": "a", "number": "x"}]}}},
            "rows.data_stream",
        ),
        ({"base": {"model_id": "b"}}, "base.model_id"),
        ({"base": 3}, "base.model_id"),
    ],
)
def test_what_cannot_be_accepted_is_named(parameters: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        decode(parameters, model_paths={"a": "/models/a"})
    (field,) = caught.value.fields
    assert field.where.startswith(path)


def test_a_model_is_loaded_by_its_id(tmp_path: Path) -> None:
    Empty("x").save(str(tmp_path / "m"))
    base = decode({"base": {"model_id": "b"}}, model_paths={"b": str(tmp_path / "m")})["base"]
    assert isinstance(base, Empty)
    assert base.value == "x"
