"""Keeps the keys and passwords of a training's parameters out of whatever is shown of it.

The store has them whole, as the training may be begun again. What is shown are the parameters
without them, and texts (reasons, logs) in which they do not appear.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kitfox.errors import JobNotFound

__all__ = ["HIDDEN", "Redactions", "redact_text", "redacted", "secrets_of"]

HIDDEN = "***"
"""What is shown in the place of a secret."""

_NAMES = frozenset({"secretkey", "accesskey", "iamapikey", "iamid"})
_WRITTEN = re.compile("secret_?key|access_?key|iam_?api_?key|iam_?id|://", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")
_SHORTEST = 4
"""Shorter ones would blank half of any text."""
_KEPT = 256


def redacted(value: Any) -> Any:
    """A JSON value with the secrets in it blanked, at any depth, and wherever they are repeated."""
    return _blanked(value, _longest_first(_secrets(value)))


def _blanked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if item and _is_secret(key) else _blanked(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_blanked(item, secrets) for item in value]
    return redact_text(_USER.sub(HIDDEN, value), secrets) if isinstance(value, str) else value


def secrets_of(parameters: str) -> tuple[str, ...]:
    """The secrets in the text of a job's parameters, the longest first."""
    # Parameters may be as large as the data that they bring: most are never parsed.
    if not _WRITTEN.search(parameters):
        return ()
    return _longest_first(_secrets(json.loads(parameters)))


def _longest_first(found: Iterable[str]) -> tuple[str, ...]:
    kept = {text for text in found if len(text) >= _SHORTEST}
    return tuple(sorted(kept, key=len, reverse=True))


def redact_text(text: str, secrets: tuple[str, ...]) -> str:
    """A text with secrets blanked."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _is_secret(key: str) -> bool:
    return key.replace("_", "").lower() in _NAMES


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and _is_secret(key):
                yield item
            else:
                yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
    elif isinstance(value, str):
        yield from _USER.findall(value)


class Redactions:
    """The secrets of jobs, remembered: parameters are read once for many texts.

    Args:
        parameters: Gives a job's parameters as JSON text.
    """

    def __init__(self, parameters: Callable[[str], str]) -> None:
        self._parameters = parameters
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, job_id: str, text: str) -> str:
        """A text of a job without its secrets; nothing of one that is just being removed."""
        if not text:
            return text
        try:
            return redact_text(text, self._secrets(job_id))
        except JobNotFound:
            return HIDDEN

    def _secrets(self, job_id: str) -> tuple[str, ...]:
        with self._lock:
            known = self._known.get(job_id)
            if known is not None:
                self._known.move_to_end(job_id)
                return known
        found = secrets_of(self._parameters(job_id))
        with self._lock:
            self._known[job_id] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found
