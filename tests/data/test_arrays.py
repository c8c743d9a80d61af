"""numpy's types: scalars as field types and as values, and one-dimensional arrays."""

import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kitfox.data import DataObjectBase, codec_of, dataobject

PACKAGE = "tests.arrays"


@dataobject(PACKAGE)
class Vector(DataObjectBase):
    values: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]


@dataobject(PACKAGE)
class Plain(DataObjectBase):
    whole: int
    real: float
    flag: bool
    reals: list[float]
    wholes: list[np.int32]


def test_an_array_is_a_repeated_field() -> None:
    values, counts = Vector.get_proto_class().DESCRIPTOR.fields
    assert (values.is_repeated, values.type) == (True, values.TYPE_FLOAT)
    assert (counts.is_repeated, counts.type) == (True, counts.TYPE_INT64)


def test_an_array_comes_back_as_an_array() -> None:
    vector = Vector(np.array([0.5, 1.5], dtype=np.float32), np.array([1, 2]))
    for back in (Vector.from_proto(vector.to_proto()), Vector.from_json(vector.to_json())):
        assert back == vector
        assert back.values.dtype == np.float32
        assert back.counts.dtype == np.int64
    assert Vector.from_binary_buffer(b"").values.shape == (0,)
    assert codec_of(Vector).encode_json(vector) == b'{"values":[0.5,1.5],"counts":[1,2]}'


def test_arrays_are_compared_as_a_whole() -> None:
    first = Vector(np.array([1.0], dtype=np.float32), np.array([1]))
    assert first == Vector(np.array([1.0], dtype=np.float32), np.array([1]))
    assert first != Vector(np.array([1.0, 2.0], dtype=np.float32), np.array([1]))
    assert first != Vector.from_json({})


def test_numpy_scalars_are_taken_for_pythons() -> None:
    made = Plain(
        np.int64(3),  # type: ignore[arg-type] # what is tested
        np.float32(0.5),  # type: ignore[arg-type] # what is tested
        np.True_,  # type: ignore[arg-type] # what is tested
        np.array([1.5, 2.5]),  # type: ignore[arg-type] # what is tested
        np.array([1, 2], dtype=np.int32),  # type: ignore[arg-type] # what is tested
    )
    back = Plain.from_proto(made.to_proto())
    assert back == Plain(3, 0.5, True, [1.5, 2.5], [1, 2])  # type: ignore[list-item] # plain ints
    assert type(back.whole) is int
    assert type(back.flag) is bool
    assert codec_of(Plain).encode_json(made) == (
        b'{"whole":3,"real":0.5,"flag":true,"reals":[1.5,2.5],"wholes":[1,2]}'
    )


@pytest.mark.parametrize(
    ("field", "value"), [("whole", np.float64(1.5)), ("real", np.array([1.0, 2.0])), ("flag", 1)]
)
def test_numpy_values_of_other_types_are_refused(field: str, value: Any) -> None:
    made = Plain.from_json({})
    setattr(made, field, value)
    with pytest.raises(TypeError, match=rf"Plain\.{field}: expected"):
        made.to_proto()
    with pytest.raises(TypeError, match=rf"Plain\.{field}: expected"):
        codec_of(Plain).encode_json(made)


def test_numpy_field_types_give_plain_values(kinds: ModuleType) -> None:
    read = kinds.Scalars.from_proto(kinds.Scalars(int32=3, float32=0.5).to_proto())
    assert (type(read.int32), type(read.float32)) == (int, float)


def test_numpy_is_not_imported_unless_it_is_used() -> None:
    code = (
        "import sys, kitfox.data as d\n"
        "d.make_dataobject(name='A', annotations={'x': list[float]}, package='p')"
        ".from_json({'x': [1]}).to_binary_buffer()\n"
        "print('numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
