"""Errors by caikit's names are Kitfox's errors, with the right codes."""

import pickle

import grpc
import pytest

from kitfox.errors import Code, InvalidArgument, KitfoxError
from kitfox.toolkit.author_errors import (
    AbortedException,
    CaikitCoreException,
    CaikitCoreStatusCode,
    CaikitRuntimeException,
    DataValidationError,
)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("NOT_FOUND", Code.NOT_FOUND),
        ("INVALID_ARGUMENT", Code.INVALID_ARGUMENT),
        ("CONNECTION_ERROR", Code.UNAVAILABLE),
        ("UNAUTHORIZED", Code.UNAUTHENTICATED),
        ("FORBIDDEN", Code.PERMISSION_DENIED),
        ("UNKNOWN", Code.UNKNOWN),
        ("FATAL", Code.INTERNAL),
    ],
)
def test_each_status_has_its_code(status: str, code: Code) -> None:
    error = CaikitCoreException(CaikitCoreStatusCode[status], "gone")
    assert isinstance(error, KitfoxError)
    assert error.code is code
    assert str(error) == error.message == "gone"
    assert error.status_code.name == status
    assert len(error.id) == 32


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_each_status_of_grpc_has_its_code(status: grpc.StatusCode) -> None:
    error = CaikitRuntimeException(status, "said so", {"a": "b"})
    expected = "UNKNOWN" if status is grpc.StatusCode.OK else status.name
    assert error.code is Code[expected]
    assert error.status_code is status
    assert str(error) == error.message == "said so"
    assert error.metadata == {"a": "b", "error_id": error.id}


def test_an_aborted_call_is_aborted() -> None:
    error = AbortedException()
    assert isinstance(error, CaikitRuntimeException)
    assert error.code is Code.ABORTED
    assert error.status_code is grpc.StatusCode.ABORTED


@pytest.mark.parametrize(
    "error",
    [
        CaikitCoreException(CaikitCoreStatusCode.FATAL, "broken"),
        CaikitRuntimeException(grpc.StatusCode.NOT_FOUND, "gone"),
        AbortedException(),
        DataValidationError("empty", 3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes(error: KitfoxError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 # our own
    assert type(again) is type(error)
    assert (str(again), again.code, vars(again)) == (str(error), error.code, vars(error))


def test_wrong_training_data_says_which_item() -> None:
    assert str(DataValidationError("r", 3)) == "Training data validation failed on item 3. r"
    assert str(DataValidationError("r")) == "Training data validation failed: r"
    assert isinstance(DataValidationError("r"), InvalidArgument)
