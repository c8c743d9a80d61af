"""Checks pass silently, or log under their code and raise."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.toolkit import error_checks, settings
from kitfox.toolkit.error_checks import ErrorHandler
from kitfox.toolkit.settings import Settings

Check = Callable[[ErrorHandler], None]


@pytest.fixture(autouse=True)
def error_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = Settings({"enable_error_checks": True}, environ={})
    monkeypatch.setattr(settings, "process_settings", lambda: made)
    return made


@pytest.fixture
def error() -> ErrorHandler:
    return error_checks.get(logging.getLogger("CHECKED"))


@pytest.mark.parametrize(
    "check",
    [
        lambda error: error.type_check("<A1E>", str, int, a="x", b=3),
        lambda error: error.type_check("<A1E>", str, allow_none=True, a=None),
        lambda error: error.type_check_all("<A1E>", str, a=["x"], b=("y",), c=[]),
        lambda error: error.type_check_all("<A1E>", str, allow_none=True, a=None),
        lambda error: error.subclass_check("<A1E>", bool, int, str),
        lambda error: error.value_check("<A1E>", 1 > 0, "never said {}"),
        lambda error: error.file_check("<A1E>", __file__),
        lambda error: error.dir_check("<A1E>", str(Path(__file__).parent)),
    ],
)
def test_what_is_right_passes(error: ErrorHandler, check: Check) -> None:
    check(error)


FAILURES: list[tuple[Check, type[Exception], str]] = [
    (
        lambda error: error.type_check("<A1E>", str, int, a=1.5),
        TypeError,
        "type check failed: variable `a` has type float, expected str, int",
    ),
    (lambda error: error.type_check("<A1E>", str, a=None), TypeError, "type check failed"),
    (
        lambda error: error.type_check_all("<A1E>", str, a=["x", 3]),
        TypeError,
        "type check failed: element 1 of `a` has type int, expected str",
    ),
    (lambda error: error.type_check_all("<A1E>", str, a="text"), TypeError, "type check failed"),
    (lambda error: error.subclass_check("<A1E>", int, str), TypeError, "subclass check failed"),
    (lambda error: error.subclass_check("<A1E>", 3, str), TypeError, "subclass check failed"),
    (
        lambda error: error.value_check("<A1E>", False, "size is {}, not {want}", 3, want=4),
        ValueError,
        "value check failed: size is 3, not 4",
    ),
    (
        lambda error: error.value_check("<A1E>", False, "as it is: {}"),
        ValueError,
        "value check failed: as it is: {}",
    ),
    (lambda error: error.file_check("<A1E>", "/no/file"), FileNotFoundError, "/no/file"),
    (lambda error: error.dir_check("<A1E>", "/no/folder"), FileNotFoundError, "/no/folder"),
    (lambda error: error.dir_check("<A1E>", __file__), NotADirectoryError, "is no folder"),
    (lambda error: error("<A1E>", KeyError("k")), KeyError, "k"),
]


@pytest.mark.parametrize(("check", "kind", "message"), FAILURES)
def test_what_is_wrong_is_logged_and_raised(
    error: ErrorHandler,
    caplog: pytest.LogCaptureFixture,
    check: Check,
    kind: type[Exception],
    message: str,
) -> None:
    with caplog.at_level(logging.ERROR, "CHECKED"), pytest.raises(kind) as caught:
        check(error)
    assert message in str(caught.value)
    assert [vars(record)["log_code"] for record in caplog.records] == ["<A1E>"]


def test_a_cause_is_kept(error: ErrorHandler) -> None:
    cause = OSError("disk")
    with pytest.raises(ValueError, match="outer") as caught:
        error.log_raise("<A1E>", ValueError("outer"), cause)
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize(("check", "kind", "message"), FAILURES[:-1])
def test_the_settings_turn_the_checks_off(
    error: ErrorHandler,
    error_settings: Settings,
    check: Check,
    kind: type[Exception],
    message: str,
) -> None:
    error_settings.configure(config_dict={"enable_error_checks": False})
    check(error)
