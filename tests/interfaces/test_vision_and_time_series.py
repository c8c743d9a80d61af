"""The data objects of images and time series are those recorded from caikit 0.29.0."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from kitfox.data import DataObjectBase
from kitfox.interfaces.ts import data_model as ts
from kitfox.interfaces.ts import tasks
from kitfox.interfaces.vision import data_model as vision

RECORDED = Path(__file__).resolve().parents[1] / "golden" / "interfaces" / "descriptors.binpb"


def recorded() -> dict[str, tuple[str, DescriptorProto]]:
    files = FileDescriptorSet.FromString(RECORDED.read_bytes())
    return {
        f"{file.package}.{message.name}": (file.name, message)
        for file in files.file
        for message in file.message_type
    }


def classes() -> dict[str, type[DataObjectBase]]:
    found = [value for module in (ts, vision) for value in vars(module).values()]
    return {
        cls.full_name: cls
        for cls in found
        if isinstance(cls, type)
        and issubclass(cls, DataObjectBase)
        and cls.full_name.startswith((ts.TS_PACKAGE, vision.VISION_PACKAGE))
    }


def test_every_recorded_message_is_offered_and_no_other() -> None:
    assert classes().keys() == recorded().keys()


@pytest.mark.parametrize("name", sorted(recorded()))
def test_a_message_is_the_recorded_one(name: str) -> None:
    file, message = recorded()[name]
    descriptor: Any = classes()[name].get_proto_class().DESCRIPTOR
    made = DescriptorProto()
    descriptor.CopyToProto(made)
    for side in (made, message):
        for field in side.field:
            field.ClearField("json_name")
    assert descriptor.file.name == file
    assert made == message


@pytest.mark.parametrize(
    ("task", "inputs", "output"),
    [
        (tasks.AnomalyDetectionTask, {"X": ts.TimeSeries}, ts.TimeSeries),
        (tasks.ForecastingTask, {"X": ts.TimeSeries}, ts.TimeSeries),
        (tasks.TransformersTask, {"X": ts.TimeSeries}, ts.TimeSeries),
        (
            tasks.EvaluationTask,
            {"targets": ts.TimeSeries, "predictions": ts.TimeSeries},
            ts.EvaluationResult,
        ),
    ],
)
def test_a_task_takes_and_gives_what_was_recorded(task: Any, inputs: Any, output: Any) -> None:
    assert task.get_required_parameters(False) == inputs
    assert task.get_output_type(False) is output


def test_a_series_comes_back_from_bytes_and_json() -> None:
    column: Any = ts.ValueSequence(sequence=ts.FloatValueSequence(values=[0.5, 1.5]))
    times: Any = ts.PeriodicTimeSequence(
        start_time=ts.TimePoint(time=0), period_length=ts.TimeDuration(time="1h")
    )
    ids: Any = ts.StringIDSequence(values=["shop 1"])
    series = ts.SingleTimeSeries(
        time_sequence=times,
        values=[column],
        timestamp_label="time",
        value_labels=["sales"],
        ids=ids,
    )
    assert series.which_oneof("time_sequence") == "time_period"
    assert series.which_oneof("ids") == "id_str"
    assert ts.SingleTimeSeries.from_binary_buffer(series.to_binary_buffer()) == series
    assert ts.SingleTimeSeries.from_json(series.to_json()) == series
