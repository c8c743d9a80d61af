"""Tasks on time series."""

from kitfox.interfaces.ts.data_model import EvaluationResult, TimeSeries
from kitfox.modules import TaskBase, task

__all__ = ["AnomalyDetectionTask", "EvaluationTask", "ForecastingTask", "TransformersTask"]


@task(unary_parameters={"X": TimeSeries}, unary_output_type=TimeSeries)
class AnomalyDetectionTask(TaskBase):
    """Finds where a series behaves unlike itself."""


@task(
    unary_parameters={"targets": TimeSeries, "predictions": TimeSeries},
    unary_output_type=EvaluationResult,
)
class EvaluationTask(TaskBase):
    """Measures how far predictions are from what came."""


@task(unary_parameters={"X": TimeSeries}, unary_output_type=TimeSeries)
class ForecastingTask(TaskBase):
    """Continues series into the future."""


@task(unary_parameters={"X": TimeSeries}, unary_output_type=TimeSeries)
class TransformersTask(TaskBase):
    """Makes other series of series."""
