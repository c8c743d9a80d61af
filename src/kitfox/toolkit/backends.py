"""The one backend that there is, LOCAL, and what it is asked for by.

A module runs where it is loaded. `@module` may register it for another backend by a `backend_type`;
what such a backend does, a library brings along itself.
"""

from types import SimpleNamespace

from kitfox.modules import ModuleBase, default_registry
from kitfox.modules.registry import LOCAL

__all__ = [
    "LocalBackend",
    "backend_types",
    "get_valid_module_ids",
    "module_backend_classes",
    "module_backend_registry",
    "module_backend_types",
]


class LocalBackend:
    """The process that loads the model."""

    backend_type = LOCAL


backend_types = SimpleNamespace(LOCAL=LOCAL)
"""The names of backends, as attributes."""


def get_valid_module_ids() -> dict[str, str]:
    """The name of each registered module class, by its id."""
    return {key: cls.__name__ for key, cls in default_registry().classes().items()}


def module_backend_registry() -> dict[str, dict[str, type[ModuleBase]]]:
    """The registered module classes, by id and then by the backend that they are made for."""
    return default_registry().backends()


def module_backend_types() -> dict[str, str]:
    """The names of backends, by themselves."""
    return {LOCAL: LOCAL}


def module_backend_classes() -> dict[str, type[LocalBackend]]:
    """The classes of backends, by the backends' names."""
    return {LOCAL: LocalBackend}
