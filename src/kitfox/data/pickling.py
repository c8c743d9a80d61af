"""How data objects are pickled: as their class and the values of its slots, in order.

Python's own way, for objects with slots, asks for each slot by name and writes the names too; it
takes several times as long, and calls that go to another process pay for it.
"""

import copyreg
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

__all__ = ["reduce_object"]


class _Plan(NamedTuple):
    """What is known of a class: where its values are."""

    slots: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]


def reduce_object(self: Any, protocol: Any) -> Any:
    """What `pickle` and `copy` ask of an object."""
    cls = type(self)
    plan = cls.__dict__.get("_pickling", cls)
    if plan is cls:
        plan = cls._pickling = _plan_of(cls)
    if plan is not None:
        try:
            return _restore, (cls, *plan.read(self))
        except AttributeError:
            pass  # a slot was never set: only Python's own way can tell that
    return object.__reduce_ex__(self, protocol)


def _restore(cls: Any, *values: Any) -> Any:
    plan = cls.__dict__.get("_pickling")
    if plan is None:
        plan = cls._pickling = _plan_of(cls)
    made = object.__new__(cls)
    for slot, value in zip(plan.slots, values, strict=True):
        setattr(made, slot, value)
    return made


def _plan_of(cls: Any) -> _Plan | None:
    """None where the author has ways of their own, or there is more than slots."""
    own = any(
        getattr(cls, name, None) is not getattr(object, name, None)
        for name in ("__reduce__", "__getstate__", "__setstate__", "__getnewargs__", "__new__")
    )
    names = tuple(name for name in copyreg._slotnames(cls) if name != "_backend")  # type: ignore[attr-defined] # as `object` does
    if own or cls.__dictoffset__ or not names:
        return None
    get = attrgetter(*names)
    return _Plan(names, get if len(names) > 1 else lambda self: (get(self),))
