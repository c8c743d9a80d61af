"""Python values for `train` -> the JSON that a job's record carries, as `arguments` reads it back.

What is no text is written beside the job store first: the elements of a stream as lines of JSON, a
model as a model folder. The job's folder goes when the job does.
"""

import json
import os
import shutil
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kitfox.data import codec_of, make_dataobject
from kitfox.data.schema import schema_of
from kitfox.errors import InvalidArgument, ValidationError
from kitfox.modules import MethodSignature, ModuleBase
from kitfox.modules.parameters import stream_element, without_none
from kitfox.modules.publication import make_folder, sync_folder
from kitfox.training.jobs import Job

__all__ = ["GivenValues", "carry_over", "data_folder", "read_given"]

_EXTENSIONS = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenValues:
    """Arguments of `train` as a job keeps them."""

    parameters: Mapping[str, Any]
    """JSON values by name."""
    model_paths: Mapping[str, str]
    """The folder of each model that they name by id."""


def data_folder(log_path: Path | str) -> Path:
    """Where the data of a job lies that its caller gave as Python objects: beside its log."""
    return Path(f"{str(log_path).removesuffix('.log')}.data")


def carry_over(job: Job, origin: str) -> Job:
    """A job that takes up or repeats another, with data of its own: the other may be removed.

    Nothing is copied: the files of both are the same ones.

    Args:
        job: The later job, as it is to be accepted.
        origin: The id of the earlier one.
    """
    before, now = (
        data_folder(Path(job.log_path).with_name(f"{origin}.log")),
        data_folder(job.log_path),
    )
    if not before.is_dir():
        return job
    shutil.copytree(before, now, copy_function=_link)
    sync_folder(now.parent)

    def moved(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(f"{before}{os.sep}"):
            return f"{now}{value.removeprefix(str(before))}"
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        return [moved(item) for item in value] if isinstance(value, list) else value

    return replace(
        job,
        parameters=json.dumps(moved(json.loads(job.parameters or "{}"))),
        model_paths=moved(dict(job.model_paths)),
    )


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # a file system without links
        shutil.copy2(source, place)


def read_given(
    signature: MethodSignature, values: Mapping[str, Any], *, folder: Path
) -> GivenValues:
    """Makes JSON of the arguments for a call of `train`.

    Args:
        signature: The signature of `train`.
        values: The arguments by name; None counts as not given.
        folder: Made when there is something to write into it.

    Raises:
        InvalidArgument: A parameter that `train` does not have, or one that it needs is missing.
        ValidationError: A value that the annotation does not allow; the path begins with the name.
    """
    known = signature.parameters
    if unknown := sorted(values.keys() - known.keys()):
        raise InvalidArgument(
            f"train() has no parameter {unknown[0]!r}; it has: {', '.join(known) or 'none'}"
        )
    given = {name: values[name] for name in known if values.get(name) is not None}
    if missing := [name for name in known if name not in {*given, *signature.defaults}]:
        raise InvalidArgument(f"train() needs a value for {', '.join(missing)}")
    parameters: dict[str, Any] = {}
    paths: dict[str, str] = {}
    plain: dict[str, Any] = {}
    for name, value in given.items():
        element = stream_element(known[name])
        if element is not None:
            parameters[name] = {"data_stream": _source(name, element, value, folder)}
        elif _wants_model(known[name]):
            paths[name] = str(_model_path(name, value, folder))
            parameters[name] = {"model_id": name}
        else:
            plain[name] = value
    parameters.update(_plain_json(signature, plain))
    return GivenValues(parameters=parameters, model_paths=paths)


def _source(name: str, element: Any, value: Any, folder: Path) -> dict[str, Any]:
    """Where the elements of a stream come from."""
    if isinstance(value, Path) or (isinstance(value, str) and element is not str):
        return _path_source(name, Path(value))
    if isinstance(value, Mapping):  # as a request says it
        source: Any = value.get("data_stream", value)
        return dict(source)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidArgument(
            f"{name}: expected a path, paths, or data to iterate over, got {type(value).__name__}"
        )
    if isinstance(value, Sequence) and value and _are_paths(value, element):
        return {"files": [_existing(name, Path(item)) for item in value]}
    return {"filename": str(_write_elements(folder / f"{name}.jsonl", name, element, value))}


def _are_paths(values: Sequence[Any], element: Any) -> bool:
    kinds = Path if element is str else (str, Path)
    return all(isinstance(item, kinds) for item in values)


def _path_source(name: str, path: Path) -> dict[str, Any]:
    if not path.is_dir():
        return {"filename": _existing(name, path)}
    found = {item.suffix for item in path.iterdir() if item.suffix in _EXTENSIONS}
    if len(found) != 1:
        what = f"files with {', '.join(sorted(found))}" if found else "no data file"
        raise InvalidArgument(f"{name}: {path} has {what}; expected one of {_EXTENSIONS}")
    return {"dirname": str(path.absolute()), "extension": found.pop()[1:]}


def _existing(name: str, path: Path) -> str:
    if not path.is_file():
        raise InvalidArgument(f"{name}: there is no file {path.absolute()}")
    return str(path.absolute())


def _write_elements(place: Path, name: str, element: Any, values: Iterable[Any]) -> Path:
    """Writes elements as lines of JSON, durably: the job is accepted after them."""
    make_folder(place.parent)
    with place.open("wb") as file:
        for number, value in enumerate(values):
            try:
                file.write(_line(element, value) + b"\n")
            except ValidationError as error:
                raise error.below(name, number) from None
        file.flush()
        os.fsync(file.fileno())
    sync_folder(place.parent)
    return place.absolute()


def _line(element: Any, value: Any) -> bytes:
    """One element as JSON."""
    if schema_of(element) is None:
        try:
            return json.dumps(value, ensure_ascii=True).encode()
        except (TypeError, ValueError) as error:
            raise ValidationError.at((), f"cannot be written as JSON: {error}") from None
    codec = codec_of(element)
    try:
        made = value if isinstance(value, element) else codec.convert_json(value)
        return codec.encode_json(made)
    except TypeError as error:
        raise ValidationError.at((), str(error)) from error


def _wants_model(annotation: Any) -> bool:
    kinds = (annotation, *typing.get_args(annotation))
    return any(isinstance(kind, type) and issubclass(kind, ModuleBase) for kind in kinds)


def _model_path(name: str, value: Any, folder: Path) -> Path:
    """The folder of a model that was given as one, or as its path."""
    if isinstance(value, ModuleBase):
        place = folder / name
        make_folder(folder)
        value.save(str(place))
        return place.absolute()
    if not isinstance(value, str | Path):
        raise InvalidArgument(f"{name}: expected a model or its path, got {type(value).__name__}")
    path = Path(value).absolute()
    if not path.exists():
        raise InvalidArgument(f"{name}: there is no model at {path}")
    return path


def _plain_json(signature: MethodSignature, values: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of the arguments that are neither streams nor models."""
    typed = {
        name: without_none(kind)
        for name, kind in signature.parameters.items()
        if kind is not None and stream_element(kind) is None and not _wants_model(kind)
    }
    name = f"{signature.qualified_name.replace('.', '_')}_values"
    message = make_dataobject(
        name=name,
        annotations=typed,
        package=f"kitfox.training.given.{signature.module}",
        optional=frozenset(typed),
        shared_sequences=True,
    )
    made = message(**{name: value for name, value in values.items() if name in typed})
    try:
        read: dict[str, Any] = json.loads(codec_of(message).encode_json(made))
    except (TypeError, ValueError) as error:
        raise InvalidArgument(str(error).removeprefix(f"{name}.")) from error
    found = {name: value for name, value in read.items() if value is not None}
    # A list or a map that is empty is told from one that was not given by who gave it.
    given = {name: value for name, value in found.items() if value or name in values}
    return given | {name: value for name, value in values.items() if name not in typed}
