"""Vectors keep the width of their numbers, with numpy and without."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from kitfox.data import codec_of
from kitfox.interfaces.common.data_model import ProducerId
from kitfox.interfaces.common.data_model.vectors import (
    ListOfVector1D,
    NpFloat32Sequence,
    NpFloat64Sequence,
    PyFloatSequence,
    Vector1D,
)
from kitfox.interfaces.nlp.data_model import EmbeddingResult, EmbeddingResults

LIST_BYTES = "0a120a1000000000000008409a9999999999b93f"
FLOAT32_BYTES = "120a0a0800004040cdcccc3d"
FLOAT64_BYTES = "1a120a1000000000000008409a9999999999b93f"


class Tensor:
    """An array of another library, known by what it offers."""

    def __init__(self, values: list[float], dtype: str) -> None:
        self.values = values
        self.dtype = dtype
        self.shape = (len(values),)

    def __iter__(self) -> Any:
        return iter(self.values)

    def tolist(self) -> list[float]:
        return self.values


@pytest.mark.parametrize(
    ("vector", "member", "content"),
    [
        ([3.0, 0.1], "data_pyfloatsequence", LIST_BYTES),
        ((3, 0.1), "data_pyfloatsequence", LIST_BYTES),
        (np.asarray([3.0, 0.1], dtype=np.float32), "data_npfloat32sequence", FLOAT32_BYTES),
        (np.asarray([3.0, 0.1], dtype=np.float64), "data_npfloat64sequence", FLOAT64_BYTES),
        (np.asarray([3.0, 0, 0.1], dtype=">f8")[::2], "data_npfloat64sequence", FLOAT64_BYTES),
        (Tensor([3.0, 0.1], "torch.float32"), "data_npfloat32sequence", FLOAT32_BYTES),
        (Tensor([3.0, 0.1], "torch.bfloat16"), "data_pyfloatsequence", LIST_BYTES),
    ],
)
def test_a_vector_is_written_as_recorded(
    vector: Iterable[float], member: str, content: str
) -> None:
    made = Vector1D.from_vector(vector)
    assert made.which_oneof("data") == member
    assert made.to_binary_buffer().hex() == content
    again = Vector1D.from_binary_buffer(made.to_binary_buffer())
    assert again.which_oneof("data") == member
    assert again.data.values == pytest.approx([3.0, 0.1])
    assert type(again.data.values) is list


def test_a_generator_is_read_once() -> None:
    made = Vector1D.from_vector(number / 2 for number in range(3))
    assert made.data.values == [0.0, 0.5, 1.0]
    assert made.data.values == [0.0, 0.5, 1.0]


def test_whole_numbers_are_numbers() -> None:
    made = Vector1D.from_vector(np.asarray([1, 2], dtype=np.int32))
    assert made.data == PyFloatSequence(values=[1.0, 2.0])
    assert Vector1D.from_proto(made.to_proto()) == made


def test_an_array_is_not_copied() -> None:
    array = np.zeros(4, dtype=np.float32)
    assert Vector1D.from_vector(array).data.values is array


def test_an_empty_vector_is_a_vector() -> None:
    made = Vector1D.from_vector([])
    assert json.loads(made.to_json()) == {"data": {"values": []}}
    again = Vector1D.from_binary_buffer(made.to_binary_buffer())
    assert again.data == PyFloatSequence(values=[])


@pytest.mark.parametrize("vector", ["12", b"12", {1.0: 2.0}, 3.5, None])
def test_what_is_no_vector_is_refused(vector: Any) -> None:
    with pytest.raises(TypeError):
        Vector1D.from_vector(vector)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one dimension"):
        Vector1D.from_vector(np.zeros(shape))


def test_json_has_the_numbers_under_data_whatever_their_width() -> None:
    made = Vector1D.from_vector(np.asarray([3.0, 0.1], dtype=np.float32))
    assert made.to_json() == '{"data": {"values": [3.0, 0.10000000149011612]}}'
    assert json.loads(repr(made)) == {"data": {"values": [3.0, 0.10000000149011612]}}
    assert Vector1D.from_json(made.to_json()).data.values == made.data.values.tolist()
    assert Vector1D.from_json('{"data_npfloat64sequence": {"values": [1]}}').data == (
        NpFloat64Sequence(values=[1.0])
    )
    empty: Any = Vector1D
    assert empty().to_dict() == {"data": None}


@pytest.mark.parametrize("write", [EmbeddingResult.to_json, codec_of(EmbeddingResult).encode_json])
def test_a_vector_in_a_result_has_the_same_json(write: Callable[[Any], str | bytes]) -> None:
    result = EmbeddingResult(
        result=Vector1D.from_vector([3.0, 0.1]),
        producer_id=ProducerId(name="textkit", version="9.9.9"),
        input_token_count=1,
    )
    assert json.loads(write(result)) == {
        "result": {"data": {"values": [3.0, 0.1]}},
        "producer_id": {"name": "textkit", "version": "9.9.9"},
        "input_token_count": 1,
    }


def test_equality_looks_at_the_numbers_and_the_width() -> None:
    array = np.asarray([1.0, 2.0], dtype=np.float32)
    assert NpFloat32Sequence(values=array) == NpFloat32Sequence(values=[1.0, 2.0])
    assert NpFloat32Sequence(values=array) != NpFloat32Sequence(values=array[:1])
    assert NpFloat32Sequence(values=array) != NpFloat64Sequence(values=array)
    assert PyFloatSequence(values=[]) != PyFloatSequence(values=None)
    assert Vector1D.from_vector(array) == Vector1D(data=NpFloat32Sequence(values=array))
    with pytest.raises(TypeError, match="unhashable"):
        hash(NpFloat32Sequence(values=array))


def test_a_number_that_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        NpFloat32Sequence(values=[1e39]).to_proto()


def test_many_vectors_are_written_as_recorded() -> None:
    vectors = [
        Vector1D(NpFloat32Sequence(np.asarray([0.1], dtype=np.float32))),
        Vector1D(PyFloatSequence([1.5])),
    ]
    result = EmbeddingResults(
        results=ListOfVector1D(vectors=vectors),
        producer_id=ProducerId(name="textkit", version="9.9.9"),
        input_token_count=None,
    )
    assert result.to_binary_buffer().hex() == (
        "0a180a0812060a04cdcccc3d0a0c0a0a0a08000000000000f83f12100a07746578746b69741205392e392e39"
    )


def test_lists_need_no_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from kitfox.interfaces.nlp.data_model import EmbeddingResult\n"
        "from kitfox.interfaces.common.data_model import NpFloat32Sequence, Vector1D\n"
        "vector = Vector1D(NpFloat32Sequence([0.5]))\n"
        "assert Vector1D.from_proto(vector.to_proto()) == vector\n"
        "print(EmbeddingResult(Vector1D.from_vector([1.5])).to_binary_buffer().hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "0a0c0a0a0a08000000000000f83f\n")
