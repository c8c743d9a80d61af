"""Which class belongs to a protobuf name: the counterpart of protobuf's own pool of names."""

from typing import Any

__all__ = ["class_of", "known_classes", "register", "resolve"]

_classes: dict[str, type[Any]] = {}


def register(full_name: str, cls: type[Any]) -> None:
    """Note the class of a message or enum; a class of the same name and shape takes over."""
    _classes[full_name] = cls


def class_of(full_name: str) -> type[Any] | None:
    """The class of a full protobuf name, or none."""
    return _classes.get(full_name)


def known_classes() -> tuple[type[Any], ...]:
    """All classes, messages and enums, in the order in which they were defined."""
    return tuple(_classes.values())


def resolve(name: str) -> type[Any]:
    """The class of a full protobuf name or of a simple one that is unique.

    Raises:
        ValueError: There is none, or several.
    """
    if name in _classes:
        return _classes[name]
    found = {full: cls for full, cls in _classes.items() if full.rpartition(".")[2] == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(f"{name!r} is ambiguous; write one of {', '.join(sorted(found))}")
    raise ValueError(f"no data object class is named {name!r}")
