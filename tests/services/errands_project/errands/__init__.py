"""A library whose predictions can be held, failed and watched from outside."""

from . import modules as modules
