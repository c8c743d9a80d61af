"""Typed classes and what they are on the wire; streams of them and where those come from.

An author's annotated class goes in; its protobuf message, its converters to and from bytes and
JSON come out, made once per class. Nothing here knows of servers or models.
"""

from kitfox.data.codec import Codec, codec_of, convert_json_value
from kitfox.data.definition import DEFAULT_PACKAGE, dataobject, make_dataobject
from kitfox.data.file_errors import DataFileError
from kitfox.data.json_dict import JsonDict, JsonValue
from kitfox.data.markers import Annotated, FieldNumber, OneofField
from kitfox.data.objects import DataObjectBase
from kitfox.data.sequences import BoolSequence, FloatSequence, IntSequence, StrSequence
from kitfox.data.sources import (
    Directory,
    File,
    FileReference,
    ListOfFileReferences,
    S3Base,
    S3Files,
    S3Path,
    make_data_stream_source,
    open_data_stream,
)
from kitfox.data.streams import DataStream
from kitfox.data.values import FieldValueError

__all__ = [
    "DEFAULT_PACKAGE",
    "Annotated",
    "BoolSequence",
    "Codec",
    "DataFileError",
    "DataObjectBase",
    "DataStream",
    "Directory",
    "FieldNumber",
    "FieldValueError",
    "File",
    "FileReference",
    "FloatSequence",
    "IntSequence",
    "JsonDict",
    "JsonValue",
    "ListOfFileReferences",
    "OneofField",
    "S3Base",
    "S3Files",
    "S3Path",
    "StrSequence",
    "codec_of",
    "convert_json_value",
    "dataobject",
    "make_data_stream_source",
    "make_dataobject",
    "open_data_stream",
]
