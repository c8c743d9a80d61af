"""Files -> elements, one at a time; every fault with the file and the row, line or item.

The functions are generators: a file is open while somebody reads, and never in memory as a whole.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from kitfox.data.data_file import DataFile
from kitfox.data.file_errors import DataFileError
from kitfox.data.json_arrays import array_items
from kitfox.data.json_text import parse_json
from kitfox.errors import ValidationError

__all__ = ["existing_file", "files_of", "open_text"]

_BOM = b"\xef\xbb\xbf"


def existing_file(filename: str | Path) -> Path:
    """The path of a file.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(filename)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return path


def files_of(dirname: str | Path, extension: str) -> list[Path]:
    """The files of a folder with an extension, in the order of their names.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    folder = Path(dirname)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    ending = "." + extension.lstrip(".")
    return sorted(path for path in folder.iterdir() if path.suffix == ending and path.is_file())


def open_text(path: DataFile) -> IO[str]:
    """A text file, opened for reading as UTF-8, with or without a byte order mark."""
    return path.open("r", encoding="utf-8-sig", newline="")


def read_csv(path: Path, *args: Any, skip: int = 0, **kwargs: Any) -> Iterator[list[str]]:
    """The rows of a CSV file; rows without any cell are passed over."""
    with open_text(path) as file:
        yield from csv_rows(path, file, *args, skip=skip, **kwargs)


def csv_rows(
    path: DataFile, file: Any, *args: Any, skip: int = 0, **kwargs: Any
) -> Iterator[list[str]]:
    """The rows of an open CSV file."""
    reader = csv_reader(file, *args, **kwargs)
    number = 0
    while True:
        try:
            row = next(reader, None)
        except (ValueError, reader_error()) as error:
            raise csv_fault(path, reader, error) from None
        if row is None:
            return
        number += bool(row)
        if row and number > skip:
            yield row


def csv_reader(file: Any, *args: Any, **kwargs: Any) -> Any:
    """A `csv.reader` that takes cells of any length."""
    import csv
    import sys

    if (
        csv.field_size_limit() < 2**31 - 1
    ):  # the module's own limit is 128 KiB, less than an article
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    return csv.reader(file, *args, **kwargs)


def reader_error() -> type[Exception]:
    """What `csv` raises."""
    import csv

    return csv.Error


def csv_fault(path: DataFile, reader: Any, error: Exception) -> DataFileError:
    """The error for a row that `csv` could not read."""
    line = reader.line_num + 1
    if isinstance(error, UnicodeDecodeError):
        return DataFileError(path, f"the file is not UTF-8, at or after line {line}: {error}")
    return DataFileError(path, str(error), line=line)


def read_header_csv(path: Path, *args: Any, **kwargs: Any) -> Iterator[dict[str, str]]:
    """The rows of a CSV file as dictionaries."""
    with open_text(path) as file:
        yield from header_csv_rows(path, file, *args, **kwargs)


def header_csv_rows(
    path: DataFile, file: Any, *args: Any, **kwargs: Any
) -> Iterator[dict[str, str]]:
    """The rows of an open CSV file as dictionaries."""
    rows = csv_rows(path, file, *args, **kwargs)
    header = next(rows, None)
    if header is None:
        raise DataFileError(path, "the file has no rows, not even a header")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ragged_row(path, header, row, number)
        yield dict(zip(header, row, strict=True))


def ragged_row(
    path: DataFile, header: list[str], row: list[str], number: int, line: int | None = None
) -> DataFileError:
    """The error for a row that is longer or shorter than the header."""
    return DataFileError(
        path,
        f"the row has {len(row)} cells and the header {len(header)} ({', '.join(header)})",
        row=number,
        line=line,
    )


def read_txt(path: Path) -> Iterator[str]:
    """The lines of a text file."""
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):  # noqa: B007 # used in the error
                yield line.removesuffix("\n")
        except UnicodeDecodeError as error:
            raise DataFileError(
                path, f"the file is not UTF-8, at or after line {number + 1}: {error}"
            ) from None


def read_whole_text(path: Path) -> str:
    """The content of a text file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(path, f"the file is not UTF-8: {error}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return parse_json(path.read_bytes().removeprefix(_BOM))
    except ValidationError as error:
        raise DataFileError(path, str(error)) from None


def jsonl_texts(path: DataFile) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield number, text


def read_jsonl(path: Path) -> Iterator[Any]:
    """The JSON values of a file, one a line."""
    for number, text in jsonl_texts(path):
        try:
            value = parse_json(text)
        except ValidationError as error:
            raise DataFileError(path, str(error), line=number) from None
        yield value


def read_json_array(path: Path) -> Iterator[Any]:
    """The items of a JSON array."""
    with path.open("rb") as file:
        yield from json_array_items(path, file)


def json_array_items(path: DataFile, file: Any) -> Iterator[Any]:
    """The items of an open JSON array, which is read piece by piece."""
    for number, text in enumerate(array_items(path, file), 1):
        try:
            value = parse_json(text)
        except ValidationError as error:
            raise DataFileError(path, str(error), row=number) from None
        yield value


def read_parquet(path: DataFile) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, read batch by batch."""
    try:
        from pyarrow import ArrowInvalid, parquet  # type: ignore[import-not-found, import-untyped, unused-ignore] # optional
    except ImportError:
        raise ImportError(f"{path}: Parquet files need pyarrow; install kitfox[parquet]") from None
    try:
        with parquet.ParquetFile(path if isinstance(path, Path) else path.open("rb")) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise DataFileError(path, f"no readable Parquet file: {error}") from None
