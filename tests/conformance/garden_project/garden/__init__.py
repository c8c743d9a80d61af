"""A garden: every call shape and kind of value that a document has to describe."""

from .data_model import Colour, Harvest, Place, Plant
from .modules import Gardener

__all__ = ["Colour", "Gardener", "Harvest", "Place", "Plant"]
