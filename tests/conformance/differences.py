"""The exchanges that differ from what was recorded, by library and id, each with its reason.

Patterns are those of `fnmatch`. An exchange that is named here must differ: one that no longer does
fails `test_recorded.py`. Of exchanges whose recorded answer is itself a defect (the recording names
them in its `quirks.json`) `answers.py` says what is expected; those that are named here as well do
not give it yet.
"""

from fnmatch import fnmatchcase

__all__ = ["DIFFERENT", "pattern_of"]

MODEL_MESH = "open: the model-mesh service is not built yet"

DIFFERENT: dict[str, dict[str, str]] = {
    "example": {
        "grpc-runtime-status": MODEL_MESH,
        "grpc-model-size*": MODEL_MESH,
        "grpc-predict-size*": MODEL_MESH,
        "grpc-load-model*": MODEL_MESH,
        "predict-loaded-model": MODEL_MESH,
        "grpc-unload-model*": MODEL_MESH,
    },
    "kinds": {
        "grpc-choice-lists-empty": (
            "an empty list stays the member that it came as; recorded was the first member"
        ),
    },
    "faults": {
        "mmesh-*[!e]": MODEL_MESH,  # not mmesh-run-gone
    },
}


def pattern_of(library: str, name: str) -> str:
    """The first pattern that names an exchange, or nothing."""
    return next((one for one in DIFFERENT.get(library, {}) if fnmatchcase(name, one)), "")
