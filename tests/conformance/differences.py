"""The exchanges that differ from what was recorded, by library and id, each with its reason.

Patterns are those of `fnmatch`. An exchange that is named here must differ: one that no longer does
fails `test_recorded.py`. Of exchanges whose recorded answer is itself a defect (the recording names
them in its `quirks.json`) `answers.py` says what is expected; those that are named here as well do
not give it yet.
"""

from fnmatch import fnmatchcase

__all__ = ["DIFFERENT", "pattern_of"]


DIFFERENT: dict[str, dict[str, str]] = {
    "kinds": {
        "grpc-choice-lists-empty": (
            "an empty list stays the member that it came as; recorded was the first member"
        ),
    },
}


def pattern_of(library: str, name: str) -> str:
    """The first pattern that names an exchange, or nothing."""
    return next((one for one in DIFFERENT.get(library, {}) if fnmatchcase(name, one)), "")
