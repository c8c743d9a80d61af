"""What the documents made from the method table say of each method."""

import inspect

from kitfox.services import Method

__all__ = ["description_of", "summary_of"]


def description_of(method: Method) -> str:
    """What a method does, in the author's words where there are any."""
    return inspect.cleandoc(method.description)


def summary_of(method: Method) -> str:
    """The first line of the description, or the method's name."""
    return next(iter(description_of(method).splitlines()), "") or method.name
