"""How a training is to be run, as its caller says in metadata or headers.

The requests themselves are caikit's, and have no place for it.
"""

from collections.abc import Mapping

from kitfox.errors import InvalidArgument
from kitfox.training import JobOptions

__all__ = ["training_options"]

_HIGHEST_PRIORITY = 1000
_MOST_RETRIES = 100
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


def training_options(metadata: Mapping[str, str]) -> JobOptions:
    """The options of a call that starts a training.

    Args:
        metadata: The call's: `kitfox-priority`, `kitfox-retries` and `kitfox-promote` count.

    Raises:
        InvalidArgument: A value that is none; the header is named.
    """
    priority = _number(metadata, "kitfox-priority", -_HIGHEST_PRIORITY, _HIGHEST_PRIORITY)
    return JobOptions(
        priority=priority,
        retries=_number(metadata, "kitfox-retries", 0, _MOST_RETRIES),
        promote=_flag(metadata, "kitfox-promote"),
    )


def _number(metadata: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = metadata.get(name)
    if text is None:
        return None
    try:
        value = int(text) if text.isascii() and len(text) < 10 else None
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise InvalidArgument(f"{name}: expected a number from {least} to {most}, got {text!r}")
    return value


def _flag(metadata: Mapping[str, str], name: str) -> bool | None:
    text = metadata.get(name)
    if text is None:
        return None
    if text.lower() not in _YES + _NO:
        raise InvalidArgument(f"{name}: expected true or false, got {text!r}")
    return text.lower() in _YES
