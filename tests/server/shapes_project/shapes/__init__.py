"""A library with a method of every call shape, written in every way that Python has."""

from .modules import AsynchronousShapes, PlainShapes
from .words import Word

__all__ = ["AsynchronousShapes", "PlainShapes", "Word"]
