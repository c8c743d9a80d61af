"""A library whose calls can be held, to see what the others do meanwhile."""

from . import modules as modules
