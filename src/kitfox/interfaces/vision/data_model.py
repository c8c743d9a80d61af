"""Data objects for images."""

from kitfox.data import DataObjectBase, dataobject

__all__ = ["Image"]

VISION_PACKAGE = "caikit_data_model.vision"
"""The protobuf package of the domain."""


@dataobject(package=VISION_PACKAGE)
class Image(DataObjectBase):
    """An image as the bytes of a file, in whatever format the module reads."""

    image_data: bytes
