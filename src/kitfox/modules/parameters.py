"""The parameters of a module's `train` as one data object: what a caller sends, what a job keeps.

A data stream becomes a message that says where its elements come from, a module a pointer to a
model; everything else is itself. A parameter without a default is a plain field, one with a default
an `optional` field, so that "not given" can be told from zero.
"""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from kitfox.data import DataObjectBase, DataStream, make_data_stream_source, make_dataobject
from kitfox.interfaces.runtime.data_model import ModelPointer
from kitfox.modules.module_class import ModuleBase

__all__ = ["stream_element", "training_parameters", "without_none"]


def training_parameters(
    module: type[ModuleBase], *, name: str, package: str
) -> type[DataObjectBase]:
    """The data object class of the parameters of `module.train`.

    Args:
        module: A class that trains.
        name: The message's name.
        package: The protobuf package of the message and of those for its data streams.
    """
    signature = module.TRAIN_SIGNATURE
    if signature is None:
        raise TypeError(f"{module.__qualname__} has no method `train`")
    return make_dataobject(
        name=name,
        annotations={
            key: _field_type(annotation, package)
            for key, annotation in signature.parameters.items()
        },
        attrs={"__doc__": f"The parameters of {module.__qualname__}.train."},
        package=package,
        optional=frozenset(signature.defaults),
        shared_sequences=True,
    )


def stream_element(annotation: Any) -> Any:
    """The element type of a parameter that is a data stream, else None."""
    for member in _members(annotation):
        if get_origin(member) is DataStream:
            return get_args(member)[0]
    return None


def without_none(annotation: Any) -> Any:
    """An annotation's alternatives other than None."""
    members = [item for item in _members(annotation) if item is not NoneType]
    return Union[tuple(members)] if members else annotation  # noqa: UP007 -- made at run time


def _field_type(annotation: Any, package: str) -> Any:
    element = stream_element(annotation)
    if element is not None:
        return make_data_stream_source(element, package)
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, ModuleBase):
            return ModelPointer
    return without_none(annotation)


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,)
