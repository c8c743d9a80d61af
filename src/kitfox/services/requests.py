"""The request messages that are made from methods' parameters.

A parameter without a default is a plain field, one with a default an `optional` field, so that
"not given" can be told from zero.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from kitfox.data import DataObjectBase, S3Path, make_dataobject
from kitfox.errors import InvalidArgument
from kitfox.modules import MethodSignature, ModuleBase, TaskBase, element_type
from kitfox.modules.parameters import training_parameters, without_none
from kitfox.services.names import Names

__all__ = ["Fields", "inference_fields", "request_class", "training_request_class"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """The fields of a request message, in the order of their numbers."""

    annotations: Mapping[str, Any]
    """Their types."""
    optional: frozenset[str]
    """Those that a caller may leave out."""


def inference_fields(
    task: type[TaskBase],
    implementations: Mapping[type[ModuleBase], MethodSignature],
    *,
    input_streaming: bool,
) -> Fields:
    """The fields of a task's request, merged over the modules that implement it.

    The order is that of first appearance, modules in order of their ids.

    Raises:
        InvalidArgument: Two modules give the same parameter different types.
    """
    required = task.get_required_parameters(input_streaming)
    annotations: dict[str, Any] = {}
    optional: set[str] = set()
    owners: dict[str, type[ModuleBase]] = {}
    for module in sorted(implementations, key=lambda cls: cls.MODULE_ID):
        signature = implementations[module]
        for name, annotation in signature.parameters.items():
            kind = required.get(name, without_none(annotation))
            if input_streaming and name in required:
                kind = element_type(kind)
            if name in annotations and annotations[name] != kind:
                raise InvalidArgument(
                    f"task {task.__name__}: parameter {name!r} is {annotations[name]} in "
                    f"{owners[name].__qualname__} and {kind} in {module.__qualname__}; "
                    "modules of one task must agree on a parameter's type"
                )
            annotations[name] = kind
            owners.setdefault(name, module)
            if name in signature.defaults:
                optional.add(name)
    # caikit leaves enum parameters out: numbered last, they move no number that its clients know.
    ordered = sorted(annotations.items(), key=lambda item: _holds_enum(item[1]))
    return Fields(annotations=dict(ordered), optional=frozenset(optional))


def _holds_enum(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, enum.Enum)
    return any(_holds_enum(part) for part in get_args(annotation))


def request_class(name: str, fields: Fields, names: Names) -> type[DataObjectBase]:
    """A request message with these fields, numbered in order."""
    return make_dataobject(
        name=name,
        annotations=fields.annotations,
        attrs={"__doc__": f"The message {name}."},
        package=names.package,
        optional=fields.optional,
        shared_sequences=True,
    )


def training_request_class(
    rpc: str, module: type[ModuleBase], names: Names
) -> type[DataObjectBase]:
    """The request of a module's training RPC."""
    parameters = training_parameters(module, name=f"{rpc}Parameters", package=names.package)
    annotations = {"model_name": str, "output_path": S3Path, "parameters": parameters}
    return request_class(
        f"{rpc}Request", Fields(annotations=annotations, optional=frozenset()), names
    )
