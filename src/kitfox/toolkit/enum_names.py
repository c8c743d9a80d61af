"""All enum data objects by their simple names.

enums.Color             # the class
enums.ColorRev          # the names by number: {0: "PLACEHOLDER_UNSET", 1: "RED"}
"""

import enum
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.data.enums import reverse_names

__all__ = ["EnumNames", "enums"]


class EnumNames:
    """Finds an enum, or with `Rev` after its name the names of its numbers."""

    def __getattr__(self, name: str) -> Any:
        found = _enum(name)
        if found is not None:
            return found
        found = _enum(name.removesuffix("Rev"))
        if found is not None:
            return reverse_names(found)
        raise AttributeError(f"there is no enum data object {name!r}")


enums = EnumNames()
"""It holds nothing; the enums are looked up when they are asked for."""


def _enum(name: str) -> type[enum.Enum] | None:
    try:
        found: type = DataObjectBase.get_class_for_name(name)
    except ValueError:
        return None
    return found if issubclass(found, enum.Enum) else None
