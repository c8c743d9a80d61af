"""Progress bars of `tqdm` as the progress of a training, without a change to the module.

The class is changed in place while a training runs, whether it has been imported already or will
be. The bar itself is not drawn: a log has no line that could be drawn over.
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

__all__ = ["captured_bars"]

_MODULE = "tqdm.std"
_FILE = 4  # where `file` stands among the arguments of a bar


class Note(Protocol):
    """Takes what bars show."""

    def __call__(
        self, done: float | None, total: float | None, metrics: Mapping[str, float], label: str
    ) -> None:
        """Takes a position, or None with figures alone."""
        ...


@contextlib.contextmanager
def captured_bars(note: Note) -> Iterator[None]:
    """Within, bars are told to `note`: the place of the outermost one, and the figures of all."""
    bars = _Bars(note)
    finder = _AfterImport(_MODULE, bars.watch)
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        bars.watch(loaded)
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(finder)
        bars.unwatch()


class _Bars:
    """The bars of this process that are open, and what they show."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._open: dict[int, None] = {}
        self._lock = threading.Lock()
        self._class: Any = None
        self._originals: dict[str, Any] = {}

    def watch(self, module: ModuleType) -> None:
        """Has the class of all bars tell what they show."""
        self._class = module.tqdm
        for name, make in (
            ("__init__", self._begin),
            ("refresh", self._refresh),
            ("set_postfix", self._set_postfix),
            ("close", self._close),
        ):
            # What lies in the class need not be what it gives: tqdm's `__init__` is a descriptor.
            self._originals[name] = vars(self._class)[name]
            setattr(self._class, name, make(getattr(self._class, name)))

    def unwatch(self) -> None:
        """Leaves the class as it was."""
        for name, original in self._originals.items():
            setattr(self._class, name, original)

    def _begin(self, original: Callable[..., None]) -> Callable[..., None]:
        def begin(bar: Any, *args: Any, **kwargs: Any) -> None:
            positional = list(args)
            if len(args) > _FILE:
                positional[_FILE] = _not_a_terminal(args[_FILE])
            else:
                kwargs["file"] = _not_a_terminal(kwargs.get("file"))
            original(bar, *positional, **kwargs)
            if not bar.disable:
                with self._lock:
                    self._open[id(bar)] = None
                self._tell(bar)

        return begin

    def _refresh(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def refresh(bar: Any, *args: Any, **kwargs: Any) -> Any:
            self._tell(bar)
            return original(bar, *args, **kwargs)

        return refresh

    def _set_postfix(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def set_postfix(bar: Any, ordered_dict: Any = None, *args: Any, **kwargs: Any) -> Any:
            shown = {**dict(ordered_dict or {}), **kwargs}
            shown.pop("refresh", None)
            metrics = {
                name: number
                for name, value in shown.items()
                if (number := _number(value)) is not None
            }
            if metrics:
                self._note(None, None, metrics, "")
            return original(bar, ordered_dict, *args, **kwargs)

        return set_postfix

    def _close(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def close(bar: Any, *args: Any, **kwargs: Any) -> Any:
            self._tell(bar)
            with self._lock:
                self._open.pop(id(bar), None)
            return original(bar, *args, **kwargs)

        return close

    def _tell(self, bar: Any) -> None:
        """Notes where a bar stands, if it is the one that was opened before all others."""
        with self._lock:
            outermost = next(iter(self._open), None)
        if outermost != id(bar):
            return
        done, total = _number(bar.n), _number(bar.total)
        if done is not None:
            self._note(done, total, {}, str(bar.desc or "").rstrip(": "))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a function with a module as soon as that is imported."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What the other finders find, with a loader that calls the function at its end."""
        if fullname != self._name:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        # On the one object: a loader of another class would lack what debuggers ask of it.
        loader.exec_module = exec_module


class _Nowhere(io.TextIOBase):
    """Where bars are drawn; it says it is a terminal, as some bars are drawn on nothing else."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Drops the text."""
        return len(text)


def _not_a_terminal(file: Any) -> Any:
    """A bar's file, in place of the log that standard output and errors go to."""
    return _Nowhere() if file in (None, sys.stdout, sys.stderr) else file


def _number(value: Any) -> float | None:
    """A figure as a number; None if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # also a tensor of more than one element
        return None
