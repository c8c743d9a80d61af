"""Errors that authors' code raises by caikit's names; each is a `KitfoxError` with its code.

A module raises one of them, the server answers with the status that it stands for.
"""

import enum
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitfox.errors import Code, InvalidArgument, KitfoxError

if TYPE_CHECKING:
    import grpc

__all__ = [
    "AbortedException",
    "CaikitCoreException",
    "CaikitCoreStatusCode",
    "CaikitRuntimeException",
    "DataValidationError",
]


class CaikitCoreStatusCode(enum.Enum):
    """What went wrong, in words that know no protocol."""

    NOT_FOUND = 1
    """Something that was named does not exist."""
    INVALID_ARGUMENT = 2
    """The input is wrong."""
    CONNECTION_ERROR = 3
    """Another system cannot be reached."""
    UNAUTHORIZED = 4
    """It is not known who is calling."""
    FORBIDDEN = 5
    """The caller may not do this."""
    UNKNOWN = 6
    """Nothing more is known."""
    FATAL = 7
    """A defect."""


_CODES = {
    CaikitCoreStatusCode.NOT_FOUND: Code.NOT_FOUND,
    CaikitCoreStatusCode.INVALID_ARGUMENT: Code.INVALID_ARGUMENT,
    CaikitCoreStatusCode.CONNECTION_ERROR: Code.UNAVAILABLE,
    CaikitCoreStatusCode.UNAUTHORIZED: Code.UNAUTHENTICATED,
    CaikitCoreStatusCode.FORBIDDEN: Code.PERMISSION_DENIED,
    CaikitCoreStatusCode.UNKNOWN: Code.UNKNOWN,
    CaikitCoreStatusCode.FATAL: Code.INTERNAL,
}


class CaikitCoreException(KitfoxError):
    """A failure in a module.

    Args:
        status_code: What kind of failure.
        message: One sentence for the caller.
    """

    def __init__(self, status_code: CaikitCoreStatusCode, message: str) -> None:
        super().__init__(message, code=_CODES[status_code])
        self.args = (status_code, message)  # so that it can be pickled
        self.status_code = status_code
        self.id = uuid.uuid4().hex

    def __str__(self) -> str:
        return self.message


class CaikitRuntimeException(KitfoxError):
    """A failure with a status of gRPC.

    Args:
        status_code: The status; `OK` is none for a failure and becomes UNKNOWN outside.
        message: One sentence for the caller.
        metadata: Kept with the exception; the id of the error is added as `error_id`.
    """

    def __init__(
        self,
        status_code: "grpc.StatusCode | Code",
        message: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        code = Code[status_code.name]
        super().__init__(message, code=Code.UNKNOWN if code is Code.OK else code)
        self.status_code = status_code
        self.id = uuid.uuid4().hex
        self.metadata = {**(metadata or {}), "error_id": self.id}
        self.args = (status_code, message, metadata)  # so that it can be pickled

    def __str__(self) -> str:
        return self.message


class AbortedException(CaikitRuntimeException):
    """The work was given up because nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__(_aborted(), "The call was aborted")
        self.args = ()


def _aborted() -> "grpc.StatusCode | Code":
    try:
        import grpc  # only clients need it
    except ImportError:
        return Code.ABORTED
    return grpc.StatusCode.ABORTED


class DataValidationError(InvalidArgument):
    """Training data with a mistake in it.

    Args:
        reason: What is wrong.
        item_number: Which item, where that is known.
    """

    def __init__(self, reason: str, item_number: int | None = None) -> None:
        where = ": " if item_number is None else f" on item {item_number}. "
        super().__init__(f"Training data validation failed{where}{reason}")
        self.args = (reason, item_number)  # so that it can be pickled
        self.reason = reason
        self.item_number = item_number

    def __str__(self) -> str:
        return self.message
