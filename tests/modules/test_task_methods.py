"""Which methods a module's tasks find, and how a method that does not fit is refused."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.modules import ModuleBase, TaskBase, module, task


@dataobject(package="kitfox.tests.task_methods")
class Piece(DataObjectBase):
    text: str


@dataobject(package="kitfox.tests.task_methods")
class LongPiece(Piece):
    more: str = ""


@dataobject(package="kitfox.tests.task_methods")
class Other(DataObjectBase):
    text: str


@task(
    unary_parameters={"text": str},
    streaming_parameters={"texts": Iterable[str]},
    unary_output_type=Piece,
    streaming_output_type=Iterable[Piece],
)
class SplitTask(TaskBase):
    pass


@task(unary_parameters={"text": str}, unary_output_type=Other)
class OtherTask(TaskBase):
    pass


@task(required_parameters={"text": str}, output_type=Iterable[Piece])
class OutOnlyTask(TaskBase):
    pass


@task(streaming_parameters={"texts": Iterable[str]}, unary_output_type=Piece)
class InOnlyTask(TaskBase):
    pass


def define(cls: type[ModuleBase], *tasks: type[TaskBase]) -> type[ModuleBase]:
    return module(f"id of {cls.__qualname__}", cls.__name__, "1.0.0", tasks=tasks)(cls)


def test_marked_methods_are_found_by_kind() -> None:
    class Splitter(ModuleBase):
        @SplitTask.taskmethod()
        def one(self, text: str) -> Piece:
            return Piece(text=text)

        @SplitTask.taskmethod(output_streaming=True)
        def out(self, text: str) -> Iterable[Piece]:
            yield Piece(text=text)

        @SplitTask.taskmethod(input_streaming=True)
        def into(self, texts: DataStream[str], sep: str = "") -> LongPiece:
            return LongPiece(text=sep.join(texts))

        @SplitTask.taskmethod(input_streaming=True, output_streaming=True, context_arg="context")
        async def both(
            self, texts: DataStream[str], context: object = None
        ) -> AsyncIterator[Piece]:
            for text in texts:
                yield Piece(text=text)

    define(Splitter, SplitTask)
    assert Splitter.RUN_SIGNATURE is None
    found = Splitter.get_inference_signatures(SplitTask)
    assert [(i, o, s.method_name, s.kind) for i, o, s in found] == [
        (False, False, "one", "function"),
        (False, True, "out", "generator"),
        (True, False, "into", "function"),
        (True, True, "both", "async_generator"),
    ]
    both = Splitter.get_inference_signature(True, True, SplitTask)
    assert both is not None
    assert (both.input_streaming, both.output_streaming) == (True, True)
    assert both.context_arg == "context"
    assert list(both.parameters) == ["texts"]
    assert Splitter.get_inference_signatures(OtherTask) == []
    assert Splitter.get_inference_signature(False, False, OtherTask) is None


def test_the_signature_of_run_is_that_of_the_task_method() -> None:
    class Contextual(ModuleBase):
        @SplitTask.taskmethod(context_arg="context")
        def run(self, text: str, context: object = None) -> Piece:
            return Piece(text=text)

    define(Contextual, SplitTask)
    assert Contextual.RUN_SIGNATURE is not None
    assert Contextual.RUN_SIGNATURE.context_arg == "context"
    assert list(Contextual.RUN_SIGNATURE.parameters) == ["text"]


def test_one_method_may_do_two_tasks() -> None:
    @task(unary_parameters={"text": str}, unary_output_type=Piece)
    class TwinTask(TaskBase):
        pass

    class Twin(ModuleBase):
        @SplitTask.taskmethod()
        @TwinTask.taskmethod()
        def both(self, text: str) -> Piece:
            return Piece(text=text)

    define(Twin, SplitTask, TwinTask)
    for item in (SplitTask, TwinTask):
        assert [s.method_name for *_, s in Twin.get_inference_signatures(item)] == ["both"]


class UnaryRun(ModuleBase):
    def run(self, text: str | int, upper: bool = False) -> Piece | None:
        return None


class BidiRun(ModuleBase):
    def run(self, texts: Iterable[str]) -> DataStream[Piece]:
        return DataStream.from_iterable([])


class OutRun(ModuleBase):
    def run(self, text: str) -> DataStream[LongPiece]:
        return DataStream.from_iterable([])


@pytest.mark.parametrize(
    ("cls", "kind"),
    [(UnaryRun, (False, False)), (BidiRun, (True, True)), (OutRun, (False, True))],
)
def test_an_unmarked_run_is_the_first_kind_that_it_fits(
    cls: type[ModuleBase], kind: tuple[bool, bool]
) -> None:
    define(cls, SplitTask)
    [(into, out, signature)] = cls.get_inference_signatures(SplitTask)
    assert (into, out) == kind
    assert signature.method_name == "run"
    assert (signature.input_streaming, signature.output_streaming) == kind


def test_a_task_without_unary_output_takes_a_streaming_run() -> None:
    define(OutRun, OutOnlyTask)
    assert OutRun.get_inference_signature(False, True, OutOnlyTask) is not None


def test_a_subclass_inherits_tasks_and_their_methods() -> None:
    class Parent(ModuleBase):
        @SplitTask.taskmethod()
        def split(self, text: str) -> Piece:
            return Piece(text=text)

    class Child(Parent):
        @OtherTask.taskmethod()
        def other(self, text: str) -> Other:
            return Other(text=text)

    define(Parent, SplitTask)
    define(Child, OtherTask)
    assert Child.tasks == [OtherTask, SplitTask]
    assert Parent.tasks == [SplitTask]
    [(_, _, signature)] = Child.get_inference_signatures(SplitTask)
    assert signature.qualified_name.endswith("Parent.split")


def test_an_override_keeps_the_mark_of_what_it_overrides() -> None:
    class Parent(ModuleBase):
        @SplitTask.taskmethod()
        def split(self, text: str) -> Piece:
            return Piece(text=text)

    class Child(Parent):
        def split(self, text: str, loud: bool = False) -> Piece:
            return Piece(text=text)

    define(Parent, SplitTask)
    define(Child)
    [(_, _, signature)] = Child.get_inference_signatures(SplitTask)
    assert list(signature.parameters) == ["text", "loud"]


def test_a_method_marked_in_a_subclass_wins() -> None:
    class Parent(ModuleBase):
        @SplitTask.taskmethod()
        def split(self, text: str) -> Piece:
            return Piece(text=text)

    class Child(Parent):
        @SplitTask.taskmethod()
        def better(self, text: str) -> Piece:
            return Piece(text=text)

    define(Child, SplitTask)
    [(_, _, signature)] = Child.get_inference_signatures(SplitTask)
    assert signature.method_name == "better"


def refusal(method: Callable[..., Any], *tasks: type[TaskBase]) -> str:
    """What is said when `method` is the `run` of a module, without the part that is always so."""
    cls = type("Refused", (ModuleBase,), {"run": method, "__module__": __name__})
    with pytest.raises((ValueError, TypeError)) as caught:
        define(cls, *tasks)
    kind = type(caught.value).__name__
    return f"{kind}: {caught.value}".replace(f"`{__name__}.Refused.run`", "RUN")


def test_a_missing_parameter_is_named() -> None:
    def run(self: Any, words: str) -> Other:
        raise AssertionError

    assert refusal(run, OtherTask) == (
        "TypeError: RUN, as unary method of `OtherTask`: it lacks the parameter `text: str`; "
        "it has `words`"
    )


def test_a_wrong_parameter_type_is_named() -> None:
    def run(self: Any, text: int) -> Other:
        raise AssertionError

    assert refusal(run, OtherTask) == (
        "TypeError: RUN, as unary method of `OtherTask`, parameter `text`: expected `str` or a "
        "union with it, not `int`"
    )


def test_a_missing_annotation_is_named() -> None:
    def run(self: Any, text) -> Other:  # type: ignore[no-untyped-def]
        raise AssertionError

    assert refusal(run, OtherTask) == (
        "TypeError: RUN, as unary method of `OtherTask`, parameter `text`: it has no annotation; "
        "expected `str`"
    )


def test_a_wrong_result_is_named() -> None:
    def run(self: Any, text: str) -> Piece:
        raise AssertionError

    assert refusal(run, OtherTask) == (
        "TypeError: RUN, as unary method of `OtherTask`: expected it to return `Other`, not `Piece`"
    )


def test_no_parameters_and_no_result_are_value_errors() -> None:
    def nothing(self: Any) -> Other:
        raise AssertionError

    def silent(self: Any, text: str):  # type: ignore[no-untyped-def]
        raise AssertionError

    head = "ValueError: RUN, as unary method of `OtherTask`"
    assert refusal(nothing, OtherTask) == f"{head}: it has no parameters"
    assert refusal(silent, OtherTask) == f"{head}: it has no return annotation"


def test_a_run_that_fits_no_kind_is_told_about_each() -> None:
    def run(self: Any, text: str) -> Other:
        raise AssertionError

    message = refusal(run, SplitTask)
    assert "as unary method of `SplitTask`: expected it to return `Piece`" in message
    assert "as input and output streaming method of `SplitTask`: it lacks" in message
    assert "as output streaming method of `SplitTask`: expected it to return" in message


def test_a_run_cannot_serve_a_task_that_takes_streams_and_gives_none() -> None:
    def run(self: Any, texts: DataStream[str]) -> Piece:
        raise AssertionError

    message = refusal(run, InOnlyTask)
    assert message.startswith("ValueError: Module `Refused`: `run` cannot be matched to")
    assert "@InOnlyTask.taskmethod(" in message


def test_a_wrong_element_type_is_refused() -> None:
    class Wrong(ModuleBase):
        @SplitTask.taskmethod(input_streaming=True)
        def into(self, texts: DataStream[int]) -> Piece:
            raise AssertionError

    with pytest.raises(
        TypeError, match=r"parameter `texts`: expected `Iterable\[str\]`, not `DataSt"
    ):
        define(Wrong, SplitTask)


def test_a_stream_is_not_given_by_a_method_that_returns_one_object() -> None:
    class Wrong(ModuleBase):
        @SplitTask.taskmethod(output_streaming=True)
        def out(self, text: str) -> Piece:
            raise AssertionError

    with pytest.raises(TypeError, match=r"expected it to return `Iterable\[Piece\]`, not `Piece`"):
        define(Wrong, SplitTask)


def test_a_mark_for_a_kind_that_the_task_lacks_is_refused() -> None:
    class Wrong(ModuleBase):
        @OtherTask.taskmethod(input_streaming=True)
        def into(self, texts: DataStream[str]) -> Other:
            raise AssertionError

    with pytest.raises(ValueError, match=r"Wrong.into`.*Task `OtherTask` has no streaming param"):
        define(Wrong, OtherTask)


def test_a_task_without_a_method_is_refused() -> None:
    class Idle(ModuleBase):
        pass

    with pytest.raises(ValueError, match="Idle` is said to do `OtherTask` but has no method for"):
        define(Idle, OtherTask)


def test_two_methods_of_a_kind_in_one_class_are_refused() -> None:
    class Double(ModuleBase):
        @OtherTask.taskmethod()
        def first(self, text: str) -> Other:
            raise AssertionError

        @OtherTask.taskmethod()
        def second(self, text: str) -> Other:
            raise AssertionError

    with pytest.raises(ValueError, match=r"first` and `.*second` are both marked as the unary"):
        define(Double, OtherTask)
