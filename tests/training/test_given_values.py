"""Arguments of `train` as Python values, and read back as a worker reads them."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from kitfox.data import DataStream
from kitfox.errors import InvalidArgument, ValidationError
from kitfox.modules import MethodSignature
from kitfox.modules.signature import read_signature
from kitfox.training import Job
from kitfox.training.arguments import decode_arguments
from kitfox.training.given_values import carry_over, data_folder, read_given

from .trainers import Counter, Empty, Row

ROWS = [Row(word="one", number=1), Row(word="two", number=2)]


class Learner:
    """Takes one of each kind."""

    @classmethod
    def train(
        cls,
        rows: DataStream[Row],
        names: Optional[DataStream[str]] = None,  # noqa: UP045 -- as authors write it
        base: Optional[Empty] = None,  # noqa: UP045 -- as above
        words: Optional[list[str]] = None,  # noqa: UP045 -- as above
        row: Optional[Row] = None,  # noqa: UP045 -- as above
        factor: float = 1.0,
        deep: bool = False,
    ) -> None:
        """Learns."""


SIGNATURE: MethodSignature = read_signature(Learner, "train")


def there_and_back(folder: Path, **values: Any) -> dict[str, Any]:
    """What `train` would be called with."""
    given = read_given(SIGNATURE, values, folder=folder)
    text = json.dumps(dict(given.parameters))
    return decode_arguments(SIGNATURE, json.loads(text), model_paths=given.model_paths)


def one_by_one() -> Iterator[Row]:
    yield from ROWS


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        tuple(ROWS),
        DataStream.from_iterable(ROWS),
        [{"word": "one", "number": 1}, {"word": "two", "number": 2}],
    ],
)
def test_data_that_is_iterated_over_is_written_beside(tmp_path: Path, rows: Any) -> None:
    folder = tmp_path / "data"
    found = there_and_back(folder, rows=rows)
    assert list(found["rows"]) == list(found["rows"]) == ROWS
    assert [path.name for path in folder.iterdir()] == ["rows.jsonl"]


def test_a_generator_is_read_once_and_can_be_read_often(tmp_path: Path) -> None:
    found = there_and_back(tmp_path, rows=one_by_one())
    assert list(found["rows"]) == list(found["rows"]) == ROWS


def test_files_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    one, two = tmp_path / "in" / "one.csv", tmp_path / "in" / "two.csv"
    one.write_text("word,number\none,1\n")
    two.write_text("word,number\ntwo,2\n")
    folder = tmp_path / "data"
    assert list(there_and_back(folder, rows=str(one))["rows"]) == ROWS[:1]
    assert list(there_and_back(folder, rows=two)["rows"]) == ROWS[1:]
    assert list(there_and_back(folder, rows=[one, str(two)])["rows"]) == ROWS
    assert list(there_and_back(folder, rows=tmp_path / "in")["rows"]) == ROWS
    assert not folder.exists()
    with pytest.raises(InvalidArgument, match=r"rows: there is no file .*none\.csv"):
        there_and_back(folder, rows="none.csv")


def test_texts_are_elements_where_elements_are_texts(tmp_path: Path) -> None:
    found = there_and_back(tmp_path, rows=ROWS, names=["a.csv", "b\n"])
    assert list(found["names"]) == ["a.csv", "b\n"]


def test_a_model_is_given_as_such_or_as_its_path(tmp_path: Path) -> None:
    Empty("kept").save(str(tmp_path / "model"))
    for base in (Empty("kept"), tmp_path / "model", str(tmp_path / "model")):
        found = there_and_back(tmp_path / "data", rows=ROWS, base=base)
        assert found["base"].value == "kept"
    with pytest.raises(InvalidArgument, match="base: there is no model at"):
        there_and_back(tmp_path / "data", rows=ROWS, base=tmp_path / "none")


def test_plain_values_are_themselves(tmp_path: Path) -> None:
    values = {"words": ["a", "b"], "row": ROWS[0], "factor": 0.5, "deep": False}
    found = there_and_back(tmp_path, rows=ROWS, **values)
    assert {name: found[name] for name in values} == values
    found = there_and_back(tmp_path, rows=ROWS, words=[], row=None)
    assert found["words"] == []
    assert found.keys() == {"rows", "words"}


def test_what_cannot_be_used_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(InvalidArgument, match="no parameter 'ros'; it has: rows, names"):
        there_and_back(folder, ros=ROWS)
    with pytest.raises(InvalidArgument, match="needs a value for rows"):
        there_and_back(folder, words=["a"])
    with pytest.raises(InvalidArgument, match=r"^factor: expected float, got str"):
        there_and_back(folder, rows=str(Path(__file__)), factor="much")
    with pytest.raises(InvalidArgument, match="rows: expected a path, paths, or data"):
        there_and_back(folder, rows=3)
    assert not folder.exists()


def test_a_wrong_element_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"rows\[1\]\.number"):
        there_and_back(tmp_path, rows=[ROWS[0], {"word": "x", "number": "many"}])
    with pytest.raises(ValidationError, match=r"rows\[0\]"):
        there_and_back(tmp_path, rows=[Empty()])


def test_a_real_module_takes_them_too(tmp_path: Path) -> None:
    assert Counter.TRAIN_SIGNATURE is not None
    given = read_given(Counter.TRAIN_SIGNATURE, {"rows": ROWS, "factor": 3}, folder=tmp_path)
    assert given.parameters["factor"] == 3


def test_a_repetition_has_the_same_files_under_names_of_its_own(
    tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    first = make_job(id="first", log_path=str(tmp_path / "first.log"))
    values = {"rows": ROWS, "base": Empty("kept"), "words": [str(tmp_path)]}
    given = read_given(SIGNATURE, values, folder=data_folder(first.log_path))
    again = make_job(
        id="again",
        log_path=str(tmp_path / "again.log"),
        parameters=json.dumps(given.parameters),
        model_paths=given.model_paths,
    )
    carried = carry_over(again, "first")
    shutil.rmtree(data_folder(first.log_path))
    found = decode_arguments(
        SIGNATURE, json.loads(carried.parameters or ""), model_paths=carried.model_paths
    )
    assert list(found["rows"]) == ROWS
    assert found["base"].value == "kept"
    assert found["words"] == [str(tmp_path)]
    assert carry_over(again, "nobody") == again
