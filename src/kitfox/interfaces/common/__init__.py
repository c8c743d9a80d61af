"""Data objects that every library may use."""

from kitfox.interfaces.common import data_model

__all__ = ["data_model"]
