"""The example library: greets whoever is named, and learns which greeting suits whom."""

from . import data_model, runtime_model

__all__ = ["data_model", "runtime_model"]
