"""How deep JSON is nested, told from its brackets alone, whatever else is wrong with it."""

import re
from collections.abc import Iterator
from itertools import accumulate

from kitfox.errors import ValidationError

__all__ = ["check_depth"]

_CHUNK = 64 * 1024
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
# Brackets as the steps that they make, one byte with a sign each; everything else goes.
_OPENING, _CLOSING = b"[{", b"]}"
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")
_OTHERS = bytes(set(range(256)) - set(_OPENING + _CLOSING))


def check_depth(body: bytes, limit: int) -> None:
    """Refuses JSON whose arrays and objects are nested deeper than `limit`.

    A body with no more brackets than that cannot be, which is most of them. Of others nothing is
    parsed: what that makes would take many times as much memory as the body.

    Raises:
        ValidationError: It is nested deeper.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = 0
    for text in _outside_strings(body):
        steps = memoryview(text.translate(_STEPS, _OTHERS)).cast("b")
        depths = list(accumulate(steps, initial=depth))
        if max(depths) > limit:
            message = f"the JSON is nested deeper than {limit} levels"
            raise ValidationError.at((), f"{message} (setting server.max_json_depth)", kind="depth")
        depth = depths[-1]


def _outside_strings(body: bytes) -> Iterator[bytes]:
    """What stands between the strings of a JSON text, piece by piece."""
    is_inside, rest = False, b""
    for start in range(0, len(body), _CHUNK):
        text = rest + body[start : start + _CHUNK]
        rest = b""
        if b"\\" in text:
            text = _ESCAPE.sub(b"", text)
            if text.endswith(b"\\"):
                # What it escapes is in the next piece.
                text, rest = text[:-1], b"\\"
        # Every second one is in a string.
        parts = text.split(b'"')
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0
