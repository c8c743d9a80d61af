"""A library with every kind of field, and methods of every kind but client streams."""

from .modules import Sketcher

__all__ = ["Sketcher"]
