"""Tasks: what goes in and what comes out, whichever module does the work.

    @task(unary_parameters={"text": str}, unary_output_type=Sentiment)
    class SentimentTask(TaskBase):
        "Judges the mood of a text."

A module names the tasks it does; methods are matched to them by the marks that
`SentimentTask.taskmethod()` leaves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from kitfox.data import DataObjectBase
from kitfox.modules.annotation import Annotation, describe, element_type, is_stream

__all__ = ["TaskBase", "TaskMethodMark", "task", "task_method_marks"]

T = TypeVar("T", bound="TaskBase")
F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__kitfox_task_methods__"


@dataclass(frozen=True, kw_only=True, slots=True)
class _TaskShape:
    """What `@task` was told."""

    unary_parameters: Mapping[str, Annotation] = field(default_factory=dict)
    streaming_parameters: Mapping[str, Annotation] = field(default_factory=dict)
    unary_output_type: Annotation | None = None
    streaming_output_type: Annotation | None = None
    visible: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskMethodMark:
    """The note that `taskmethod` leaves on a method."""

    task: "type[TaskBase]"
    """The task that the method does."""
    input_streaming: bool = False
    """Whether it takes streams."""
    output_streaming: bool = False
    """Whether it gives a stream."""
    context_arg: str | None = None
    """The parameter that receives the request's context."""


class TaskBase:
    """The base of every task; tasks are never instantiated."""

    _shape: ClassVar[_TaskShape | None] = None

    @classmethod
    def taskmethod(
        cls,
        input_streaming: bool = False,
        output_streaming: bool = False,
        context_arg: str | None = None,
    ) -> Callable[[F], F]:
        """Marks a method of a module as the one that does this task.

        Whether it fits is checked when `@module` is applied to its class. A method may do
        several tasks, with one mark each.

        Example:
            >>> @SplitTask.taskmethod(output_streaming=True)
            ... def split(self, text: str) -> Iterable[Piece]: ...

        Args:
            input_streaming: The method takes the task's streaming parameters.
            output_streaming: The method gives the task's streaming output.
            context_arg: The name of a parameter that is given the request's context.
        """
        mark = TaskMethodMark(
            task=cls,
            input_streaming=input_streaming,
            output_streaming=output_streaming,
            context_arg=context_arg,
        )

        def remember(method: F) -> F:
            setattr(method, _MARKS, (*task_method_marks(method), mark))
            return method

        return remember

    @classmethod
    def get_required_parameters(cls, input_streaming: bool) -> dict[str, Annotation]:
        """The parameters that every method for this task has, with their types.

        Args:
            input_streaming: For methods that take streams (`Iterable[T]` types), or that do not.

        Raises:
            ValueError: The task has no parameters of that kind.
        """
        shape = cls._described()
        found = shape.streaming_parameters if input_streaming else shape.unary_parameters
        if not found:
            kind = "streaming" if input_streaming else "unary"
            raise ValueError(f"Task `{cls.__name__}` has no {kind} parameters")
        return dict(found)

    @classmethod
    def get_output_type(cls, output_streaming: bool) -> Annotation:
        """The type that every method for this task gives.

        Args:
            output_streaming: For methods that give a stream (`Iterable[T]`), or that do not.

        Raises:
            ValueError: The task has no output of that kind.
        """
        shape = cls._described()
        found = shape.streaming_output_type if output_streaming else shape.unary_output_type
        if found is None:
            kind = "streaming" if output_streaming else "unary"
            raise ValueError(f"Task `{cls.__name__}` has no {kind} output")
        return found

    @classmethod
    def get_visibility(cls) -> bool:
        """Whether the task's routes are shown in the OpenAPI document."""
        return cls._described().visible

    @classmethod
    def get_metadata(cls) -> dict[str, Any]:
        """What else was said about the task, such as `extra_openapi`."""
        return dict(cls._described().metadata)

    @classmethod
    def _described(cls) -> _TaskShape:
        if cls._shape is None:
            raise ValueError(f"Class `{cls.__name__}` is not decorated with @task(...)")
        return cls._shape


def task_method_marks(method: object) -> tuple[TaskMethodMark, ...]:
    """The marks that `taskmethod` left on a method; none when it is no task's method."""
    return tuple(getattr(method, _MARKS, ()))


def task(
    *,
    unary_parameters: Mapping[str, Annotation] | None = None,
    streaming_parameters: Mapping[str, Annotation] | None = None,
    unary_output_type: Annotation | None = None,
    streaming_output_type: Annotation | None = None,
    visible: bool = True,
    metadata: Mapping[str, Any] | None = None,
    required_parameters: Mapping[str, Annotation] | None = None,
    output_type: Annotation | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a class a task. The class's docstring becomes the description in documents.

    Example:
        >>> @task(
        ...     unary_parameters={"text": str},
        ...     streaming_parameters={"texts": Iterable[str]},
        ...     unary_output_type=Pieces,
        ...     streaming_output_type=Iterable[Piece],
        ... )
        ... class SplitTask(TaskBase):
        ...     "Cuts text into pieces."

    Args:
        unary_parameters: Names and types of what every request carries.
        streaming_parameters: The same for streamed requests; each type is `Iterable[T]`.
        unary_output_type: The data object that answers a request.
        streaming_output_type: `Iterable[DataObject]`, for streamed answers.
        visible: False leaves the task's routes out of the OpenAPI document (they still serve).
        metadata: More about the task; `{"extra_openapi": {...}}` is merged into its operations.
        required_parameters: The older name of `unary_parameters`.
        output_type: The older name of `unary_output_type`, or, when it is an `Iterable[...]`, of
            `streaming_output_type`.

    Raises:
        ValueError: No parameters, no output, or the same thing under both of its names.
        TypeError: A name is no text, an output no data object, a stream no `Iterable[T]`.
    """
    if required_parameters is not None:
        _refuse_both("required_parameters", "unary_parameters", unary_parameters)
        unary_parameters = required_parameters
    if output_type is not None and is_stream(output_type):
        _refuse_both("output_type", "streaming_output_type", streaming_output_type)
        streaming_output_type = output_type
    elif output_type is not None:
        _refuse_both("output_type", "unary_output_type", unary_output_type)
        unary_output_type = output_type
    shape = _TaskShape(
        unary_parameters=dict(unary_parameters or {}),
        streaming_parameters=dict(streaming_parameters or {}),
        unary_output_type=unary_output_type,
        streaming_output_type=streaming_output_type,
        visible=visible,
        metadata=dict(metadata or {}),
    )

    def decorate(cls: type[T]) -> type[T]:
        _check_class(cls)
        _check(cls.__name__, shape)
        cls._shape = shape
        return cls

    return decorate


def _check_class(cls: object) -> None:
    if not (isinstance(cls, type) and issubclass(cls, TaskBase)):
        raise TypeError(f"Task `{describe(cls)}` must derive from TaskBase")


def _refuse_both(older: str, newer: str, given: object) -> None:
    if given is not None:
        raise ValueError(f"`{older}` is the older name of `{newer}`; give only one of them")


def _check(name: str, shape: _TaskShape) -> None:
    if not shape.unary_parameters and not shape.streaming_parameters:
        raise ValueError(f"Task `{name}` needs unary_parameters or streaming_parameters")
    if shape.unary_output_type is None and shape.streaming_output_type is None:
        raise ValueError(f"Task `{name}` needs unary_output_type or streaming_output_type")
    for key in (*shape.unary_parameters, *shape.streaming_parameters):
        if not isinstance(key, str):
            raise TypeError(f"Task `{name}`: parameter names are text, not {key!r}")
    for key, annotation in shape.streaming_parameters.items():
        if not is_stream(annotation):
            raise TypeError(
                f"Task `{name}`, streaming parameter `{key}`: expected `Iterable[T]`, "
                f"not `{describe(annotation)}`"
            )
    if shape.unary_output_type is not None:
        _check_data_object(f"Task `{name}`, unary_output_type", shape.unary_output_type)
    if shape.streaming_output_type is not None:
        where = f"Task `{name}`, streaming_output_type"
        if not is_stream(shape.streaming_output_type):
            written = describe(shape.streaming_output_type)
            raise TypeError(f"{where}: expected `Iterable[DataObject]`, not `{written}`")
        _check_data_object(where, element_type(shape.streaming_output_type))


def _check_data_object(where: str, annotation: Annotation) -> None:
    if not (isinstance(annotation, type) and issubclass(annotation, DataObjectBase)):
        raise TypeError(f"{where}: expected a data object, not `{describe(annotation)}`")
