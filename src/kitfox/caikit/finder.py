"""The import hook: modules whose names are looked up in the table and imported when asked for."""

import difflib
import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from kitfox.caikit.names import MODULES, Answers

__all__ = ["AnsweredModule", "CaikitFinder"]


class AnsweredModule(ModuleType):
    """A module path of caikit; each of its names is an object of Kitfox."""

    _answers: Answers
    _below: frozenset[str]

    def __getattr__(self, name: str) -> Any:
        """Called once for each name; what was found stays in the module."""
        if name == "__all__":
            return sorted(_offered(self._answers))
        if name.startswith("__") and name not in self._answers.names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        target = self._answers.names.get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            found = _attribute(importlib.import_module(module), attribute)
        elif name in self._below:
            found = importlib.import_module(f"{self.__name__}.{name}")
        elif name in _everything(self._answers):
            found = getattr(importlib.import_module(self._answers.everything_of), name)
        else:
            raise AttributeError(_not_offered(f"{self.__name__}.{name}"))
        self.__dict__[name] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a path below binds it to its last name, here `dataobject`, which is also the
        # name of a decorator; the table's names come first.
        if isinstance(value, AnsweredModule) and name in self._answers.names:
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_offered(self._answers), *self._below})


class CaikitFinder(MetaPathFinder, InspectLoader):
    """Finds and makes the modules of the table, and refuses other paths of their packages.

    Args:
        modules: What each path offers.
    """

    def __init__(self, modules: Mapping[str, Answers] = MODULES) -> None:
        self._modules = modules
        self.roots = frozenset(path.partition(".")[0] for path in modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec; None for paths of other packages.

        Raises:
            ModuleNotFoundError: A path of caikit that is not in the table.
        """
        if fullname.partition(".")[0] not in self.roots:
            return None
        if fullname not in self._modules:
            # Without its `name`: Python would take the error of `from x import y` for its own
            # attempt, drop it, and raise one that does not say why.
            raise ModuleNotFoundError(_not_offered(fullname))
        return ModuleSpec(fullname, self, origin="kitfox", is_package=self.is_package(fullname))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        module = AnsweredModule(spec.name)
        start = f"{spec.name}."
        below = (path.removeprefix(start) for path in self._modules if path.startswith(start))
        module.__dict__["_answers"] = self._modules[spec.name]
        module.__dict__["_below"] = frozenset(name for name in below if "." not in name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run; old paths warn."""
        warning = self._modules[module.__name__].warning
        if warning:
            warnings.warn(warning, DeprecationWarning, stacklevel=2)

    def is_package(self, fullname: str) -> bool:
        """All are, so that Python asks here for names that they lack; but what `python -m` runs."""
        return "main" not in self._modules[fullname].names

    def get_source(self, fullname: str) -> str:
        """For `python -m`: what runs the `main` of a path."""
        if "main" not in self._modules[fullname].names:
            return ""
        return f"from {fullname} import main\nmain()\n"

    def get_code(self, fullname: str) -> CodeType:
        """The same, compiled."""
        return compile(self.get_source(fullname), f"<{fullname}>", "exec")


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        return importlib.import_module(f"{module.__name__}.{name}")


def _everything(answers: Answers) -> list[str]:
    if not answers.everything_of:
        return []
    names: list[str] = importlib.import_module(answers.everything_of).__all__
    return names


def _offered(answers: Answers) -> set[str]:
    own = {name for name in answers.names if not name.startswith("__")}
    return own | {*_everything(answers)}


def _not_offered(name: str) -> str:
    """The sentence for a name that is not in the table, with those that are nearly like it."""
    known = list(MODULES)
    for path, answers in MODULES.items():
        loaded = not answers.everything_of or answers.everything_of in sys.modules
        names = _offered(answers) if loaded else answers.names  # a mistake imports nothing
        known += [f"{path}.{item}" for item in sorted(names)]
    root, last = name.partition(".")[0], name.rpartition(".")[2]
    same = [item for item in known if item.rpartition(".")[2].lower() == last.lower()]
    near = dict.fromkeys([*same, *difflib.get_close_matches(name, known, n=3, cutoff=0.7)])
    hint = f"; near: {', '.join(list(near)[:4])}" if near else ""
    return f"Kitfox does not offer this name of {root}: {name}{hint}"
