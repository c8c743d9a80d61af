"""Data objects of the runtime's own services."""

from kitfox.interfaces.runtime import data_model

__all__ = ["data_model"]
