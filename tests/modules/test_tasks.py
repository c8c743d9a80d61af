from collections.abc import Iterable
from typing import Any, assert_type

import pytest

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.modules import TaskBase, task


@dataobject(package="kitfox.tests.tasks")
class Answer(DataObjectBase):
    text: str


@task(
    unary_parameters={"text": str},
    streaming_parameters={"texts": Iterable[str]},
    unary_output_type=Answer,
    streaming_output_type=Iterable[Answer],
    metadata={"extra_openapi": {"tags": ["answers"]}},
)
class AnswerTask(TaskBase):
    """Answers."""


def test_a_task_tells_its_parameters_and_outputs_by_kind() -> None:
    assert AnswerTask.get_required_parameters(input_streaming=False) == {"text": str}
    assert AnswerTask.get_required_parameters(input_streaming=True) == {"texts": Iterable[str]}
    assert AnswerTask.get_output_type(output_streaming=False) is Answer
    assert AnswerTask.get_output_type(output_streaming=True) == Iterable[Answer]
    assert AnswerTask.get_visibility()
    assert AnswerTask.get_metadata() == {"extra_openapi": {"tags": ["answers"]}}


def test_the_decorator_keeps_the_type_of_class_and_method() -> None:
    assert_type(AnswerTask, type[AnswerTask])

    @AnswerTask.taskmethod()
    def run(text: str) -> int:
        return len(text)

    assert_type(run("a"), int)


def test_asking_for_a_kind_that_the_task_lacks_is_an_error() -> None:
    @task(unary_parameters={"text": str}, unary_output_type=Answer)
    class UnaryTask(TaskBase):
        pass

    with pytest.raises(ValueError, match="Task `UnaryTask` has no streaming parameters"):
        UnaryTask.get_required_parameters(input_streaming=True)
    with pytest.raises(ValueError, match="Task `UnaryTask` has no streaming output"):
        UnaryTask.get_output_type(output_streaming=True)


def test_older_names_mean_the_same() -> None:
    @task(required_parameters={"text": str}, output_type=Answer)
    class OlderTask(TaskBase):
        pass

    assert OlderTask.get_required_parameters(False) == {"text": str}
    assert OlderTask.get_output_type(False) is Answer


def test_an_iterable_output_type_is_the_streaming_one() -> None:
    @task(required_parameters={"text": str}, output_type=Iterable[Answer], visible=False)
    class OlderTask(TaskBase):
        pass

    assert OlderTask.get_output_type(True) == Iterable[Answer]
    assert not OlderTask.get_visibility()
    with pytest.raises(ValueError, match="has no unary output"):
        OlderTask.get_output_type(False)


def test_changing_what_a_task_tells_does_not_change_the_task() -> None:
    AnswerTask.get_required_parameters(False)["other"] = int
    AnswerTask.get_metadata()["other"] = 1
    assert AnswerTask.get_required_parameters(False) == {"text": str}
    assert "other" not in AnswerTask.get_metadata()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"unary_output_type": Answer},
            ValueError,
            "Task `Wrong` needs unary_parameters or streaming_parameters",
        ),
        (
            {"unary_parameters": {"a": int}},
            ValueError,
            "Task `Wrong` needs unary_output_type or streaming_output_type",
        ),
        (
            {"unary_parameters": {"a": int}, "unary_output_type": str},
            TypeError,
            "Task `Wrong`, unary_output_type: expected a data object, not `str`",
        ),
        (
            {"unary_parameters": {"a": int}, "streaming_output_type": Answer},
            TypeError,
            "Task `Wrong`, streaming_output_type: expected `Iterable[DataObject]`, not `Answer`",
        ),
        (
            {"unary_parameters": {"a": int}, "streaming_output_type": Iterable[int]},
            TypeError,
            "Task `Wrong`, streaming_output_type: expected a data object, not `int`",
        ),
        (
            {"streaming_parameters": {"a": list[int]}, "unary_output_type": Answer},
            TypeError,
            "Task `Wrong`, streaming parameter `a`: expected `Iterable[T]`, not `list[int]`",
        ),
        (
            {"unary_parameters": {5: int}, "unary_output_type": Answer},
            TypeError,
            "Task `Wrong`: parameter names are text, not 5",
        ),
    ],
)
def test_a_wrong_task_is_refused(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    class Wrong(TaskBase):
        pass

    with pytest.raises(kind) as caught:
        task(**arguments)(Wrong)
    assert str(caught.value) == message


def test_a_thing_has_one_name_at_a_time() -> None:
    with pytest.raises(ValueError, match="`required_parameters` is the older name of `unary_"):
        task(required_parameters={"a": int}, unary_parameters={"a": int}, output_type=Answer)
    with pytest.raises(ValueError, match="`output_type` is the older name of `unary_output_type`"):
        task(required_parameters={"a": int}, output_type=Answer, unary_output_type=Answer)
    with pytest.raises(ValueError, match="older name of `streaming_output_type`"):
        task(
            required_parameters={"a": int},
            output_type=DataStream[Answer],
            streaming_output_type=Iterable[Answer],
        )


def test_a_task_derives_from_taskbase_and_is_decorated() -> None:
    class NoTask:
        pass

    with pytest.raises(TypeError, match="Task `NoTask` must derive from TaskBase"):
        task(unary_parameters={"a": int}, unary_output_type=Answer)(NoTask)  # type: ignore[type-var] # refused

    class Bare(TaskBase):
        pass

    with pytest.raises(ValueError, match=r"Class `Bare` is not decorated with @task\(\.\.\.\)"):
        Bare.get_visibility()
