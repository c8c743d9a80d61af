"""What the documents made from the method table say of each method, parameter and field.

Everything is in the author's words: the docstrings of tasks, modules, methods and data objects,
the texts below their attributes, and `Doc` in annotations.
"""

import ast
import inspect
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kitfox.data import DataObjectBase
from kitfox.data.schema import NO_DEFAULT, schema_of
from kitfox.modules import ModuleBase
from kitfox.modules.docstring import prose_of, read_docstring
from kitfox.services import Method, Purpose

__all__ = [
    "FieldTexts",
    "Remark",
    "description_of",
    "implementations_of",
    "remarks_by_class",
    "remarks_of",
    "summary_of",
]

# Python 3.11 counts the depth of a tree that it makes for all threads together, and fails with a
# `SystemError` when two of them are made at the same time.
_PARSING = threading.Lock()


_TRAINING = {
    "model_name": "What the trained model is called.",
    "output_path": "Where the trained model is put instead of the server's own place.",
    "parameters": "What `train` takes.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """What a module's author says of a parameter beside its type."""

    text: str = ""
    """From the docstring of the method."""
    default: Any = NO_DEFAULT
    """What it is when a caller does not give it, where all modules agree."""


def description_of(method: Method) -> str:
    """What a method does: its own text, or that of the first Python method behind it."""
    own = prose_of(method.description)
    return own or next((prose_of(text) for _, text in _docstrings(method) if text), "")


def summary_of(method: Method) -> str:
    """The first line of the description, or the method's name."""
    return next(iter(description_of(method).splitlines()), "") or method.name


def implementations_of(method: Method) -> str:
    """The modules whose models do the work, as a list in Markdown; empty where there are none."""
    lines = []
    for module in method.signatures:
        about = next(iter(prose_of(module.__doc__).splitlines()), "")
        version = f" {module.MODULE_VERSION}" if module.MODULE_VERSION else ""
        lines.append(f"- `{module.__name__}`{version}" + (f": {about}" if about else ""))
    return "\n".join(["Done by models of:", "", *lines]) if lines else ""


def remarks_of(method: Method) -> dict[str, Remark]:
    """What is said of the parameters of an inference or a training, by name."""
    texts: dict[str, str] = {}
    defaults: dict[str, Any] = {}
    for signature_defaults, text in _docstrings(method):
        for name, line in read_docstring(text).texts.items():
            texts.setdefault(name, line)
        for name, value in signature_defaults.items():
            known = defaults.setdefault(name, value)
            if known is not value and (type(known) is not type(value) or known != value):
                defaults[name] = NO_DEFAULT
    return {
        name: Remark(text=texts.get(name, ""), default=defaults.get(name, NO_DEFAULT))
        for name in (*texts, *defaults)
    }


def remarks_by_class(method: Method) -> dict[type[DataObjectBase], dict[str, Remark]]:
    """The same by the classes that have the parameters as their fields."""
    if method.purpose is Purpose.INFERENCE:
        return {method.request: remarks_of(method)}
    if method.purpose is not Purpose.TRAINING:
        return {}
    found = {method.request: {name: Remark(text=text) for name, text in _TRAINING.items()}}
    schema = schema_of(method.request)
    for field in schema.fields if schema else ():
        if field.name == "parameters" and field.value.python is not None:
            found[field.value.python] = remarks_of(method)
    return found


def _docstrings(method: Method) -> Iterator[tuple[Mapping[str, object], str]]:
    """The defaults and the docstring of each Python method behind a method of the table."""
    if method.module is not None and method.module.TRAIN_SIGNATURE is not None:
        signature = method.module.TRAIN_SIGNATURE
        yield signature.defaults, _docstring(method.module, signature.method_name)
    for module, signature in method.signatures.items():
        yield signature.defaults, _docstring(module, signature.method_name)


def _docstring(module: type[ModuleBase], name: str) -> str:
    return inspect.getdoc(getattr(module, name)) or ""


class FieldTexts:
    """Finds what is said of the fields of data objects; reads each source file once."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, dict[str, str]]] = {}

    def of(self, cls: type[Any]) -> dict[str, str]:
        """The texts by field: of `Doc`, below the attribute, or in the class's docstring."""
        schema = schema_of(cls)
        if schema is None:
            return {}
        texts: dict[str, str] = {}
        for parent in reversed(cls.__mro__):
            texts |= read_docstring(parent.__doc__).texts
            texts |= self._below(parent.__module__).get(parent.__qualname__, {})
        return {
            field.name: field.description or texts.get(field.name, "") for field in schema.fields
        }

    def _below(self, module: str) -> dict[str, dict[str, str]]:
        """The texts below attributes, by the qualified names of the module's classes."""
        if module not in self._files:
            self._files[module] = {}
            try:
                with _PARSING:
                    tree = ast.parse(inspect.getsource(sys.modules[module]))
            except (OSError, TypeError, KeyError, SyntaxError):
                return {}  # made at run time, or the source is not there
            self._files[module] = dict(_classes(tree, ""))
        return self._files[module]


def _classes(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            name = f"{prefix}{node.name}"
            yield name, dict(_attributes(node))
            yield from _classes(node, f"{name}.")


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, after in zip(node.body, node.body[1:], strict=False):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
