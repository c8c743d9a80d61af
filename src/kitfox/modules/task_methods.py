"""Which method of a module does which task, checked when the module is defined.

In goes a module class and its tasks; out comes, per task and streaming kind, the signature of the
method that does it. A method that does not fit its task is refused here, with the parameter or
the result that is wrong, so that nothing later has to doubt a signature.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from kitfox.modules.annotation import accepts, derives, describe, element_type, is_stream, returns
from kitfox.modules.signature import MethodSignature, read_signature
from kitfox.modules.tasks import TaskBase, TaskMethodMark, task_method_marks

__all__ = ["TaskMethods", "find_task_methods"]

TaskMethods: TypeAlias = Mapping[type[TaskBase], Mapping[tuple[bool, bool], MethodSignature]]
"""By task, then by (input streaming, output streaming)."""

# The kinds that an unmarked `run` is tried as, in this order.
_RUN_KINDS = ((False, False), (True, True), (False, True))


def find_task_methods(cls: type, tasks: Iterable[type[TaskBase]], plain: type) -> TaskMethods:
    """Finds and checks the methods of a module for its tasks.

    Methods that are marked for a task do it; without any, `run` does. An override keeps the marks
    of the method that it overrides.

    Args:
        cls: The module class.
        tasks: What it is said to do.
        plain: The base class whose `run` counts as none.

    Raises:
        ValueError: A task without a method, or with two of a kind; a method without parameters or
            without a result type.
        TypeError: A method that does not fit its task.
    """
    marked = _marked_methods(cls)
    found: dict[type[TaskBase], dict[tuple[bool, bool], MethodSignature]] = {}
    for task in tasks:
        methods = {
            kind: _signature(cls, name, mark) for kind, (name, mark) in marked.get(task, {}).items()
        }
        for signature in methods.values():
            _check(signature, task)
        found[task] = methods or _run_method(cls, task, plain)
    return found


def _marked_methods(
    cls: type,
) -> dict[type[TaskBase], dict[tuple[bool, bool], tuple[str, TaskMethodMark]]]:
    """The marks of all methods, those of derived classes before those of their parents."""
    found: dict[type[TaskBase], dict[tuple[bool, bool], tuple[str, TaskMethodMark]]] = {}
    settled: set[str] = set()
    for owner in cls.__mro__:
        own: dict[tuple[type[TaskBase], tuple[bool, bool]], str] = {}
        for name, attribute in vars(owner).items():
            marks = task_method_marks(attribute)
            if not marks or name in settled:
                continue
            settled.add(name)
            for mark in marks:
                kind = (mark.input_streaming, mark.output_streaming)
                other = own.setdefault((mark.task, kind), name)
                if other != name:
                    raise ValueError(
                        f"`{owner.__qualname__}.{other}` and `{owner.__qualname__}.{name}` are "
                        f"both marked as the {_kind_name(kind)} method of `{mark.task.__name__}`"
                    )
                found.setdefault(mark.task, {}).setdefault(kind, (name, mark))
    return found


def _signature(cls: type, name: str, mark: TaskMethodMark) -> MethodSignature:
    return read_signature(
        cls,
        name,
        context_arg=mark.context_arg,
        input_streaming=mark.input_streaming,
        output_streaming=mark.output_streaming,
    )


def _run_method(
    cls: type, task: type[TaskBase], plain: type
) -> dict[tuple[bool, bool], MethodSignature]:
    """The `run` method as the first kind that it fits."""
    run = inspect.getattr_static(cls, "run", None)
    if run is None or run is inspect.getattr_static(plain, "run", None):
        raise ValueError(
            f"Module `{cls.__qualname__}` is said to do `{task.__name__}` but has no method for "
            f"it: mark one with `@{task.__name__}.taskmethod()`, or define `run`"
        )
    refusals: list[ValueError | TypeError] = []
    for kind in _RUN_KINDS:
        if not _offers(task, kind):
            continue
        signature = read_signature(cls, "run", input_streaming=kind[0], output_streaming=kind[1])
        try:
            _check(signature, task)
        except (ValueError, TypeError) as error:
            refusals.append(error)
        else:
            return {kind: signature}
    if not refusals:
        raise ValueError(
            f"Module `{cls.__qualname__}`: `run` cannot be matched to `{task.__name__}`, which "
            f"only takes streams; mark the method with `@{task.__name__}.taskmethod(...)`"
        )
    if len(refusals) == 1 or isinstance(refusals[0], ValueError):
        raise refusals[0]
    raise TypeError("; or ".join(str(error) for error in refusals))


def _offers(task: type[TaskBase], kind: tuple[bool, bool]) -> bool:
    try:
        task.get_required_parameters(kind[0])
        task.get_output_type(kind[1])
    except ValueError:
        return False
    return True


def _kind_name(kind: tuple[bool, bool]) -> str:
    return {
        (False, False): "unary",
        (False, True): "output streaming",
        (True, False): "input streaming",
        (True, True): "input and output streaming",
    }[kind]


def _check(signature: MethodSignature, task: type[TaskBase]) -> None:
    """Refuses a method that does not fit its task."""
    where = (
        f"`{signature.full_name}`, as {_kind_name(_kind_of(signature))} method of `{task.__name__}`"
    )
    if not signature.parameters:
        raise ValueError(f"{where}: it has no parameters")
    if signature.return_type is None:
        raise ValueError(f"{where}: it has no return annotation")
    try:
        required = task.get_required_parameters(signature.input_streaming)
        output = task.get_output_type(signature.output_streaming)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for name, wanted in required.items():
        _check_parameter(where, signature, name, wanted)
    _check_result(where, signature, output)


def _kind_of(signature: MethodSignature) -> tuple[bool, bool]:
    return (signature.input_streaming, signature.output_streaming)


def _check_parameter(where: str, signature: MethodSignature, name: str, wanted: object) -> None:
    if name not in signature.parameters:
        has = ", ".join(f"`{item}`" for item in signature.parameters)
        raise TypeError(
            f"{where}: it lacks the parameter `{name}: {describe(wanted)}`; it has {has}"
        )
    given = signature.parameters[name]
    if given is None:
        raise TypeError(
            f"{where}, parameter `{name}`: it has no annotation; expected `{describe(wanted)}`"
        )
    if signature.input_streaming:
        fits = derives(element_type(given), element_type(wanted))
    else:
        fits = accepts(given, wanted)
    if not fits:
        raise TypeError(
            f"{where}, parameter `{name}`: expected `{describe(wanted)}`"
            f"{'' if signature.input_streaming else ' or a union with it'}, "
            f"not `{describe(given)}`"
        )


def _check_result(where: str, signature: MethodSignature, wanted: object) -> None:
    given = signature.return_type
    if signature.output_streaming:
        fits = is_stream(given) and returns(element_type(given), element_type(wanted))
    else:
        fits = returns(given, wanted)
    if not fits:
        raise TypeError(
            f"{where}: expected it to return `{describe(wanted)}`, not `{describe(given)}`"
        )
