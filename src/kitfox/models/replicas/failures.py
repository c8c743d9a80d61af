"""Errors as plain data, on their way between processes.

A `KitfoxError` keeps its code, its message and the fields at fault. `ValueError` and `TypeError`,
by which a model says that its input is wrong, keep their class. Everything else is a `ReplicaError`
on the other side, which outside becomes one neutral sentence; its trace is for the log.
"""

import asyncio
import sys
import traceback
from typing import Any, TypeAlias

from kitfox.errors import (
    AlreadyExists,
    Cancelled,
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    FieldError,
    Internal,
    InvalidArgument,
    KitfoxError,
    NotFound,
    ResourceExhausted,
    Unavailable,
    ValidationError,
)

__all__ = ["Failure", "RemoteTrace", "ReplicaError", "error_of", "failure_of"]

Failure: TypeAlias = dict[str, Any]
"""An error as it travels: `kind`, `message`, and by kind `code`, `fields`, `retry_after`, `name`;
`trace`."""

_CLASSES: dict[Code, type[KitfoxError]] = {
    cls.code: cls
    for cls in (
        *(AlreadyExists, Cancelled, DeadlineExceeded, FailedPrecondition, Internal),
        *(InvalidArgument, NotFound, ResourceExhausted, Unavailable),
    )
}
_BUILTIN: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "TypeError": TypeError,
    "FileNotFoundError": FileNotFoundError,
}


class RemoteTrace(Exception):
    """The stack trace of an error in another process, as its cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"in the replica:\n{self.text}"


class ReplicaError(Exception):
    """What a model raised in a replica, and what is nobody's business outside.

    Args:
        name: The class of what was raised.
        message: Its text.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name


def failure_of(error: BaseException) -> Failure:
    """An error as plain data."""
    failure = _without_trace(error)
    failure["trace"] = "".join(traceback.format_exception(error))
    return failure


def _without_trace(error: BaseException) -> Failure:
    if isinstance(error, KitfoxError):
        fields = error.fields if isinstance(error, ValidationError) else ()
        return {
            "kind": "kitfox",
            "code": int(error.code),
            "message": error.message,
            "retry_after": getattr(error, "retry_after", None),
            "fields": [(item.path, item.message, item.kind) for item in fields],
        }
    if isinstance(error, asyncio.CancelledError):
        return _without_trace(Cancelled("the call was cancelled"))
    grpc = sys.modules.get("grpc")
    if grpc is not None and isinstance(error, grpc.RpcError) and hasattr(error, "code"):
        # Of a call that the model made: its status becomes the answer's.
        return _without_trace(
            KitfoxError(str(error.details() or ""), code=Code(error.code().value[0]))
        )
    for name, cls in _BUILTIN.items():
        if isinstance(error, cls):
            return {"kind": "builtin", "name": name, "message": str(error) or type(error).__name__}
    return {"kind": "other", "name": type(error).__name__, "message": str(error)}


def error_of(failure: Failure) -> Exception:
    """The error that stands for a failure in this process."""
    error = _error_of(failure)
    if failure.get("trace"):
        error.__cause__ = RemoteTrace(failure["trace"])
    return error


def _error_of(failure: Failure) -> Exception:
    message = failure["message"]
    match failure["kind"]:
        case "kitfox":
            code = Code(failure["code"])
            fields = [
                FieldError(path=tuple(path), message=text, kind=kind)
                for path, text, kind in failure["fields"]
            ]
            if fields:
                return ValidationError(fields)
            if code is Code.RESOURCE_EXHAUSTED:
                return ResourceExhausted(message, failure["retry_after"])
            return _CLASSES.get(code, KitfoxError)(message, code=code)
        case "builtin":
            return _BUILTIN[failure["name"]](message)
        case _:
            return ReplicaError(failure["name"], message)
