"""The library of the work that the template's example has not."""

from .model import Greeting, Path, Point, SampleModule, Text

__all__ = ["Greeting", "Path", "Point", "SampleModule", "Text"]
