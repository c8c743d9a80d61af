"""The version of caikit whose names are answered."""

__version__ = "0.29.0"
__version_tuple__ = (0, 29, 0)
