"""One vocabulary of failure: a status code and a sentence that says what was wrong and where.

Every room raises :class:`KitfoxError` or one of its subclasses; only `server/grpc.py` and
`server/rest.py` know the numbers that a wire gives to a :class:`Code`. The hierarchy:

    KitfoxError
    |-- InvalidArgument          the caller sent something that cannot be accepted
    |   `-- ValidationError      ... and these are the fields at fault, each with its path
    |-- NotFound                 a name that the caller gave is not known
    |   |-- ModelNotFound
    |   `-- JobNotFound
    |-- AlreadyExists            a name that the caller gave is taken
    |-- FailedPrecondition       right in itself, but not in the present state
    |-- ResourceExhausted        a bound was reached; trying again later may help
    |   `-- DiskFull             ... and it is the disk's
    |-- Unavailable              what is needed is not there now; trying again may help
    |-- Cancelled, DeadlineExceeded
    `-- Internal                 a defect, here or in a module; details are in the log
"""

import enum
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = [
    "TRY_AGAIN_SECONDS",
    "AlreadyExists",
    "Cancelled",
    "Code",
    "DeadlineExceeded",
    "DiskFull",
    "FailedPrecondition",
    "FieldError",
    "Internal",
    "InvalidArgument",
    "JobNotFound",
    "KitfoxError",
    "ModelNotFound",
    "NotFound",
    "ResourceExhausted",
    "Unavailable",
    "ValidationError",
]


TRY_AGAIN_SECONDS = 1.0
"""When there may be room again where requests come and go."""

# A field's name may be a client's invention, as long as its request.
_LONGEST_NAME = 128


class Code(enum.IntEnum):
    """The outcome of a call; names and numbers are gRPC's."""

    OK = 0
    """The call did what was asked."""
    CANCELLED = 1
    """The caller, or an operator, stopped it."""
    UNKNOWN = 2
    """It failed and nothing more is known."""
    INVALID_ARGUMENT = 3
    """The request is wrong whatever the state of the server."""
    DEADLINE_EXCEEDED = 4
    """The caller's time was up before the answer was there."""
    NOT_FOUND = 5
    """Something that the request names does not exist."""
    ALREADY_EXISTS = 6
    """Something that the request wants to make exists."""
    PERMISSION_DENIED = 7
    """The caller is known and may not do this."""
    RESOURCE_EXHAUSTED = 8
    """A limit (queue, size, concurrency, disk) was reached."""
    FAILED_PRECONDITION = 9
    """The present state does not allow it; repeating without change will not help."""
    ABORTED = 10
    """A conflict with something that happened at the same time."""
    OUT_OF_RANGE = 11
    """A position past the end of what there is."""
    UNIMPLEMENTED = 12
    """There is no such method here."""
    INTERNAL = 13
    """A defect in the server or in a module."""
    UNAVAILABLE = 14
    """Not now; the same request may work later."""
    DATA_LOSS = 15
    """Stored data is damaged."""
    UNAUTHENTICATED = 16
    """It is not known who is calling."""


class KitfoxError(Exception):
    """The base of every error that Kitfox raises on purpose.

    Args:
        message: One sentence for the caller: what was wrong and what was expected.
        code: The status, where it differs from the class's own.
    """

    code: Code = Code.UNKNOWN

    def __init__(self, message: str, *, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidArgument(KitfoxError, ValueError):
    """The request is wrong in itself."""

    code = Code.INVALID_ARGUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One thing that is wrong with one field."""

    path: tuple[str | int, ...]
    """Where: field names and list positions from the outermost object inwards."""
    message: str
    """What was wrong and what was expected, without the path."""
    kind: str = "invalid"
    """A short machine-readable name, such as `type`, `missing`, `unknown`, `range`."""
    value: object = field(default=None, compare=False)
    """The offending value, as far as it may be shown to the caller."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.path else self.message

    @property
    def short_path(self) -> tuple[str | int, ...]:
        """The path with names that are no longer than a person may have chosen."""
        return tuple(_short(part) if isinstance(part, str) else part for part in self.path)

    @property
    def where(self) -> str:
        """The path as text: `points[3].x`."""
        text = ""
        for part in self.short_path:
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += f".{part}" if text else part
        return text


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


class ValidationError(InvalidArgument):
    """Fields of a request that are missing, unknown, or of the wrong type.

    Args:
        fields: Every field at fault; of very many the first ones are kept.
    """

    MOST = 100
    """How many fields are told of; whoever looks for faults may stop there."""

    def __init__(self, fields: Sequence[FieldError]) -> None:
        self.fields = tuple(fields[: self.MOST])
        super().__init__("; ".join(str(item) for item in self.fields))

    @classmethod
    def at(
        cls, path: Sequence[str | int], message: str, *, kind: str = "invalid", value: object = None
    ) -> "ValidationError":
        """A validation error of a single field."""
        return cls([FieldError(path=tuple(path), message=message, kind=kind, value=value)])

    def below(self, *prefix: str | int) -> "ValidationError":
        """The same error as seen from an object that holds the present one at `prefix`."""
        return ValidationError(
            [
                FieldError(
                    path=(*prefix, *item.path),
                    message=item.message,
                    kind=item.kind,
                    value=item.value,
                )
                for item in self.fields
            ]
        )


class NotFound(KitfoxError):
    """Something that the caller named does not exist."""

    code = Code.NOT_FOUND


def _listing(names: Iterable[str], most: int = 10) -> str:
    known = sorted(names)
    if not known:
        return "there are none"
    shown = ", ".join(known[:most])
    return f"{shown} and {len(known) - most} more" if len(known) > most else shown


class ModelNotFound(NotFound):
    """A model id that is neither loaded nor in the store.

    Args:
        model_id: What was asked for.
        known: The ids that exist; the first ones are named in the message.
        reason: Why it could not be had, where more than "there is none" is known.
    """

    def __init__(self, model_id: str, known: Iterable[str] = (), reason: str = "") -> None:
        self.model_id = model_id
        why = f" ({reason})" if reason else ""
        super().__init__(f"Model {model_id!r} not found{why}; known models: {_listing(known)}")


class JobNotFound(NotFound):
    """A training or prediction id that the job store does not hold."""

    def __init__(self, job_id: str, noun: str = "training_id") -> None:
        self.job_id = job_id
        super().__init__(f"Unknown {noun}: {job_id}")


class AlreadyExists(KitfoxError):
    """A name that is taken."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(KitfoxError):
    """The present state does not allow what was asked."""

    code = Code.FAILED_PRECONDITION


class ResourceExhausted(KitfoxError):
    """A bound was reached.

    Args:
        message: Which bound, its value, and the setting that changes it.
        retry_after: In how many seconds the same request may be accepted; None where trying again
            does not help, or nobody knows.
        code: The status, where it differs from the class's own.
    """

    code = Code.RESOURCE_EXHAUSTED

    def __init__(
        self, message: str, retry_after: float | None = None, *, code: Code | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class DiskFull(ResourceExhausted):
    """There is no room for something that had to be written.

    Args:
        what: What was being done, as it follows "while": `saving the model`.
        where: The folder or file that could not grow.
        needed: How many bytes it takes, at least; None if nobody knows.
        free: How many there are; None if nobody knows.
    """

    def __init__(
        self, what: str, where: str | os.PathLike[str], *, needed: int | None, free: int | None
    ) -> None:
        self.what = what
        self.where = os.fspath(where)
        self.needed = needed
        self.free = free
        facts = [
            *([] if needed is None else [f"at least {needed:,} bytes needed"]),
            *([] if free is None else [f"{free:,} bytes free"]),
        ]
        known = f": {', '.join(facts)}" if facts else ""
        super().__init__(f"The disk is full while {what}{known} at {self.where}")


class Unavailable(KitfoxError):
    """What is needed is not there now; trying again may help."""

    code = Code.UNAVAILABLE


class Cancelled(KitfoxError):
    """The caller, or an operator, stopped the work."""

    code = Code.CANCELLED


class DeadlineExceeded(KitfoxError):
    """The caller's time was up."""

    code = Code.DEADLINE_EXCEEDED


class Internal(KitfoxError):
    """A defect; what happened is in the log."""

    code = Code.INTERNAL
