"""The domain of time series. It has no data objects and tasks of its own yet."""

from kitfox.interfaces.ts import data_model

__all__ = ["data_model"]
