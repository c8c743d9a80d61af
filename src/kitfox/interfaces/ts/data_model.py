"""Data objects for time series.

A `TimeSeries` is a list of `SingleTimeSeries`, one for each combination of ids. Each has one time
sequence, regular or point by point, and as many value sequences of the same length as it has
columns.
"""

from typing import Union

from kitfox.data import Annotated, DataObjectBase, FieldNumber, OneofField, dataobject
from kitfox.modules import ProducerId

__all__ = [
    "AnyValueSequence",
    "EvaluationRecord",
    "EvaluationResult",
    "FloatValueSequence",
    "Id",
    "IntIDSequence",
    "IntValueSequence",
    "PeriodicTimeSequence",
    "PointTimeSequence",
    "Seconds",
    "SingleTimeSeries",
    "StrValueSequence",
    "StringIDSequence",
    "TimeDuration",
    "TimePoint",
    "TimePointSequence",
    "TimeSeries",
    "ValueSequence",
    "Vector",
    "VectorValueSequence",
]

TS_PACKAGE = "caikit_data_model.timeseries"
"""The protobuf package of the domain."""


@dataobject(package=TS_PACKAGE)
class Seconds(DataObjectBase):
    """A number of seconds; of a point in time, since the epoch."""

    seconds: float


@dataobject(package=TS_PACKAGE)
class TimePoint(DataObjectBase):
    """A point in time: an integer or real number in the series' own unit, or epoch seconds."""

    time: Union[  # noqa: UP007 -- as long as its markers are
        Annotated[int, OneofField("ts_int"), FieldNumber(1)],
        Annotated[float, OneofField("ts_float"), FieldNumber(2)],
        Annotated[Seconds, OneofField("ts_epoch"), FieldNumber(3)],
    ]


@dataobject(package=TS_PACKAGE)
class TimeDuration(DataObjectBase):
    """A length of time: in the series' own unit, as text such as `1h`, or in seconds."""

    time: Union[  # noqa: UP007 -- as above
        Annotated[int, OneofField("dt_int"), FieldNumber(1)],
        Annotated[float, OneofField("dt_float"), FieldNumber(2)],
        Annotated[str, OneofField("dt_str"), FieldNumber(3)],
        Annotated[Seconds, OneofField("dt_sec"), FieldNumber(4)],
    ]


@dataobject(package=TS_PACKAGE)
class PeriodicTimeSequence(DataObjectBase):
    """Points at equal distances."""

    start_time: TimePoint
    period_length: TimeDuration


@dataobject(package=TS_PACKAGE)
class PointTimeSequence(DataObjectBase):
    """Points, each by itself."""

    points: list[TimePoint]


@dataobject(package=TS_PACKAGE)
class IntValueSequence(DataObjectBase):
    """A column of integers."""

    values: list[int]


@dataobject(package=TS_PACKAGE)
class FloatValueSequence(DataObjectBase):
    """A column of real numbers."""

    values: list[float]


@dataobject(package=TS_PACKAGE)
class StrValueSequence(DataObjectBase):
    """A column of texts."""

    values: list[str]


@dataobject(package=TS_PACKAGE)
class TimePointSequence(DataObjectBase):
    """A column of points in time, as text."""

    values: list[str]


@dataobject(package=TS_PACKAGE)
class AnyValueSequence(DataObjectBase):
    """A column of values of any kind, each as JSON text."""

    values: list[str]


@dataobject(package=TS_PACKAGE)
class Vector(DataObjectBase):
    """Real numbers that are one value together."""

    data: list[float]


@dataobject(package=TS_PACKAGE)
class VectorValueSequence(DataObjectBase):
    """A column of vectors."""

    values: list[Vector]


@dataobject(package=TS_PACKAGE)
class ValueSequence(DataObjectBase):
    """A column: values of one kind."""

    sequence: Union[  # noqa: UP007 -- as above
        Annotated[IntValueSequence, OneofField("val_int"), FieldNumber(1)],
        Annotated[FloatValueSequence, OneofField("val_float"), FieldNumber(2)],
        Annotated[StrValueSequence, OneofField("val_str"), FieldNumber(3)],
        Annotated[TimePointSequence, OneofField("val_timepoint"), FieldNumber(4)],
        Annotated[AnyValueSequence, OneofField("val_any"), FieldNumber(5)],
        Annotated[VectorValueSequence, OneofField("val_vector"), FieldNumber(6)],
    ]


@dataobject(package=TS_PACKAGE)
class IntIDSequence(DataObjectBase):
    """What tells one series from the others, as integers."""

    values: list[int]


@dataobject(package=TS_PACKAGE)
class StringIDSequence(DataObjectBase):
    """What tells one series from the others, as texts."""

    values: list[str]


@dataobject(package=TS_PACKAGE)
class SingleTimeSeries(DataObjectBase):
    """One series: its times, its columns and their labels, and its ids."""

    time_sequence: Union[  # noqa: UP007 -- as above
        Annotated[PeriodicTimeSequence, OneofField("time_period"), FieldNumber(10)],
        Annotated[PointTimeSequence, OneofField("time_points"), FieldNumber(20)],
    ]
    values: Annotated[list[ValueSequence], FieldNumber(1)]
    timestamp_label: Annotated[str, FieldNumber(2)]
    value_labels: Annotated[list[str], FieldNumber(3)]
    ids: Union[  # noqa: UP007 -- as above
        Annotated[IntIDSequence, OneofField("id_int"), FieldNumber(30)],
        Annotated[StringIDSequence, OneofField("id_str"), FieldNumber(40)],
    ]


@dataobject(package=TS_PACKAGE)
class TimeSeries(DataObjectBase):
    """Series that belong together, such as those of all shops of a chain."""

    timeseries: list[SingleTimeSeries]
    id_labels: list[str]
    producer_id: ProducerId


@dataobject(package=TS_PACKAGE)
class Id(DataObjectBase):
    """One id of a series."""

    value: Union[  # noqa: UP007 -- as above
        Annotated[str, OneofField("text"), FieldNumber(1)],
        Annotated[int, OneofField("index"), FieldNumber(2)],
    ]


@dataobject(package=TS_PACKAGE)
class EvaluationRecord(DataObjectBase):
    """How good the predictions of one series are."""

    id_values: list[Id]
    metric_values: list[float]
    offset: Id


@dataobject(package=TS_PACKAGE)
class EvaluationResult(DataObjectBase):
    """How good predictions are: a record a series, and what its columns mean."""

    records: list[EvaluationRecord]
    id_cols: list[str]
    metric_cols: list[str]
    offset_col: str
    producer_id: ProducerId
