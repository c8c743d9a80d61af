from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Annotated, Any, Dict, List, Optional, Union  # noqa: UP035 -- both spellings

import pytest

from kitfox.data import DataStream
from kitfox.modules.annotation import (
    accepts,
    derives,
    describe,
    element_type,
    is_stream,
    returns,
    same,
)


class Animal:
    pass


class Fox(Animal):
    pass


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (List[str], list[str]),  # noqa: UP006
        (Dict[str, List[int]], dict[str, list[int]]),  # noqa: UP006
        (Optional[int], int | None),  # noqa: UP045
        (Union[int, str], str | int),  # noqa: UP007
        (Annotated[int, "a remark"], int),
        (list[Annotated[int, "a remark"]], list[int]),
        (None, type(None)),
        (Callable[[int], str], Callable[[int], str]),
    ],
)
def test_the_same_type_in_two_spellings_is_the_same(first: Any, second: Any) -> None:
    assert same(first, second)
    assert not same(first, float)


def test_a_class_derives_from_itself_and_its_parents() -> None:
    assert derives(Fox, Fox)
    assert derives(Fox, Animal)
    assert not derives(Animal, Fox)
    assert not derives(list[Fox], list[Animal])
    assert not derives(None, Animal)


def test_a_parameter_accepts_its_type_and_unions_with_it() -> None:
    assert accepts(str, str)
    assert accepts(str | int, str)
    assert accepts(Annotated[str | None, "a remark"], str)
    assert accepts(str | int | None, int | str)
    assert not accepts(str, str | int)
    assert not accepts(Animal, Fox)


def test_a_result_may_be_derived_and_one_of_a_union() -> None:
    assert returns(Fox, Animal)
    assert returns(Fox | None, Animal)
    assert not returns(Animal, Fox)


@pytest.mark.parametrize(
    ("annotation", "element"),
    [
        (Iterable[str], str),
        (DataStream[int], int),
        (Optional[DataStream[int]], int),  # noqa: UP045
        (Generator[int, None, None], int),
        (AsyncIterator[Fox], Fox),
        (str, None),
        (int | None, None),
    ],
)
def test_element_type_is_what_a_stream_yields(annotation: Any, element: Any) -> None:
    assert element_type(annotation) is element


def test_streams_are_iterables_with_an_element_type_but_no_containers() -> None:
    assert is_stream(Iterable[str])
    assert is_stream(DataStream[str])
    assert is_stream(AsyncIterator[str])
    assert not is_stream(Iterable)
    assert not is_stream(list[str])
    assert not is_stream(dict[str, int])
    assert not is_stream(str)


def test_annotations_are_described_as_they_are_written() -> None:
    assert describe(int) == "int"
    assert describe(list[str]) == "list[str]"
    assert describe(Optional[List[Fox]]) == "list[Fox] | None"  # noqa: UP006, UP045
    assert describe(Iterable[Fox]) == "Iterable[Fox]"
    assert describe(Annotated[Fox, "a remark"]) == "Fox"
    assert describe(None) == "nothing"
