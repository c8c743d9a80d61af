"""The domain of time series: their data objects and tasks."""

from kitfox.interfaces.ts import data_model, tasks

__all__ = ["data_model", "tasks"]
