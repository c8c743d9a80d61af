"""Loads that failed: remembered for a while, so that a broken model is not loaded at each call."""

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import (
    Code,
    Internal,
    KitfoxError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from kitfox.models.identity import Files
from kitfox.models.load_output import log_of
from kitfox.modules import ModelConfigError
from kitfox.modules.manifest import DamagedModel, IncompleteModel

__all__ = [
    "NOTHING",
    "NOWHERE",
    "Failures",
    "LoadFailure",
    "load_failure",
    "not_found",
    "reason_of",
    "too_slow",
]

NOWHERE, NOTHING = Path(), Files(marks=frozenset(), size=0)
"""Where a model lies, and what it is, that could not be brought from a remote store."""

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFailure:
    """The last load of a model that failed."""

    message: str
    """What callers are told."""
    code: Code
    """The status that goes with it."""
    reason: str
    """What the module, or the store, said."""
    log: tuple[str, ...]
    """The last lines of what was printed and logged, and where it was raised."""
    when: datetime.datetime
    """When it failed."""
    times: int
    """How often in a row."""
    retry_at: float
    """When the same files may be tried again, of the clock of `Failures`."""
    path: Path
    """What was loaded."""
    files: Files
    """What was there."""

    @property
    def is_remote(self) -> bool:
        """Whether it could not even be brought from a remote store."""
        return self.path == NOWHERE

    def error(self) -> KitfoxError:
        """The error for one more caller."""
        return KitfoxError(self.message, code=self.code)


class Failures:
    """The models that did not load.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, LoadFailure] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def get(self, model_id: str) -> LoadFailure | None:
        """The last failure of a model that has not been loaded since."""
        return self._found.get(model_id)

    def standing(self, model_id: str, path: Path, files: Files | None) -> LoadFailure | None:
        """The failure, if to load these files now would only repeat it."""
        failure = self._found.get(model_id)
        if failure is None or self._clock() >= failure.retry_at:
            return None
        same = files is not None and failure.path == path and failure.files == files
        return failure if same else None

    def note(
        self, model_id: str, path: Path, files: Files, error: KitfoxError, cause: BaseException
    ) -> LoadFailure:
        """Remembers a failure; the pause until the next attempt doubles each time."""
        last = self._found.get(model_id)
        times = last.times + 1 if last is not None and last.files == files else 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (times - 1), _LONGEST_PAUSE_SECONDS)
        failure = LoadFailure(
            message=error.message,
            code=error.code,
            reason=reason_of(cause),
            log=log_of(cause),
            when=datetime.datetime.now(datetime.UTC),
            times=times,
            retry_at=self._clock() + pause,
            path=path,
            files=files,
        )
        self._found[model_id] = failure
        return failure

    def forget(self, model_id: str) -> None:
        """Lets the model be tried again at once."""
        self._found.pop(model_id, None)


def reason_of(cause: BaseException) -> str:
    """What an exception says of itself."""
    text = cause.message if isinstance(cause, KitfoxError) else str(cause)
    return text or type(cause).__name__


def load_failure(model_id: str, cause: BaseException) -> KitfoxError:
    """What callers are told when a model did not load."""
    if isinstance(cause, IncompleteModel | DamagedModel | NotFound):
        return cause
    if isinstance(cause, ResourceExhausted | Unavailable):
        message = f"Model {model_id} cannot be loaded now: {cause.message}"
        if isinstance(cause, ResourceExhausted):
            return ResourceExhausted(message, cause.retry_after)
        return Unavailable(message)
    # A folder that is there and does not say what it is: not the caller's mistake.
    damaged = isinstance(cause, ModelConfigError)
    if isinstance(cause, FileNotFoundError | ValueError) and not damaged:
        return not_found(model_id, cause)
    return Internal(f"Model {model_id} failed to load. Nested error: {reason_of(cause)}")


def too_slow(seconds: float) -> Unavailable:
    """A load that was given up."""
    return Unavailable(f"it did not load within {seconds:g} s (setting models.load_seconds)")


def not_found(model_id: str, cause: BaseException) -> KitfoxError:
    """What callers are told when there is nothing to load."""
    return KitfoxError(
        f"Model {model_id} not found. Nested error: {reason_of(cause)}", code=Code.NOT_FOUND
    )
