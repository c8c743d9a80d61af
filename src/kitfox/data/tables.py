"""CSV -> typed elements: a loop written for one class and one header, compiled once per file.

The loop converts the ordinary row in a few operations. A row that does not fit is converted again,
cell by cell, which either succeeds or names the column at fault.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kitfox.data.annotations import FieldDraft, read_fields
from kitfox.data.data_file import DataFile
from kitfox.data.file_errors import DataFileError
from kitfox.data.files import (
    csv_fault,
    csv_reader,
    open_text,
    ragged_row,
    reader_error,
)
from kitfox.data.json_reader import JsonReader, names_of
from kitfox.data.json_text import parse_json
from kitfox.data.oneofs import member_slot, value_slot
from kitfox.data.schema import Field, Kind, Member, Schema, Shape, schema_of
from kitfox.data.source import Source
from kitfox.data.values import FLOAT32_MAX
from kitfox.errors import ValidationError

__all__ = ["check_columns", "read_table"]

_TRUTH = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}
_JSON_KINDS = (Kind.MESSAGE, Kind.STRUCT, Kind.ANY)
_LONG = 18
"""Texts of up to so many characters are integers of 64 bits."""

Cell = Callable[[str], Any]
Column = tuple[Field, Member | None]


def read_table(path: DataFile, element_type: Any) -> Iterator[Any]:
    """The rows of a CSV file with a header as typed elements.

    Columns are found by the names of the fields; others are passed over. A field that is neither
    optional nor has a default needs its column, unless it holds several values.
    """
    schema = schema_of(element_type)
    with open_text(path) as file:
        reader = csv_reader(file)
        try:
            header = _header(path, reader)
            table = _Table(path, schema or _single(element_type), header)
            rows = table.rows(reader)
            yield from rows if schema is not None else (row.value for row in rows)
        except (reader_error(), UnicodeDecodeError) as error:
            raise csv_fault(path, reader, error) from None


def _header(path: DataFile, reader: Any) -> list[str]:
    for row in reader:
        if row:
            return [name.strip() for name in row]
    raise DataFileError(path, "the file has no rows, not even a header")


class _Row:
    """Stands for the data object of a table whose elements are single values."""

    value: Any = None


def _single(element_type: Any) -> Schema:
    """A schema of one field, for elements that are no data objects."""
    fields = read_fields(
        "an element",
        [FieldDraft(name="value", annotation=element_type)],
        namespaces=({}, {}),
        reserved=frozenset(),
        shared_sequences={},
        optional=None,
    )
    return Schema(cls=_Row, package="", name="value", fields=fields)


class _Table:
    """Converts the rows below one header.

    Args:
        path: Of the file, for errors.
        schema: Of the elements.
        header: The names of the columns.
    """

    def __init__(self, path: DataFile, schema: Schema, header: list[str]) -> None:
        self._path = path
        self._schema = schema
        self._header = header
        self._columns = self._match()
        self._cells = [None if column is None else _cell(*column) for column in self._columns]

    def rows(self, reader: Any) -> Iterator[Any]:
        """The elements of the rows that follow."""

        def exactly(row: list[str], number: int) -> Any:
            return self._convert(row, number, reader.line_num)

        rows: Iterator[Any] = self._compile()(enumerate(filter(None, reader), 1), exactly)
        return rows

    def _match(self) -> list[Column | None]:
        """The field of each column; none for columns that are passed over."""
        if self._schema.cls is _Row:
            if len(self._header) != 1:
                raise DataFileError(
                    self._path,
                    f"expected one column of single values, got {len(self._header)}: "
                    f"{', '.join(self._header)}",
                )
            return [(self._schema.fields[0], None)]
        names = names_of(self._schema, protobuf=True)
        columns = [names.get(name) for name in self._header]
        fields = [column[0].name for column in columns if column is not None]
        twice = {name for name in fields if fields.count(name) > 1}
        unions = {field.name for field in self._schema.fields if field.shape is Shape.UNION}
        if twice - unions:
            raise DataFileError(self._path, f"two columns for {', '.join(sorted(twice - unions))}")
        check_columns(self._path, self._schema, self._header)
        return columns

    def _compile(self) -> Any:
        source = Source("def rows(reader, exactly):")
        new, cls = source.name(object.__new__, "new"), source.name(self._schema.cls, "cls")
        source.add("for number, row in reader:")
        source.add("try:", depth=2)
        cells = ", ".join(f"c{index}" for index in range(len(self._header)))
        source.add(f"{cells}, = row", depth=3)
        source.add(f"self = {new}({cls})", depth=3)
        for field in self._schema.fields:
            indexes = [
                index
                for index, column in enumerate(self._columns)
                if column is not None and column[0] is field
            ]
            self._add_field(source, field, indexes)
        if hasattr(self._schema.cls, "__post_init__"):
            source.add("self.__post_init__()", depth=3)
        source.add("except (ValueError, TypeError, KeyError):", depth=2)
        source.add("yield exactly(row, number)", depth=3)
        source.add("else: yield self", depth=2)
        return source.function(f"{self._schema.full_name} rows")

    def _add_field(self, source: Source, field: Field, indexes: list[int]) -> None:
        add = source.add
        if field.shape is Shape.UNION:
            union = source.name(self._union(field, indexes), "union")
            add(f"{union}(self, row)", depth=3)
        elif not indexes:
            missing = source.name(_maker(field), "missing")
            add(f"self.{field.name} = {missing}()", depth=3)
        else:
            _add_cell(source, field, f"c{indexes[0]}", self._cells[indexes[0]])

    def _union(self, field: Field, indexes: list[int]) -> Callable[[Any, list[str]], None]:
        """What sets a union from its columns, of which at most one may be filled."""
        value, member = value_slot(field.name), member_slot(field.name)

        def fill(self_: Any, row: list[str]) -> None:
            filled = [index for index in indexes if row[index] != ""]
            if len(filled) > 1:
                names = " and ".join(self._header[index] for index in filled)
                raise ValueError(f"{names} are alternatives; fill one of them")
            name, content = None, None
            for index in filled or indexes[:1]:
                column, cell = self._columns[index], self._cells[index]
                if cell is not None and column is not None and filled:
                    content = cell(row[index])
                    name = None if column[1] is None else column[1].name
            setattr(self_, value, field.make_default() if content is None else content)
            setattr(self_, member, name)

        return fill

    def _convert(self, row: list[str], number: int, line: int) -> Any:
        """A row, cell by cell."""
        if len(row) != len(self._header):
            raise ragged_row(self._path, self._header, row, number, line)
        result = object.__new__(self._schema.cls)
        column = None
        try:
            for field in self._schema.fields:
                indexes = [
                    index
                    for index, entry in enumerate(self._columns)
                    if entry is not None and entry[0] is field
                ]
                column = self._header[indexes[0]] if indexes else None
                if field.shape is Shape.UNION:
                    self._union(field, indexes)(result, row)
                else:
                    cell = self._cells[indexes[0]] if indexes else None
                    content = _maker(field)() if cell is None else cell(row[indexes[0]])
                    setattr(result, field.name, content)
            column = None
            if hasattr(self._schema.cls, "__post_init__"):
                result.__post_init__()
        except (ValueError, TypeError) as error:
            message = str(error)
            raise DataFileError(self._path, message, row=number, line=line, column=column) from None
        return result


def check_columns(path: DataFile, schema: Schema, header: Sequence[str]) -> None:
    """Raises `DataFileError` if a table lacks a column for a field that must have one.

    Args:
        path: Of the table.
        schema: Of its rows.
        header: The columns as the file names them.
    """
    names = names_of(schema, protobuf=True)
    fields = {names[column][0].name for column in header if column in names}
    missing = [
        field.name for field in schema.fields if field.name not in fields and _needs_column(field)
    ]
    if missing:
        raise DataFileError(
            path,
            f"the column {', '.join(map(repr, missing))} is missing; the file has the columns "
            f"{', '.join(header)}",
        )


def _needs_column(field: Field) -> bool:
    return field.shape is Shape.ONE and not (field.nullable or field.presence or field.has_default)


def _maker(field: Field) -> Callable[[], Any]:
    """What makes the value of a field without a column."""
    if field.has_default or field.shape is Shape.ONE:
        return field.make_default
    return dict if field.shape is Shape.MAP else list


def _add_cell(source: Source, field: Field, text: str, cell: Any) -> None:
    """The lines that set an attribute from a cell; what is unusual raises `ValueError`."""
    add, target = source.add, f"self.{field.name}"
    kind = field.value.kind if field.shape is Shape.ONE else None
    empty = f"None if {text} == '' else " if field.nullable or field.presence else ""
    if kind is Kind.TEXT:
        add(f"{target} = {text}", depth=3)
    elif kind is Kind.INT:
        add(f"if '_' in {text} or len({text}) > {_LONG}: raise ValueError", depth=3)
        add(f"{target} = value = {empty}int({text})", depth=3)
        if field.value.high < 2**63 - 1 or field.value.low == 0:
            test = f"{field.value.low} <= value <= {field.value.high}"
            add(f"if value is not None and not {test}: raise ValueError", depth=3)
    elif kind is Kind.FLOAT:
        add(f"if '_' in {text}: raise ValueError", depth=3)
        add(f"{target} = value = {empty}float({text})", depth=3)
        if field.value.name == "float32":
            add(f"if value is not None and abs(value) > {FLOAT32_MAX}: raise ValueError", depth=3)
    elif kind is Kind.BOOL:
        add(f"{target} = {empty}{source.name(_TRUTH, 'truth')}[{text}]", depth=3)
    else:
        add(f"{target} = {source.name(cell, 'cell')}({text})", depth=3)


def _cell(field: Field, member: Member | None) -> Cell:
    """What converts the text of a cell, exactly.

    It raises `ValueError`. Lists, maps and objects are JSON in their cell.
    """
    if member is not None:
        shape = Shape.LIST if member.repeated else Shape.ONE
        field = Field(name=member.name, shape=shape, value=member.value, nullable=True)
    json = field.shape not in (Shape.ONE, Shape.UNION) or field.value.kind in _JSON_KINDS
    text_field = field.shape is Shape.ONE and field.value.kind is Kind.TEXT
    may_be_empty = field.nullable or field.presence or field.shape is not Shape.ONE

    def convert(text: str) -> Any:
        if text == "" and not text_field and may_be_empty:
            return _maker(field)() if not field.has_default else None
        value: Any = text if text_field else _plain(field, text.strip())
        try:
            return JsonReader().read_field(field, parse_json(value) if json else value)
        except ValidationError as error:
            raise ValueError(str(error)) from None

    return convert


def _plain(field: Field, text: str) -> str | int | float:
    """A cell as the JSON rules want it: Python's `nan` and `inf`, enums by number."""
    if field.shape is Shape.ONE and field.value.kind is Kind.FLOAT:
        lowered = text.lower().lstrip("+-")
        if lowered in ("nan", "inf", "infinity"):
            return float(text)
    if field.shape is Shape.ONE and field.value.kind is Kind.ENUM:
        return int(text) if text.lstrip("-").isdecimal() else text
    return text
