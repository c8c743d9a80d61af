"""`@module`: makes a class a module, checks it, and lets model folders find it by its id."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

from kitfox.modules.module_class import ModuleBase
from kitfox.modules.producer import ProducerId
from kitfox.modules.registry import LOCAL, ModuleRegistry, default_registry
from kitfox.modules.signature import MethodSignature, read_signature
from kitfox.modules.task_methods import TaskMethods, find_task_methods
from kitfox.modules.tasks import TaskBase
from kitfox.modules.training_context import TrainingContext

__all__ = ["module"]

M = TypeVar("M", bound=ModuleBase)

# https://semver.org, "Is there a suggested regular expression to check a SemVer string?"
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def module(
    id: str | None = None,  # noqa: A002 -- the name that authors write
    name: str | None = None,
    version: str | None = None,
    task: type[TaskBase] | None = None,
    tasks: Iterable[type[TaskBase]] | None = None,
    backend_type: str = LOCAL,
    base_module: type[ModuleBase] | str | None = None,
    backend_config_override: dict[str, Any] | None = None,
    *,
    registry: ModuleRegistry | None = None,
) -> Callable[[type[M]], type[M]]:
    """Makes a class a module.

    Example:
        >>> @module("00110203-0405-0607-0809-0a0b02dd0e0f", "Greeter", "1.0.0", task=GreetTask)
        ... class Greeter(ModuleBase): ...

    Args:
        id: Any text that no other module has, by custom a UUID; model folders name it.
        name: A name for people.
        version: A semantic version, such as `1.0.0`.
        task: What the module does.
        tasks: What it does, if it is more than one thing. The tasks of its parents are added.
        backend_type: The backend that the class is made for.
        base_module: The module (class or id) that this one is another implementation of; it lends
            `id`, `name`, `version` and tasks that are not given.
        backend_config_override: Settings for the backend.
        registry: Where the class is registered, if not among all modules of the process.

    Raises:
        ValueError: Something is missing, `task` and `tasks` are both given, the version is not
            semantic, or a task has no method.
        TypeError: The class does not derive from `ModuleBase`, something is of a wrong type, or
            a method does not fit its task.
        RuntimeError: Another module has the id.
    """
    target = registry or default_registry()
    if task is not None and tasks is not None:
        raise ValueError("@module takes `task` or `tasks`, not both")
    base = _base_class(base_module, target)
    given = [task] if task is not None else list(tasks or ())
    if base is not None:
        id = id or base.MODULE_ID  # noqa: A001 -- as above
        name = name or base.MODULE_NAME
        version = version or base.MODULE_VERSION
        given = given or base.tasks

    def decorate(cls: type[M]) -> type[M]:
        if not _is_module_class(cls):
            raise TypeError(f"Module `{_name_of(cls)}` must derive from ModuleBase")
        _check_identity(cls, id, name, version)
        _check_tasks(cls, given)
        all_tasks = _with_parents(cls, given)
        methods = find_task_methods(cls, all_tasks, ModuleBase)
        cls.RUN_SIGNATURE = _method_called_run(methods) or _own_signature(cls, "run")
        cls.TRAIN_SIGNATURE = _train_signature(cls)
        cls.MODULE_ID, cls.MODULE_NAME, cls.MODULE_VERSION = str(id), str(name), str(version)
        cls.MODULE_CLASS = f"{cls.__module__}.{cls.__qualname__}"
        cls.PRODUCER_ID = ProducerId(name=cls.MODULE_NAME, version=cls.MODULE_VERSION)
        cls.BACKEND_TYPE = backend_type
        cls.BACKEND_CONFIG_OVERRIDE = dict(backend_config_override or {})
        if "SUPPORTED_LOAD_BACKENDS" not in vars(cls):
            cls.SUPPORTED_LOAD_BACKENDS = [backend_type]
        cls.tasks = all_tasks
        cls._task_methods = methods
        target.add(cls, backend_type=backend_type)
        return cls

    return decorate


def _is_module_class(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, ModuleBase)


def _name_of(thing: object) -> str:
    return str(getattr(thing, "__qualname__", repr(thing)))


def _base_class(
    base_module: type[ModuleBase] | str | None, registry: ModuleRegistry
) -> type[ModuleBase] | None:
    base = registry.find(base_module) if isinstance(base_module, str) else base_module
    if base is not None and not _is_module_class(base):
        raise TypeError(f"base_module is a module class or its id, not {_name_of(base)}")
    if base is not None and not base.MODULE_ID:
        raise ValueError(f"base_module `{_name_of(base)}` is not decorated with @module(...)")
    return base


def _check_identity(cls: type, id: object, name: object, version: object) -> None:  # noqa: A002
    for key, value in (("id", id), ("name", name), ("version", version)):
        if value is None:
            raise ValueError(f"Module `{_name_of(cls)}`: @module needs `{key}`, or a `base_module`")
        if not isinstance(value, str):
            raise TypeError(
                f"Module `{_name_of(cls)}`: `{key}` is text, not {type(value).__name__}"
            )
        if not value:
            raise ValueError(f"Module `{_name_of(cls)}`: `{key}` must not be empty")
    if not _SEMANTIC_VERSION.fullmatch(str(version)):
        raise ValueError(
            f"Module `{_name_of(cls)}`: the version {version!r} is not a semantic version, "
            "such as `1.0.0`"
        )


def _check_tasks(cls: type, tasks: Iterable[object]) -> None:
    for item in tasks:
        if not (isinstance(item, type) and issubclass(item, TaskBase)):
            raise TypeError(
                f"Module `{_name_of(cls)}`: {_name_of(item)} is no task; "
                "tasks are classes that derive from TaskBase"
            )


def _with_parents(cls: type, own: Iterable[type[TaskBase]]) -> list[type[TaskBase]]:
    """The class's own tasks, then those of its parents, each once."""
    inherited = (
        item
        for parent in cls.__mro__[1:]
        if issubclass(parent, ModuleBase)
        for item in vars(parent).get("tasks", ())
    )
    return list(dict.fromkeys([*own, *inherited]))


def _method_called_run(methods: TaskMethods) -> MethodSignature | None:
    """The signature of `run` as a task's method, which knows its context and streams."""
    signatures = (item for found in methods.values() for item in found.values())
    return next((item for item in signatures if item.method_name == "run"), None)


def _own_signature(cls: type[ModuleBase], method_name: str) -> MethodSignature | None:
    """The signature of a method that the author wrote; None for that of ModuleBase."""
    if all(method_name not in vars(item) for item in cls.__mro__ if item is not ModuleBase):
        return None
    return read_signature(cls, method_name)


def _train_signature(cls: type[ModuleBase]) -> MethodSignature | None:
    """The signature of `train`, without the parameter that its context is given by."""
    found = _own_signature(cls, "train")
    if found is None:
        return None
    names = [name for name, kind in found.parameters.items() if _is_context(kind)]
    if not names:
        return found
    if len(names) > 1:
        raise TypeError(f"`{found.full_name}`: {' and '.join(names)} are both a TrainingContext")
    return read_signature(cls, "train", context_arg=names[0])


def _is_context(annotation: Any) -> bool:
    """Whether a parameter of `train` asks for its context, perhaps as `TrainingContext | None`."""
    kinds = get_args(annotation) or (annotation,)
    return any(isinstance(kind, type) and issubclass(kind, TrainingContext) for kind in kinds)
