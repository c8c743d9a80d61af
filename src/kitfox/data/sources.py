"""Where the data of a training comes from: the messages that name it, and how they are read.

A training request has a `DataStreamSource<Element>` for each data stream of the `train` method;
`open_data_stream` makes a stream of typed elements of it. Nothing is read before the training
iterates; what is wrong then names file, row and column.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Union

from kitfox.data.bucket_address import BucketAddress
from kitfox.data.codec import codec_of, convert_json_value
from kitfox.data.data_file import DataFile
from kitfox.data.definition import dataobject, make_dataobject
from kitfox.data.file_errors import DataFileError
from kitfox.data.files import (
    files_of,
    jsonl_texts,
    read_parquet,
)
from kitfox.data.json_arrays import array_items, begins_array
from kitfox.data.json_text import parse_json
from kitfox.data.markers import FieldNumber, OneofField
from kitfox.data.object_store import S3Object, objects_in_bucket
from kitfox.data.objects import DataObjectBase
from kitfox.data.schema import schema_of
from kitfox.data.streams import DataStream
from kitfox.data.tables import check_columns, read_table
from kitfox.errors import InvalidArgument, ValidationError

__all__ = [
    "Directory",
    "File",
    "FileReference",
    "ListOfFileReferences",
    "S3Base",
    "S3Files",
    "S3Path",
    "bucket_objects",
    "make_data_stream_source",
    "open_data_stream",
]

PACKAGE = "caikit_data_model.common"


@dataobject(PACKAGE)
class File(DataObjectBase):
    """A file with its content."""

    data: bytes
    filename: Annotated[str | None, FieldNumber(2)]
    type: Annotated[str | None, FieldNumber(3)]


@dataobject(PACKAGE)
class FileReference(DataObjectBase):
    """A file where the server finds it."""

    filename: str


@dataobject(PACKAGE)
class ListOfFileReferences(DataObjectBase):
    """Files where the server finds them."""

    files: list[str]


@dataobject(PACKAGE)
class Directory(DataObjectBase):
    """The files of a folder with one extension."""

    dirname: str
    extension: str


@dataobject(PACKAGE)
class S3Base(DataObjectBase):
    """An S3 bucket and how to reach it."""

    endpoint: Annotated[str, FieldNumber(2)]
    region: Annotated[str, FieldNumber(3)]
    bucket: Annotated[str, FieldNumber(4)]
    accessKey: Annotated[str, FieldNumber(5)]  # noqa: N815 # the name on the wire
    secretKey: Annotated[str, FieldNumber(6)]  # noqa: N815 # the name on the wire
    IAM_id: Annotated[str, FieldNumber(7)]
    IAM_api_key: Annotated[str, FieldNumber(8)]


@dataobject(PACKAGE)
class S3Files(S3Base):
    """Files in an S3 bucket."""

    files: Annotated[list[str], FieldNumber(1)]


@dataobject(PACKAGE)
class S3Path(S3Base):
    """A path in an S3 bucket."""

    path: Annotated[str, FieldNumber(1)]


def make_data_stream_source(element_type: Any, package: str) -> type[DataObjectBase]:
    """The message class that names where the elements of a data stream come from.

    Args:
        element_type: A data object class, or a type such as `int` or `str`.
        package: Of the message.

    Returns:
        The class `DataStreamSource<Element>`, always the same for the same arguments.
    """
    return _make_source(element_type, package)


@cache
def _make_source(element_type: Any, package: str) -> type[DataObjectBase]:
    element = element_type.__name__
    name = f"DataStreamSource{element[:1].upper()}{element[1:]}"
    json_data = make_dataobject(
        name=f"{name}JsonData",
        annotations={"data": list[element_type]},
        attrs={"__doc__": "The elements themselves."},
        package=package,
    )
    members = (
        Annotated[json_data, OneofField("jsondata")],
        Annotated[FileReference, OneofField("file")],
        Annotated[ListOfFileReferences, OneofField("list_of_files")],
        Annotated[Directory, OneofField("directory")],
        Annotated[S3Files, OneofField("s3files")],
    )
    return make_dataobject(
        name=name,
        annotations={"data_stream": Union[members]},  # noqa: UP007 # made at run time
        attrs={"__doc__": f"Where the {element} elements come from."},
        package=package,
    )


def open_data_stream(
    source: Any, element_type: Any, *, base_dir: Path | None = None
) -> DataStream[Any]:
    """The stream of typed elements that a source message stands for.

    Args:
        source: An object of a class of `make_data_stream_source`; nothing set in it, or none at
            all, is an empty stream.
        element_type: A data object class, or a type such as `int` or `str`.
        base_dir: Where relative file names begin; by default the working directory.

    Returns:
        A stream that reads while it is iterated, and again for each further reading. Reading
        raises `DataFileError` for what cannot be read, with file, row and column.
    """
    content = None if source is None else source.data_stream
    base = base_dir or Path()
    match content:
        case None:
            return DataStream.from_iterable([])
        case FileReference():
            return DataStream(_read_file, base / (content.filename or ""), element_type)
        case ListOfFileReferences():
            paths = [base / name for name in content.files or []]
            return DataStream(_read_files, paths, element_type)
        case Directory():
            folder = base / (content.dirname or "")
            return DataStream(_read_folder, folder, content.extension or "json", element_type)
        case S3Files():
            return DataStream(_read_bucket, content, element_type)
        case _:
            return DataStream.from_iterable(content.data or [])


def _read_bucket(content: S3Files, element_type: Any) -> Iterator[Any]:
    """The elements of objects in a bucket, one object after the other."""
    for item in bucket_objects(content):
        yield from _read_any(item, element_type)


def bucket_objects(content: S3Files) -> list[S3Object]:
    """The objects that a source names; nothing is asked of the service yet."""
    if content.IAM_id or content.IAM_api_key:
        raise InvalidArgument(
            "S3Files: IAM_id and IAM_api_key are not supported; give accessKey and secretKey"
        )
    address = BucketAddress(
        endpoint=content.endpoint or "",
        region=content.region or "",
        bucket=content.bucket or "",
        access_key=content.accessKey or "",
        secret_key=content.secretKey or "",
    )
    return objects_in_bucket(address, content.files or [])


def _read_files(paths: list[Path], element_type: Any) -> Iterator[Any]:
    for path in paths:
        yield from _read_file(path, element_type)


def _read_file(path: Path, element_type: Any) -> Iterator[Any]:
    """The elements of a file, by its extension."""
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} does not exist or is no file")
    try:
        yield from _read_any(path, element_type)
    except PermissionError as error:
        raise DataFileError(path, f"the file cannot be read: {error.strerror}") from None


def _read_any(path: DataFile, element_type: Any) -> Iterator[Any]:
    extension = path.suffix.lower()
    read = _reader_of(extension) if extension else _read_unnamed
    yield from read(path, element_type)


def _reader_of(extension: str) -> Callable[[DataFile, Any], Iterator[Any]]:
    readers = {
        ".json": _read_json_array,
        ".jsonl": _read_jsonl,
        ".csv": read_table,
        ".parquet": _read_parquet,
    }
    if extension not in readers:
        raise InvalidArgument(
            f"Extension not supported! {extension}; supported are {', '.join(readers)}"
        )
    return readers[extension]


def _read_unnamed(path: DataFile, element_type: Any) -> Iterator[Any]:
    """A file without extension: what it begins with tells what it is."""
    from kitfox.data.multipart import is_multipart, read_multipart

    head = _head(path)
    if begins_array(head):
        yield from _read_json_array(path, element_type)
    elif head.lstrip().startswith((b"{", b'"')):
        yield from _read_jsonl(path, element_type)
    elif is_multipart(head):
        read = _value_reader(path, element_type)
        for number, value in enumerate(read_multipart(path), 1):
            yield read(value, row=number)
    else:
        yield from read_table(path, element_type)


def _read_json_array(path: DataFile, element_type: Any) -> Iterator[Any]:
    read = _text_reader(path, element_type)
    with path.open("rb") as file:
        for number, text in enumerate(array_items(path, file), 1):
            yield read(text, row=number)


def _read_jsonl(path: DataFile, element_type: Any) -> Iterator[Any]:
    read = _text_reader(path, element_type)
    for number, text in jsonl_texts(path):
        yield read(text, line=number)


def _read_parquet(path: DataFile, element_type: Any) -> Iterator[Any]:
    read = _value_reader(path, element_type)
    schema = schema_of(element_type)
    for number, value in enumerate(read_parquet(path), 1):
        if number == 1 and schema is not None:
            check_columns(path, schema, list(value))
        yield read(value, row=number)


def _read_folder(folder: Path, extension: str, element_type: Any) -> Iterator[Any]:
    """The elements of all files of a folder; a JSON file is one element, or an array of them."""
    ending = extension.lstrip(".")
    read_file = _reader_of(f".{ending}")
    paths = files_of(folder, ending)
    if not paths:
        raise InvalidArgument(
            f"directory {folder} contains no source files with extension {ending}"
        )
    for path in paths:
        if ending != "json" or begins_array(_head(path)):
            yield from read_file(path, element_type)
        else:
            yield _text_reader(path, element_type)(path.read_bytes())


def _head(path: DataFile) -> bytes:
    with path.open("rb") as file:
        head: bytes = file.read(4096)
        return head


def _text_reader(path: DataFile, element_type: Any) -> Callable[..., Any]:
    """What makes an element of the text of JSON; names that a data object lacks are passed over."""
    if schema_of(element_type) is not None:
        decode = partial(codec_of(element_type).decode_protobuf_json, ignore_unknown=True)
    else:
        decode = partial(_decode_value, element_type)
    return partial(_placed, path, decode)


def _value_reader(path: DataFile, element_type: Any) -> Callable[..., Any]:
    """The same for parsed JSON."""
    if schema_of(element_type) is not None:
        convert = partial(codec_of(element_type).convert_protobuf_json, ignore_unknown=True)
    else:
        convert = partial(convert_json_value, element_type)
    return partial(_placed, path, convert)


def _decode_value(element_type: Any, text: bytes) -> Any:
    return convert_json_value(element_type, parse_json(text))


def _placed(
    path: DataFile,
    read: Callable[[Any], Any],
    value: Any,
    *,
    row: int | None = None,
    line: int | None = None,
) -> Any:
    """What `read` makes of a value; its refusal is told with the place in the file."""
    try:
        return read(value)
    except ValidationError as error:
        fault = error.fields[0]
        column = fault.where or None
        raise DataFileError(path, fault.message, row=row, line=line, column=column) from None
