"""The domain of images: their data object. Results are a library's own."""

from kitfox.interfaces.vision import data_model

__all__ = ["data_model"]
