"""The descriptor set of a library as a file: what `protoc --descriptor_set_out` would write."""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from kitfox.errors import InvalidArgument, NotFound
from kitfox.services import MethodTable
from kitfox.services.descriptors import descriptor_set

__all__ = ["read_descriptors", "write_descriptors"]


def write_descriptors(table: MethodTable, path: Path) -> FileDescriptorSet:
    """Writes the descriptor set of a method table, and returns it.

    The same table gives the same bytes.

    Args:
        table: The methods.
        path: Of the file; its folder is made where it is missing.
    """
    files = descriptor_set(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files.SerializeToString(deterministic=True))
    return files


def read_descriptors(path: Path) -> FileDescriptorSet:
    """Reads a file that `write_descriptors` or protoc wrote.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It is no descriptor set.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise NotFound(f"cannot read {path}: {err.strerror}") from err
    try:
        files = FileDescriptorSet.FromString(data)
    except DecodeError as err:
        raise InvalidArgument(_refused(path)) from err
    if not files.file or not all(file.name for file in files.file):
        raise InvalidArgument(_refused(path))
    return files


def _refused(path: Path) -> str:
    return f"{path} is no set of descriptors; `kitfox export descriptors FILE` writes one"
