"""Reads a CSV file of four columns with one reader.

    python data_reading.py kitfox|caikit|csv CSV_FILE

Prints a JSON object: rows a second, and by how many MB (10^6 bytes) the process grew.
"""

import csv
import importlib
import json
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FIELDS = {"text": str, "label": str, "count": int, "score": float}


def kitfox_rows(file: str) -> Iterable[Any]:
    """As a training reads a file that its request names."""
    from kitfox.data import FileReference, make_data_stream_source, open_data_stream

    row = _row_class()
    source: Any = make_data_stream_source(row, "bench")
    return open_data_stream(source(data_stream=FileReference(file)), row, base_dir=Path("/"))


def caikit_rows(file: str) -> Iterable[Any]:
    """The same on caikit, whose stream gives texts by column."""
    row = _row_class()
    texts: Any = importlib.import_module("caikit.core.data_model").DataStream.from_header_csv(file)
    rows: Iterable[Any] = texts.map(lambda found: row.from_json(found, ignore_unknown_fields=True))
    return rows


def bare_rows(file: str) -> Iterable[Any]:
    """Lists of texts: what Python's library does."""
    with open(file, encoding="utf-8", newline="") as rows:  # noqa: PTH123 -- a text, as callers give it
        reader = csv.reader(rows)
        next(reader)
        yield from reader


def _row_class() -> Any:
    core = importlib.import_module("kitfox.data" if sys.argv[1] == "kitfox" else "caikit.core")
    namespace = {"__annotations__": FIELDS, "__module__": __name__}
    return core.dataobject(package="bench")(type("Row", (core.DataObjectBase,), namespace))


READERS = {"kitfox": kitfox_rows, "caikit": caikit_rows, "csv": bare_rows}


def main() -> None:
    """Reads all rows once."""
    rows = READERS[sys.argv[1]](sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    count = sum(1 for _ in rows)
    seconds = time.perf_counter() - begin
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"rate": count / seconds, "more": growth * 1024 / 1e6}))


main()
