"""How deep JSON is nested, told cheaply for ordinary bodies."""

from typing import Any

import msgspec

from kitfox.errors import ValidationError

__all__ = ["check_depth"]

_decode = msgspec.json.Decoder().decode


def check_depth(body: bytes, limit: int) -> None:
    """Refuses JSON whose arrays and objects are nested deeper than `limit`.

    A body with no more brackets than that cannot be, which is most of them.

    Raises:
        ValidationError: It is nested deeper.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep(limit) from None
    except (msgspec.MsgspecError, UnicodeError):
        return  # whoever reads it says what is wrong
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = _inside(level)
        if not level:
            return
    raise _too_deep(limit)


def _inside(level: list[Any]) -> list[Any]:
    """The arrays and objects that are directly in some others."""
    return [
        item
        for parent in level
        for item in (parent.values() if parent.__class__ is dict else parent)
        if item.__class__ is dict or item.__class__ is list
    ]


def _too_deep(limit: int) -> ValidationError:
    message = f"the JSON is nested deeper than {limit} levels (setting server.max_json_depth)"
    return ValidationError.at((), message, kind="depth")
