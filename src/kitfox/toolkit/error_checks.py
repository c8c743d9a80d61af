"""Checks of arguments that say what was wrong, log it under a code, and raise.

    error = error_checks.get(log)
    error.type_check("<ABC12345678E>", str, name=name)
    error.value_check("<ABC12345679E>", size > 0, "size is {}, expected more than 0", size)

`enable_error_checks: false` in the settings turns the checks off.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from kitfox.toolkit.settings import get_config

__all__ = ["ErrorHandler", "get"]

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def get(log: Log) -> "ErrorHandler":
    """The checks that log to a channel."""
    return ErrorHandler(log)


class ErrorHandler:
    """Checks and raises, with a line in the log for each failure.

    Args:
        log: Where failures are noted.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(
        self, log_code: str, exception: Exception, root_exception: BaseException | None = None
    ) -> NoReturn:
        """The same as `log_raise`."""
        self.log_raise(log_code, exception, root_exception)

    def log_raise(
        self, log_code: str, exception: Exception, root_exception: BaseException | None = None
    ) -> NoReturn:
        """Notes an exception in the log and raises it.

        Args:
            log_code: Identifies the place in the code, such as `<ABC12345678E>`.
            exception: What is raised.
            root_exception: Its cause.
        """
        self._log.error(
            "exception raised: %r", exception, extra={"log_code": log_code}, stacklevel=2
        )
        raise exception from root_exception

    def type_check(
        self, log_code: str, *types: type, allow_none: bool = False, **variables: Any
    ) -> None:
        """Checks that every variable is of one of the types.

        Args:
            log_code: Identifies the check.
            *types: Those that are accepted.
            allow_none: Whether None is accepted too.
            **variables: Names and values.

        Raises:
            TypeError: One is of another type.
        """
        if not self._enabled:
            return
        for name, value in variables.items():
            if not isinstance(value, types) and not (allow_none and value is None):
                self._wrong_type(log_code, f"variable `{name}`", value, types, allow_none)

    def type_check_all(
        self, log_code: str, *types: type, allow_none: bool = False, **variables: Any
    ) -> None:
        """Checks that the items of every variable are of one of the types.

        Args:
            log_code: Identifies the check.
            *types: Those that are accepted.
            allow_none: Whether None in place of the items is accepted.
            **variables: Names, and what can be iterated.

        Raises:
            TypeError: An item is of another type, or a variable has no items.
        """
        if not self._enabled:
            return
        for name, value in variables.items():
            if allow_none and value is None:
                continue
            if isinstance(value, str) or not isinstance(value, Iterable):
                self._wrong_type(log_code, f"variable `{name}`", value, (Iterable,), allow_none)
            for index, item in enumerate(value):
                if not isinstance(item, types):
                    self._wrong_type(log_code, f"element {index} of `{name}`", item, types, False)

    def subclass_check(self, log_code: str, child_class: Any, *parent_classes: type) -> None:
        """Checks that a class derives from one of others.

        Raises:
            TypeError: It does not, or is no class.
        """
        if not self._enabled:
            return
        if not isinstance(child_class, type) or not issubclass(child_class, parent_classes):
            message = (
                f"subclass check failed: {child_class!r} is no subclass of {_names(parent_classes)}"
            )
            self.log_raise(log_code, TypeError(message))

    def value_check(
        self, log_code: str, condition: Any, text: str = "", /, *args: Any, **kwargs: Any
    ) -> None:
        """Checks that a condition holds.

        Args:
            log_code: Identifies the check.
            condition: What must be true.
            text: What is said when it is not, with `{}` for the arguments.
            *args: Put into the text.
            **kwargs: Put into the text by name.

        Raises:
            ValueError: The condition is false.
        """
        if not self._enabled or condition:
            return
        filled = text.format(*args, **kwargs) if args or kwargs else text
        self.log_raise(log_code, ValueError(f"value check failed: {filled}"))

    def file_check(self, log_code: str, *paths: str) -> None:
        """Checks that files exist.

        Raises:
            FileNotFoundError: One does not, or is no file.
        """
        for path in paths if self._enabled else ():
            if not Path(path).is_file():
                self.log_raise(log_code, FileNotFoundError(f"file `{path}` does not exist"))

    def dir_check(self, log_code: str, *paths: str) -> None:
        """Checks that folders exist.

        Raises:
            FileNotFoundError: One does not.
            NotADirectoryError: It is no folder.
        """
        for path in paths if self._enabled else ():
            if not Path(path).exists():
                self.log_raise(log_code, FileNotFoundError(f"folder `{path}` does not exist"))
            if not Path(path).is_dir():
                self.log_raise(log_code, NotADirectoryError(f"`{path}` is no folder"))

    @property
    def _enabled(self) -> bool:
        return get_config().enable_error_checks is not False

    def _wrong_type(
        self, log_code: str, what: str, value: object, types: tuple[type, ...], or_none: bool
    ) -> NoReturn:
        expected = _names(types) + (" or None" if or_none else "")
        message = f"type check failed: {what} has type {type(value).__name__}, expected {expected}"
        self.log_raise(log_code, TypeError(message))


def _names(types: tuple[type, ...]) -> str:
    return ", ".join(item.__name__ for item in types) or "nothing"
