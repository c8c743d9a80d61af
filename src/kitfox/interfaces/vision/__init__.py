"""The domain of images. It has no data objects and tasks of its own yet.

An image is a field of type `bytes`, or `File` where its name and type matter; a library defines its
results itself.
"""

from kitfox.interfaces.vision import data_model

__all__ = ["data_model"]
