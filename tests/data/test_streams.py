"""Streams: read again and again, one element at a time."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.data import DataStream
from kitfox.data.streams import counted


class Source:
    """Makes numbers and counts how many have been asked for."""

    def __init__(self, count: int = 10) -> None:
        self.count = count
        self.made = 0

    def __call__(self) -> Iterator[int]:
        for number in range(self.count):
            self.made += 1
            yield number


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def numbers(source: Source) -> DataStream[int]:
    return DataStream(source)


def test_a_stream_can_be_read_again(numbers: DataStream[int]) -> None:
    assert list(numbers) == list(numbers) == list(range(10))


def test_a_function_gets_its_arguments() -> None:
    assert list(DataStream(lambda start, *, end: range(start, end), 1, end=3)) == [1, 2]


def test_nothing_is_read_before_somebody_iterates(source: Source, numbers: DataStream[int]) -> None:
    stream: DataStream[Any] = numbers.map(lambda n: n + 1).filter(lambda n: n % 2) + numbers
    stream = stream.shuffle(3, seed=1).zip(stream)[0]
    assert source.made == 0
    assert len(list(stream)) == 15


def test_elements_are_read_one_by_one(source: Source, numbers: DataStream[int]) -> None:
    assert list(itertools.islice(numbers.map(lambda n: n * 2), 3)) == [0, 2, 4]
    assert source.made == 3
    assert numbers.peek() == 0
    assert source.made == 4


def test_map_passes_arguments_on(numbers: DataStream[int]) -> None:
    assert list(numbers.map(lambda n, k, *, p: n * k**p, 2, p=2))[:3] == [0, 4, 8]


def test_filter_passes_arguments_on(numbers: DataStream[int]) -> None:
    assert list(numbers.filter(lambda n, least: n >= least, 8)) == [8, 9]


def test_flatten_takes_lists_of_lists() -> None:
    assert list(DataStream.from_iterable([[1], (2, 3), []]).flatten()) == [1, 2, 3]
    for wrong in ([1], ["text"]):
        with pytest.raises(TypeError, match="only lists can be flattened"):
            list(DataStream.from_iterable(wrong).flatten())


def test_eager_reads_once_and_for_all(source: Source, numbers: DataStream[int]) -> None:
    kept = numbers.eager()
    assert source.made == 10
    assert list(kept) == list(kept) == list(range(10))
    assert source.made == 10


def test_peek_needs_an_element() -> None:
    with pytest.raises(IndexError, match="the stream is empty"):
        DataStream.from_iterable([]).peek()


def test_streams_are_chained(numbers: DataStream[int]) -> None:
    assert list(numbers.chain(numbers, numbers)) == [*range(10)] * 3
    assert list(DataStream.chain(numbers, numbers)) == list(numbers + numbers)
    with pytest.raises(TypeError, match="expected a DataStream, got list"):
        numbers.chain([1])  # type: ignore[arg-type] # what is tested
    with pytest.raises(TypeError, match="unsupported operand"):
        numbers + [1]  # type: ignore[operator] # noqa: RUF005 # what is tested


def test_streams_are_zipped(numbers: DataStream[int]) -> None:
    assert list(numbers.zip(numbers.map(str)))[:2] == [(0, "0"), (1, "1")]
    with pytest.raises(ValueError, match="argument 2 is"):
        list(numbers.zip(DataStream.from_iterable([1])))


def test_a_split_shares_out_all_elements(numbers: DataStream[int]) -> None:
    train, test = numbers.train_test_split(0.3, seed=5)
    assert sorted([*train, *test]) == list(range(10))
    assert list(train) == list(train)
    again, _ = numbers.train_test_split(0.3, seed=5)
    assert list(again) == list(train)
    unseeded, rest = numbers.train_test_split(0.5)
    assert sorted([*unseeded, *rest]) == list(range(10))
    assert [len(list(part)) for part in numbers.train_test_split(0.0)] == [10, 0]
    with pytest.raises(ValueError, match="a share from 0 to 1, got 2"):
        numbers.train_test_split(2)


@pytest.mark.parametrize("size", [1, 3, 10, 50])
def test_shuffle_keeps_all_elements(numbers: DataStream[int], size: int) -> None:
    mixed = numbers.shuffle(size, seed=3)
    assert sorted(mixed) == list(range(10))
    assert list(mixed) == list(mixed)


def test_shuffle_holds_no_more_than_its_buffer(source: Source, numbers: DataStream[int]) -> None:
    reading = iter(numbers.shuffle(4, seed=3))
    next(reading)
    assert source.made <= 5


def test_shuffle_changes_the_order() -> None:
    assert list(DataStream.from_iterable(range(100)).shuffle(100, seed=1)) != list(range(100))


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), ("x", TypeError), (True, TypeError)]
)
def test_shuffle_needs_a_size(numbers: DataStream[int], size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="buffer_size"):
        numbers.shuffle(size)


class Augmentor:
    """Counts up with each variant, from one after a reset."""

    def __init__(self) -> None:
        self.count = 0

    def reset(self) -> None:
        self.count = 0

    def augment(self, item: str) -> str:
        self.count += 1
        return f"{item}{self.count}"


def test_augment_adds_variants_after_the_elements() -> None:
    stream = DataStream.from_iterable(["a", "b"]).augment(Augmentor(), 2)
    assert list(stream) == ["a", "b", "a1", "b2", "a3", "b4"]
    assert list(stream) == ["a", "b", "a1", "b2", "a3", "b4"]
    free = DataStream.from_iterable(["a"]).augment(Augmentor(), 1, enforce_determinism=False)
    assert [*free, *free] == ["a", "a1", "a", "a2"]


def test_augment_may_vary_one_item_of_tuples() -> None:
    stream = DataStream.from_iterable([("a", 1)]).augment(
        str.upper, 1, augment_index=0, post_augment_func=lambda it: (it[0] * 2, it[1])
    )
    assert list(stream) == [("a", 1), ("AA", 1)]
    with pytest.raises(TypeError, match="expected a function"):
        stream.augment(5, 1)


def test_an_index_goes_to_the_elements() -> None:
    assert list(DataStream.from_iterable([(1, "a"), (2, "b")])[1]) == ["a", "b"]


def test_length_is_counted_once(source: Source, numbers: DataStream[int]) -> None:
    assert (len(numbers), len(numbers)) == (10, 10)
    assert source.made == 10


def test_lengths_follow_from_each_other_without_reading(
    source: Source, numbers: DataStream[int]
) -> None:
    assert len(numbers) == 10
    made = source.made
    assert len(numbers.map(str)) == len(numbers.shuffle(2)) == len(numbers.zip(numbers)[0]) == 10
    assert len(numbers + numbers.map(str)) == len(numbers.augment(str, 1)) == 20
    assert source.made - made == 20  # of zip, whose parts may not be equally long


def test_an_empty_stream_is_false(source: Source) -> None:
    assert DataStream(source)
    assert source.made == 1
    assert not DataStream.from_iterable([])


def test_a_stream_of_an_iterator_can_be_read_once() -> None:
    stream = DataStream.from_iterable(iter([1, 2, 3])).map(lambda n: n * 2)
    assert stream
    with pytest.raises(TypeError, match="can be read only once is not known"):
        len(stream)
    assert list(stream) == [2, 4, 6]
    with pytest.raises(RuntimeError, match="keep its elements with eager"):
        list(stream)
    kept = DataStream.from_iterable(iter([1, 2])).eager()
    assert list(kept) == list(kept) == [1, 2]


def test_a_stream_goes_through_a_module(numbers: DataStream[int]) -> None:
    class Doubler:
        def stream(self, stream: DataStream[int]) -> DataStream[int]:
            return stream.map(lambda n: n * 2)

    assert list(numbers | Doubler())[:2] == [0, 2]
    with pytest.raises(TypeError, match="unsupported operand"):
        numbers | 5  # what is tested


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DataStream(5),  # type: ignore[arg-type] # what is tested
        lambda: DataStream.from_iterable(5),  # type: ignore[arg-type] # what is tested
        lambda: DataStream.from_iterable([]).map(5),  # type: ignore[arg-type] # what is tested
        lambda: DataStream.from_iterable([]).filter("x"),  # type: ignore[arg-type] # what is tested
    ],
)
def test_what_cannot_be_called_or_iterated_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize(
    "read",
    [
        DataStream.from_csv,
        DataStream.from_header_csv,
        DataStream.from_json_array,
        DataStream.from_jsonl,
        DataStream.from_txt,
        DataStream.from_file,
        DataStream.from_parquet,
        DataStream.from_multipart_file,
        DataStream.from_json_collection,
        DataStream.from_txt_collection,
        DataStream.from_csv_collection,
        DataStream.from_jsonl_collection,
    ],
)
def test_what_is_not_there_is_told_at_once(read: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read(tmp_path / "absent")


def test_a_counted_stream_tells_of_each_reading_to_the_end() -> None:
    seen: list[int] = []
    stream = counted(DataStream.from_iterable(range(5)), seen.append)
    assert list(stream) == list(range(5))
    assert stream.peek() == 0, "a reading that breaks off is not told of"
    assert [number for number in stream.filter(lambda number: number > 2)] == [3, 4]  # noqa: C416 -- a list would ask for the length, which is a reading too
    assert seen == [5, 5]
    assert list(counted(DataStream.from_iterable([]), seen.append)) == []
    assert seen == [5, 5, 0]
    once = counted(DataStream.from_iterable(iter("ab")), seen.append)
    assert list(once) == ["a", "b"]
    with pytest.raises(RuntimeError, match="can be read only once"):
        list(once)


def test_batches_hold_the_elements_in_order(source: Source, numbers: DataStream[int]) -> None:
    whole = list(numbers)
    assert [item for batch in numbers.batches(2) for item in batch] == whole
    assert [len(batch) for batch in DataStream.from_iterable(range(5)).batches(2)] == [2, 2, 1]
    assert list(DataStream.from_iterable(range(5)).batches()) == [[0, 1, 2, 3, 4]]
    assert list(DataStream.from_iterable([]).batches()) == []
