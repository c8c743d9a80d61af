"""A library written for caikit: a method of each call shape, and a training."""

from pathlib import Path

import caikit

from . import data_model, modules

__all__ = ["data_model", "modules"]

caikit.configure(str(Path(__file__).resolve().parent / "config.yml"))
