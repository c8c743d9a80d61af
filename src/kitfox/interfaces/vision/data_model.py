"""Data objects for images: none yet."""

__all__: list[str] = []
