"""The recorded library of field kinds, and classes that several tests use."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

KINDS = Path(__file__).resolve().parents[1] / "golden" / "kinds"


def load_kinds() -> ModuleType:
    """The data objects of the recorded library."""
    path = KINDS / "library" / "kinds" / "data_model.py"
    spec = importlib.util.spec_from_file_location("recorded_kinds_data_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kinds() -> ModuleType:
    """The data objects of the recorded library: one class for each family of field kinds."""
    return load_kinds()
