"""The error of data files: it names the file, the row or line, and the column."""

from kitfox.data.data_file import DataFile
from kitfox.errors import InvalidArgument

__all__ = ["DataFileError"]


class DataFileError(InvalidArgument):
    """Something in a data file that cannot be read.

    Args:
        path: The file.
        message: What was wrong and what was expected.
        row: The number of the data row or item, from 1; a header does not count.
        line: The number of the line in the file, from 1.
        column: The name of the column or field.
    """

    def __init__(
        self,
        path: str | DataFile,
        message: str,
        *,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.path = str(path)
        self.row = row
        self.line = line
        self.column = column
        where = self.path
        if row is not None:
            where += f", row {row}"
        if line is not None:
            where += f" (line {line})" if row is not None else f", line {line}"
        if column is not None:
            where += f", column {column!r}"
        super().__init__(f"{where}: {message}")
