"""JSON text -> parsed JSON, with every way in which text can be no JSON told as a fault."""

import json
import re
from typing import Any

import msgspec

from kitfox.errors import ValidationError

__all__ = ["parse_json"]

_decode = msgspec.json.Decoder().decode
_NON_FINITE = re.compile(rb"NaN|Infinity")


def parse_json(data: bytes | str) -> Any:
    """Parse JSON. Bare `NaN` and `Infinity`, as Python writes them, are taken.

    Raises:
        ValidationError: It is no JSON, holds a number that no computer number can hold, is nested
            too deeply, or is not UTF-8.
    """
    try:
        return _decode(data)
    except msgspec.ValidationError as error:
        raise ValidationError.at(
            (), f"the JSON holds a number that is too large: {error}", kind="range"
        ) from None
    except msgspec.DecodeError as error:
        return _parse_leniently(data, str(error))
    except UnicodeError as error:
        raise ValidationError.at((), f"the JSON is not UTF-8: {error}", kind="utf8") from None
    except RecursionError:
        raise _too_deep() from None


def _parse_leniently(data: bytes | str, why: str) -> Any:
    """Python's own parser, for the one thing that it takes besides."""
    fault = ValidationError.at((), f"the text is no JSON: {why}", kind="json")
    try:
        raw = data.encode() if isinstance(data, str) else bytes(data)
        if not _NON_FINITE.search(raw):
            raise fault
        value = json.loads(raw.decode())
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except UnicodeError:
        raise ValidationError.at((), "the JSON is not UTF-8", kind="utf8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise fault from None
    return value


def _too_deep() -> ValidationError:
    return ValidationError.at((), "the JSON is nested too deeply", kind="depth")
