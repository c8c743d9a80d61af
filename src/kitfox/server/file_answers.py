"""Results that are files: a data object that overrides `to_file` is sent as what that writes."""

import asyncio
import io
from typing import Any
from urllib.parse import quote

from kitfox.data import DataObjectBase, File

__all__ = ["disposition", "file_answer"]

_ANY_TYPE = "application/octet-stream"


async def file_answer(result: DataObjectBase) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of an answer that is a file.

    Args:
        result: Of a class that overrides `to_file`; the `File` that it returns, if any, tells the
            file's name and type.
    """
    buffer = io.BytesIO()
    # An author's code, which may take its time.
    described: Any = await asyncio.to_thread(result.to_file, buffer)
    name = kind = ""
    if isinstance(described, File):
        name, kind = described.filename or "", described.type or ""
    headers = [
        (b"content-type", _content_type(kind).encode()),
        (b"content-disposition", disposition(name)),
    ]
    return headers, buffer.getvalue()


def _content_type(kind: str) -> str:
    if not kind or not kind.isascii() or not kind.isprintable() or "/" not in kind:
        return _ANY_TYPE
    if kind.startswith("text/") and "charset=" not in kind:
        return f"{kind}; charset=utf-8"
    return kind


def disposition(name: str) -> bytes:
    """The header that tells a client what a file may be called."""
    name = "".join(letter if letter.isprintable() else "_" for letter in name)
    if not name:
        return b"attachment"
    # Quotes stay as they are, as caikit's clients expect; what could be read as a parameter of the
    # header does not.
    if not set(name) & {";", "\\"}:
        try:
            return f'attachment; filename="{name}"'.encode("latin-1")
        except UnicodeEncodeError:
            pass
    plain = name.encode("ascii", "replace").decode()
    for letter in '";\\?':
        plain = plain.replace(letter, "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}".encode()
