"""Docstrings of several styles: descriptions whole, and the prose without them."""

import pytest

from kitfox.modules.docstring import prose_of, read_docstring

GOOGLE = """Does it.

With care.

Args:
    a: The first
        of all.
    b (int): The second, long
      in words.
    c: str
        In caikit's way.
    d: Once

Returns:
    What came of it.

Note:
    It is slow.
"""
NUMPY = """Does it.

Parameters
----------
a : int
    The first
    of all.
b
    The second.

Returns
-------
int
    What came of it.
"""
REST = """Does it.

:param int a: The first.
:param b: The second.
:returns: What came of it.
"""
FIELDS = """A place.

Attributes:
    x: To the right.
"""


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (
            GOOGLE,
            {
                "a": "The first of all.",
                "b": "The second, long in words.",
                "c": "In caikit's way.",
                "d": "Once",
            },
        ),
        (NUMPY, {"a": "The first of all.", "b": "The second."}),
        (REST, {"a": "The first.", "b": "The second."}),
        (FIELDS, {"x": "To the right."}),
        ("Just a sentence.", {}),
        (None, {}),
    ],
    ids=["google", "numpy", "rest", "attributes", "prose", "none"],
)
def test_descriptions_are_whole(text: str | None, texts: dict[str, str]) -> None:
    assert read_docstring(text).texts == texts


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        (GOOGLE, "Does it.\n\nWith care.\n\nNote:\n    It is slow."),
        (NUMPY, "Does it."),
        (REST, "Does it."),
        (FIELDS, "A place."),
        ("One: two.\n\nThree.", "One: two.\n\nThree."),
        (None, ""),
    ],
    ids=["google", "numpy", "rest", "attributes", "prose", "none"],
)
def test_prose_is_what_remains(text: str | None, prose: str) -> None:
    assert prose_of(text) == prose
