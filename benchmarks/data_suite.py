"""Reading training data: a CSV file row by row, each row into an object where there are such.

Each reader runs in a process and environment of its own; what it reads is made once.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.answers import WrongAnswer
from benchmarks.contestants import Contestant, Own, Place, python_of

if TYPE_CHECKING:
    from benchmarks.measurement import Figures, Options

__all__ = ["BARE", "reading"]

HERE = Path(__file__).resolve().parent


def write_csv(file: Path, rows: int) -> None:
    """A file of four columns: text, text, int, float."""
    with file.open("w", encoding="utf-8") as output:
        output.write("text,label,count,score\n")
        output.writelines(f"some text {i},label {i % 7},{i},{i / 8}\n" for i in range(rows))


def reading(reader: str, environment: str = "", part: int = 1) -> Own:
    """Reads the file.

    Args:
        reader: What `data_reading.py` calls it.
        environment: Where it is installed.
        part: One row in so many is enough to know its pace.
    """
    return functools.partial(_read, reader, environment, part)


def _read(
    reader: str, environment: str, part: int, place: Place, options: "Options"
) -> "dict[str, Figures]":
    file = place.folder / "rows.csv"
    if not file.exists():
        write_csv(file, max(1, options.rows // part))
    python = sys.executable if not environment else str(python_of(place.environments, environment))
    done = subprocess.run(
        [python, "-W", "ignore", str(HERE / "data_reading.py"), reader, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WrongAnswer(f"{reader} ended with {done.returncode}: {done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return {"data.csv": figures}


BARE = Contestant(
    name="csv.reader by itself",
    environment="",
    packages=(),
    own={"data": reading("csv")},
)
