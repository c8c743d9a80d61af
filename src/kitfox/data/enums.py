"""Enums as protobuf has them: the schema of an author's enum, its proto enum, its class methods."""

import enum
from typing import Any

from kitfox.data.descriptors import enum_descriptor, owner_of_enum_value
from kitfox.data.registry import register
from kitfox.data.schema import EnumSchema, enum_schema_of

__all__ = ["PLACEHOLDER", "define_enum", "reverse_names"]

PLACEHOLDER = "PLACEHOLDER_UNSET"
"""The name of the zero that protobuf needs, for an enum that has none."""

_INT32 = range(-(2**31), 2**31)


def define_enum(cls: type[enum.Enum], package: str) -> None:
    """Make an enum usable as a field type.

    Raises:
        TypeError: A value is no integer of 32 bits, or protobuf refuses a name.
    """
    numbers: dict[str, int] = {}
    for name, member in cls.__members__.items():
        value = member.value
        if not isinstance(value, int) or isinstance(value, bool) or value not in _INT32:
            raise TypeError(
                f"{cls.__name__}.{name} is {value!r}: the members of an enum of protobuf are "
                "integers of 32 bits"
            )
        owner = owner_of_enum_value(package, name)
        if owner not in ("", cls.__name__):
            raise TypeError(
                f"{cls.__name__}.{name}: {owner} in the package {package!r} has that name, and "
                "protobuf keeps the names of all enum values of a package in one space; rename "
                "the member or give the enum another package"
            )
        numbers[name] = value
    zero = next((name for name, number in numbers.items() if number == 0), "")
    numbers = {zero or _placeholder(cls, package): 0, **numbers}  # proto3 wants it first
    schema = EnumSchema(
        cls=cls,
        package=package,
        name=cls.__name__,
        numbers=numbers,
        names={number: name for name, number in numbers.items()},
    )
    descriptor = enum_descriptor(schema)
    attributes: Any = cls
    attributes._schema_ = schema
    attributes.full_name = schema.full_name
    attributes.to_dict = classmethod(_to_dict)
    attributes.to_munch = classmethod(_to_munch)
    attributes.get_proto_class = staticmethod(lambda: descriptor)
    register(schema.full_name, cls)


def _placeholder(cls: type[enum.Enum], package: str) -> str:
    """The name of the zero; with the enum's in front where another enum has taken the plain one."""
    owner = owner_of_enum_value(package, PLACEHOLDER)
    return PLACEHOLDER if owner in ("", cls.__name__) else f"{cls.__name__.upper()}_{PLACEHOLDER}"


class _Names(dict[str, int]):
    """A dictionary whose items are attributes as well."""

    def __getattr__(self, name: str) -> int:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _to_munch(cls: type[enum.Enum]) -> _Names:
    """The numbers by name, also as attributes."""
    return _Names(_to_dict(cls))


def _to_dict(cls: type[enum.Enum]) -> dict[str, int]:
    """The numbers by name, without the placeholder."""
    return {name: member.value for name, member in cls.__members__.items()}


def reverse_names(cls: type[enum.Enum]) -> dict[int, str]:
    """The names by number, with the placeholder, as protobuf has them."""
    schema = enum_schema_of(cls)
    return {} if schema is None else dict(schema.names)
