"""What is sent: the same content to every server, in the form that each of them takes."""

import functools
import json
import struct
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent / "embedding"))

__all__ = ["MESSAGES", "POINTS", "TEXT", "as_json", "field", "path_message", "sentences"]

MESSAGES = 500
"""How many messages a stream has."""

TEXT = "All that is sent comes back. " * (2**20 // 29) + "x" * (2**20 % 29)
"""A mebibyte."""

POINTS: list[dict[str, Any]] = [
    {"x": number, "y": number / 2, "name": f"point {number}"} for number in range(100)
]
"""A hundred nested objects."""


def as_json(value: Any) -> bytes:
    """A REST body."""
    return json.dumps(value, separators=(",", ":")).encode()


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def field(number: int, value: bytes | str | float) -> bytes:
    """A field as protobuf writes it: text, bytes or a message; an integer; a double."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


@functools.cache
def path_message() -> bytes:
    """The points as a message: in field 1 the points, each with fields 1 to 3."""
    points = [
        field(1, point["x"]) * bool(point["x"])
        + field(2, point["y"]) * bool(point["y"])
        + field(3, point["name"])
        for point in POINTS
    ]
    return b"".join(field(1, point) for point in points)


@functools.cache
def sentences() -> list[str]:
    """The sentences to embed."""
    from sentences import mixed_sentences  # type: ignore[import-not-found] # lies beside the model

    found: list[str] = mixed_sentences()
    return found
