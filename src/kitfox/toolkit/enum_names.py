"""All enum data objects by their simple names.

enums.Color             # the class
enums.ColorRev          # the names by number: Munch({0: 'PLACEHOLDER_UNSET', 1: 'RED'})
"""

import enum
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.data.enums import reverse_names
from kitfox.data.registry import known_classes

__all__ = ["EnumNames", "Munch", "enums", "import_enum", "import_enums"]


class Munch(dict[Any, Any]):
    """A dictionary whose items are attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        return f"Munch({super().__repr__()})"


class EnumNames:
    """Finds an enum, or with `Rev` after its name the names of its numbers."""

    def __getattr__(self, name: str) -> Any:
        found = _enum(name)
        if found is not None:
            return found
        found = _enum(name.removesuffix("Rev"))
        if found is not None:
            return Munch(reverse_names(found))
        raise AttributeError(f"there is no enum data object {name!r}")


enums = EnumNames()
"""It holds nothing; the enums are looked up when they are asked for."""


def import_enum(proto_enum: Any, enum_class: type[enum.Enum] | None = None) -> tuple[str, str]:
    """The two names under which an enum is found in `enums`.

    Args:
        proto_enum: A protobuf enum, or its descriptor.
        enum_class: The class that stands for it; looked up when it is not given.

    Raises:
        ValueError: No enum data object stands for it.
    """
    descriptor = getattr(proto_enum, "DESCRIPTOR", proto_enum)
    if enum_class is None and _enum(descriptor.full_name) is None:
        raise ValueError(f"no enum data object stands for {descriptor.full_name}")
    return descriptor.name, f"{descriptor.name}Rev"


def import_enums(current_globals: dict[str, Any]) -> None:
    """Puts every enum data object, and the names of its numbers, into a module's globals.

    Enums of which another has the simple name too are left out.
    """
    for name in _simple_names():
        found = _enum(name)
        if found is not None:
            current_globals[name] = found
            current_globals[f"{name}Rev"] = Munch(reverse_names(found))


def _simple_names() -> list[str]:
    return [cls.__name__ for cls in known_classes() if issubclass(cls, enum.Enum)]


def _enum(name: str) -> type[enum.Enum] | None:
    try:
        found: type = DataObjectBase.get_class_for_name(name)
    except ValueError:
        return None
    return found if issubclass(found, enum.Enum) else None
