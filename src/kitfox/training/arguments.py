"""The arguments of `train`, made from the JSON that a job's record carries.

What a parameter's JSON means follows from its annotation alone:

    DataStream[T]    {"data_stream": {...}} or {"file": {...}}: where elements come from
    a module class   {"model_id": "..."}: a model that is loaded for the training
    any other        the value itself, by the rules of protobuf's JSON
"""

import logging
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from kitfox.data import (
    DataStream,
    codec_of,
    convert_json_value,
    make_data_stream_source,
    make_dataobject,
    open_data_stream,
)
from kitfox.errors import ValidationError
from kitfox.modules import MethodSignature, ModuleBase, load_model
from kitfox.modules.parameters import without_none

__all__ = ["Watch", "decode_arguments"]

log = logging.getLogger("kitfox.TRAINING")

Watch: TypeAlias = Callable[[str, Any, Path, DataStream[Any]], DataStream[Any]]
"""Takes a parameter's name, the source that was chosen for it, the folder that relative names begin
at, and the stream over it; gives the stream that `train` gets."""


def decode_arguments(
    signature: MethodSignature,
    parameters: Mapping[str, Any],
    *,
    base_dir: str = "",
    model_paths: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Makes the keyword arguments for a call of `train`.

    A parameter that is null, or absent, is left out, so that its default holds.

    Args:
        signature: The signature of `train`.
        parameters: The JSON value of each parameter, by name; of a union also by the name of the
            member that is set.
        base_dir: The folder below which relative names of data files are looked for.
        model_paths: The folder of each model that the parameters name.
        watch: Called with each stream; what it gives takes the stream's place.

    Raises:
        ValidationError: Values that the annotations do not allow; the paths begin with the
            parameter's name.
    """
    decoder = _Decoder(Path(base_dir) if base_dir else None, model_paths or {}, watch)
    given = {name: value for name, value in parameters.items() if value is not None}
    arguments = {}
    plain = {}
    for name, annotation in signature.parameters.items():
        if not decoder.is_special(annotation):
            plain[name] = annotation
        elif name in given:
            try:
                arguments[name] = decoder.decode(name, annotation, given.pop(name))
            except ValidationError as error:
                raise error.below(name) from None
    arguments.update(_plain_arguments(signature, plain, given))
    for name in given:
        log.warning("train() has no parameter %r; the value given for it is not used", name)
    return arguments


def _plain_arguments(
    signature: MethodSignature, annotations: Mapping[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """The values that are neither streams nor models; what is used is taken out of `given`."""
    message = make_dataobject(
        name=f"{signature.qualified_name.replace('.', '_')}_arguments",
        annotations={name: without_none(kind) for name, kind in annotations.items() if kind},
        package=f"kitfox.training.{signature.module}",
        optional=frozenset(annotations),
        shared_sequences=True,
    )
    codec = codec_of(message)
    arguments: dict[str, Any] = {}
    document: dict[str, Any] = {}
    wanted = []
    for field in codec.schema.fields:
        members = {member.name for member in field.members} & given.keys()
        for member in members:
            document[member] = given.pop(member)
        if members:
            wanted.append(field.name)
        elif field.name in given and field.members:
            try:
                arguments[field.name] = convert_json_value(
                    annotations[field.name], given.pop(field.name)
                )
            except ValidationError as error:
                raise error.below(field.name) from None
        elif field.name in given:
            document[field.name] = given.pop(field.name)
            wanted.append(field.name)
    values = codec.convert_protobuf_json(document)
    arguments.update({name: getattr(values, name) for name in wanted})
    for name, kind in annotations.items():
        if kind is None and name in given:  # nothing tells its type
            arguments[name] = given.pop(name)
    return arguments


class _Decoder:
    """Makes the value of a parameter that is a stream or a model."""

    def __init__(
        self, base_dir: Path | None, model_paths: Mapping[str, str], watch: Watch | None
    ) -> None:
        self._base_dir = base_dir
        self._model_paths = model_paths
        self._watch = watch

    def is_special(self, annotation: Any) -> bool:
        """Whether the annotation asks for a stream or a model."""
        return any(
            typing.get_origin(kind) is DataStream or _is_module(kind) for kind in _parts(annotation)
        )

    def decode(self, name: str, annotation: Any, value: Any) -> Any:
        """The stream or model that the annotation asks for."""
        for kind in _parts(annotation):
            if typing.get_origin(kind) is DataStream:
                return self._open_stream(name, typing.get_args(kind)[0], value)
        return self._load_model(value)

    def _open_stream(self, name: str, element_type: Any, value: Any) -> DataStream[Any]:
        # A package for each parameter: elements of different types may have the same name.
        codec = codec_of(make_data_stream_source(element_type, f"kitfox.training.{name}"))
        if isinstance(value, dict) and value and "data_stream" not in value:
            # As `encode_json` writes a source: under the name of the member that is set.
            source = codec.convert_protobuf_json(value)
        else:
            source = codec.convert_json(value)
        stream = open_data_stream(source, element_type, base_dir=self._base_dir)
        if self._watch is None:
            return stream
        return self._watch(name, source.data_stream, self._base_dir or Path(), stream)

    def _load_model(self, value: Any) -> ModuleBase:
        model_id = value.get("model_id") if isinstance(value, dict) else None
        if not isinstance(model_id, str) or model_id not in self._model_paths:
            known = ", ".join(sorted(self._model_paths)) or "none"
            raise ValidationError.at(
                ("model_id",), f"expected the id of a model that was found for this job: {known}"
            )
        return load_model(self._model_paths[model_id])


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and everything inside it."""
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)


def _is_module(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ModuleBase)
