"""Where module classes are found by their id.

`@module` fills the default registry, so importing a package of modules makes them known;
everything that reads a registry can be given another one.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kitfox.errors import InvalidArgument

if TYPE_CHECKING:
    from kitfox.modules.module_class import ModuleBase

__all__ = ["LOCAL", "ModuleRegistry", "UnknownModule", "default_registry", "module_registry"]

LOCAL = "LOCAL"
"""The backend of modules that run where they are loaded."""


class UnknownModule(InvalidArgument):
    """A module id that no imported class has.

    Args:
        module_id: What was asked for.
        known: The classes that there are, by id.
        model_path: The folder of the model that asks for it.
        module_class: The class that the model was saved by, as its folder says.
    """

    def __init__(
        self,
        module_id: str,
        known: "Mapping[str, type[ModuleBase]]",
        *,
        model_path: str = "",
        module_class: str | None = None,
    ) -> None:
        self.module_id = module_id
        self.model_path = model_path
        listing = ", ".join(f"{key} ({cls.__name__})" for key, cls in sorted(known.items()))
        asking = f"Unable to load model from {model_path}: " if model_path else ""
        saved_by = f" (the model was saved by `{module_class}`)" if module_class else ""
        super().__init__(
            f"{asking}no imported module has the MODULE_ID {module_id}{saved_by}; "
            f"known modules: {listing or 'none'}"
        )


class ModuleRegistry:
    """Module classes by id, and per id by the backend that they are made for."""

    def __init__(self) -> None:
        self._classes: dict[str, dict[str, type[ModuleBase]]] = {}

    def add(self, cls: "type[ModuleBase]", *, backend_type: str = LOCAL) -> None:
        """Registers a class under its `MODULE_ID`.

        Raises:
            RuntimeError: Another class has that id for the same backend.
        """
        implementations = self._classes.setdefault(cls.MODULE_ID, {})
        other = implementations.setdefault(backend_type, cls)
        if other is not cls:
            backend = "" if backend_type == LOCAL else f" for the backend {backend_type}"
            raise RuntimeError(
                f"Two modules have the id {cls.MODULE_ID}{backend}: `{other.MODULE_CLASS}` and "
                f"`{cls.MODULE_CLASS}`; give one of them a new id (for example a UUID)"
            )

    def get(self, module_id: str, *, backend_type: str = LOCAL) -> "type[ModuleBase] | None":
        """The class with that id and backend, or None."""
        return self._classes.get(module_id, {}).get(backend_type)

    def find(self, module_id: str) -> "type[ModuleBase]":
        """The class with that id: the LOCAL one, else that of another backend.

        Raises:
            UnknownModule: There is none; the message lists those that there are.
        """
        implementations = self._classes.get(module_id)
        if not implementations:
            raise UnknownModule(module_id, self.classes())
        return implementations.get(LOCAL) or next(iter(implementations.values()))

    def classes(self) -> "dict[str, type[ModuleBase]]":
        """All classes by id; per id the one that `find` gives."""
        return {module_id: self.find(module_id) for module_id in self._classes}

    def backends(self) -> "dict[str, dict[str, type[ModuleBase]]]":
        """All classes by id and then by backend."""
        return {module_id: dict(found) for module_id, found in self._classes.items()}

    @contextlib.contextmanager
    def preserved(self) -> Iterator[None]:
        """Forgets on exit what was added inside; for tests that define modules."""
        before = self.backends()
        try:
            yield
        finally:
            self._classes = before


# Decorators run at import, before anything could hand them a registry.
_DEFAULT = ModuleRegistry()


def default_registry() -> ModuleRegistry:
    """The registry that `@module` fills."""
    return _DEFAULT


def module_registry() -> "dict[str, type[ModuleBase]]":
    """All registered module classes by id."""
    return _DEFAULT.classes()
