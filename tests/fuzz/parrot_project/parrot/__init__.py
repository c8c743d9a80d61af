"""A library that repeats what it is told, in every call shape, and never fails by itself."""

from .modules import AsynchronousParrot, PlainParrot

__all__ = ["AsynchronousParrot", "PlainParrot"]
