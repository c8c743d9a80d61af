"""The work that `data.py` measures, done by one implementation in a process of its own.

    python data_work.py kitfox|caikit

Prints a JSON object: seconds for each piece of work.
"""

import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

IMPLEMENTATION = sys.argv[1]

started = time.perf_counter()
if IMPLEMENTATION == "kitfox":
    from kitfox.data import DataObjectBase, codec_of, dataobject
else:
    from caikit.core import DataObjectBase, dataobject
imported = time.perf_counter() - started


@dataobject(package="bench")
class Scalars(DataObjectBase):
    """Four scalar fields."""

    text: str
    number: int
    ratio: float
    flag: bool


@dataobject(package="bench")
class Point(DataObjectBase):
    """A nested object."""

    x: int
    y: float
    name: str


@dataobject(package="bench")
class Path(DataObjectBase):
    """A hundred nested objects."""

    points: list[Point]


def per_call(work: Callable[[], Any], seconds: float = 0.4) -> float:
    """The median time of a call, over repetitions that together take about `seconds`."""
    work()
    begin = time.perf_counter()
    work()
    rounds = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-7)))
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(rounds):
            work()
        times.append((time.perf_counter() - begin) / rounds)
    return statistics.median(times)


def fill_body(body: dict[str, Any]) -> None:
    """The body of a class of four fields."""
    body["__annotations__"] = {"a": str, "b": int, "c": float, "d": bool}
    body["__module__"] = __name__


def define() -> float:
    """The time to define a class of four fields."""
    times = []
    for index in range(50):
        begin = time.perf_counter()
        cls = types.new_class(f"Defined{index}", (DataObjectBase,), {}, fill_body)
        dataobject(package="bench.defined")(cls)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def read_path(path: Any) -> float:
    """Reads every field of the nested objects."""
    total = 0.0
    for point in path.points:
        total += point.x + point.y + len(point.name)
    return total


def main() -> None:
    """Does everything once and prints it."""
    scalars = Scalars(text="Hello World", number=12345, ratio=0.5, flag=True)
    proto = scalars.to_proto()
    binary = proto.SerializeToString()
    text = scalars.to_json()
    nested = Path(points=[Point(x=i, y=i / 2, name=f"point {i}") for i in range(100)])
    nested_proto = nested.to_proto()
    message = type(proto)
    results = {
        "import": imported,
        "define": define(),
        "upb alone": per_call(lambda: message.FromString(binary).SerializeToString()),
        "bytes": per_call(lambda: Scalars.from_binary_buffer(binary).to_binary_buffer()),
        "from_proto": per_call(lambda: Scalars.from_proto(proto)),
        "from_json": per_call(lambda: Scalars.from_json(text)),
        "to_json": per_call(scalars.to_json),
        "nested": per_call(lambda: _round(nested_proto)),
    }
    if IMPLEMENTATION == "kitfox":
        codec = codec_of(Scalars)
        data = text.encode()
        results["server bytes"] = per_call(lambda: codec.encode(codec.decode(binary)))
        results["server json in"] = per_call(lambda: codec.decode_json(data))
        results["server json out"] = per_call(lambda: codec.encode_json(scalars))
    print(json.dumps(results))


def _round(proto: Any) -> Any:
    path = Path.from_proto(proto)
    read_path(path)
    return path.to_proto()


main()
