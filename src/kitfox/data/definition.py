"""Defining data objects: from a class, or from annotations alone, to a schema and its message."""

import dataclasses
import enum
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform, overload

from google.protobuf.message import Message

from kitfox.data.annotations import read_fields
from kitfox.data.class_body import drafts_of_class
from kitfox.data.construction import add_methods
from kitfox.data.descriptors import message_class
from kitfox.data.enums import define_enum
from kitfox.data.objects import DataObjectBase
from kitfox.data.registry import class_of, register
from kitfox.data.schema import Schema

__all__ = ["DEFAULT_PACKAGE", "dataobject", "make_dataobject"]

DEFAULT_PACKAGE = "caikit_data_model"
"""Of data objects that name none."""

C = TypeVar("C", bound=type[Any])
_RESERVED = frozenset(name for name in dir(DataObjectBase) if not name.startswith("__"))


@overload
def dataobject(package: C, /) -> C: ...
@overload
def dataobject(package: str = DEFAULT_PACKAGE) -> Callable[[C], C]: ...
@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataobject(package: Any = DEFAULT_PACKAGE) -> Any:
    """Make a class below `DataObjectBase`, or an enum, a data object.

    Args:
        package: Of the protobuf message.

    Raises:
        ValueError: The class derives from neither.
        TypeError: A field cannot be served, or the name is taken by another shape.
    """
    if isinstance(package, type):
        return _define(package, DEFAULT_PACKAGE, package.__name__)
    if not isinstance(package, str):
        raise TypeError(f"the package is text, got {type(package).__name__}")
    return lambda cls: _define(cls, package, cls.__name__)


def make_dataobject(
    *,
    name: str,
    annotations: Mapping[str, Any],
    bases: tuple[type, ...] = (DataObjectBase,),
    attrs: Mapping[str, Any] | None = None,
    proto_name: str | None = None,
    package: str = DEFAULT_PACKAGE,
    optional: frozenset[str] | set[str] | None = None,
    shared_sequences: bool = False,
    message: type[Message] | None = None,
) -> type[DataObjectBase]:
    """Make a data object class at run time.

    Args:
        name: Of the class.
        annotations: The fields in order.
        bases: Parents; `DataObjectBase` is added if none derives from it.
        attrs: Class attributes: defaults of fields, methods, `__doc__`.
        proto_name: Of the message, where it differs from the class's.
        package: Of the message.
        optional: The fields with proto3 presence, whatever their annotations and defaults say;
            none: those with a default or `Optional`.
        shared_sequences: Lists in unions use `caikit_data_model.common.IntSequence` and its
            likes, not messages of their own.
        message: A protobuf class that exists, in whatever pool, and has these fields; none: it is
            made. A class over such a message is not found by its name.

    Raises:
        TypeError: A field cannot be served, or the name is taken by another shape.
    """
    if not any(issubclass(base, DataObjectBase) for base in bases):
        bases = (*bases, DataObjectBase)
    namespace = {"__module__": __name__, **(attrs or {}), "__annotations__": dict(annotations)}
    namespace.setdefault("__qualname__", name)
    namespace.setdefault("__reduce__", _reduce_by_name)
    cls = types.new_class(name, bases, exec_body=lambda body: body.update(namespace))
    sequences = {}
    if shared_sequences:
        from kitfox.data.sequences import SEQUENCES

        sequences = SEQUENCES
    wanted = None if optional is None else frozenset(optional)
    result: type[DataObjectBase] = _define(
        cls,
        package,
        proto_name or name,
        optional=wanted,
        shared_sequences=sequences,
        message=message,
    )
    return result


def _reduce_by_name(self: Any) -> tuple[Any, ...]:
    """Pickle an object of a class that was made at run time: by the name of its message."""
    slots = [name for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())]
    state = {name: getattr(self, name) for name in slots if _is_set(self, name)}
    return _restore, (type(self).full_name, state)


def _is_set(self: Any, slot: str) -> bool:
    try:
        object.__getattribute__(self, slot)
    except AttributeError:
        return False
    return True


def _restore(full_name: str, state: dict[str, Any]) -> Any:
    cls = class_of(full_name)
    if cls is None:
        raise ValueError(f"no data object class {full_name!r} has been made in this process")
    result = object.__new__(cls)
    for name, value in state.items():
        setattr(result, name, value)
    return result


def _define(
    cls: Any,
    package: str,
    name: str,
    *,
    optional: frozenset[str] | None = None,
    shared_sequences: Mapping[str, type[Any]] | None = None,
    message: type[Message] | None = None,
) -> Any:
    """Everything that the decorator does to a class."""
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        _check_names(package, name)
        define_enum(cls, package)
        return cls
    if not isinstance(cls, type) or not issubclass(cls, DataObjectBase):
        raise ValueError(
            f"{getattr(cls, '__name__', cls)} must derive from DataObjectBase or enum.Enum to be "
            "a data object"
        )
    _check_names(package, name)
    drafts = drafts_of_class(cls)
    before = cls.__dict__.get("_schema")
    cls._schema = Schema(cls=cls, package=package, name=name, fields=())  # for its own name
    try:
        fields = read_fields(
            cls.__name__,
            drafts,
            namespaces=_namespaces(cls),
            reserved=_RESERVED,
            shared_sequences=shared_sequences or {},
            optional=optional,
        )
        schema = Schema(cls=cls, package=package, name=name, fields=fields)
        cls._proto_class = message or message_class(schema)
    except Exception:
        cls._schema = before
        raise
    cls._schema = schema
    cls.fields = schema.proto_names
    cls.full_name = schema.full_name
    add_methods(schema)
    _add_dataclass_fields(schema)
    if message is None:
        register(schema.full_name, cls)
    return cls


def _check_names(package: str, name: str) -> None:
    for part in [*package.split("."), name] if package else [name]:
        if not part.isascii() or not part.isidentifier():
            raise TypeError(
                f"{package}.{name}: {part!r} cannot be in a protobuf name; packages and classes "
                "are named with ASCII letters, digits and underscores, with dots in between"
            )


def _namespaces(cls: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where the names in annotations are looked up: module, classes in the body, the class."""
    module = sys.modules.get(cls.__module__)
    nested = {name: item for name, item in vars(cls).items() if isinstance(item, type)}
    return vars(module) if module else {}, {**nested, cls.__name__: cls}


def _add_dataclass_fields(schema: Schema) -> None:
    """Let `dataclasses.fields`, `replace` and `is_dataclass` know the class."""
    cls: Any = schema.cls
    document = cls.__doc__
    cls.__doc__ = document or "-"  # dataclass would write one, slowly
    # Those of parents too, which need not be decorated.
    cls.__annotations__ = {draft.name: draft.annotation for draft in drafts_of_class(cls)}
    dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False)(cls)
    cls.__doc__ = document
    for field in schema.fields:
        entry = cls.__dataclass_fields__[field.name]
        entry.default = field.default if field.factory is None else dataclasses.MISSING
        if not field.has_default:
            entry.default = None
        entry.default_factory = field.factory or dataclasses.MISSING
