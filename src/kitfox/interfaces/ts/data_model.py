"""Data objects for time series: none yet."""

__all__: list[str] = []
